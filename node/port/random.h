/* Port: randomness, fit for keys in node/uv, drawn from the seed in simnet. */
#ifndef SHOAL_RANDOM_H
#define SHOAL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random;

/* Fit for secrets. */
void random_fill(struct random *r, void *out, size_t size);
/* For choices, delays and numbers that need only differ: cheap enough for one in every step. */
uint64_t random_u64(struct random *r);

#endif
