/* Port: randomness, fit for keys in node/uv, drawn from the seed in simnet. */
#ifndef SHOAL_RANDOM_H
#define SHOAL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random;

void random_fill(struct random *r, void *out, size_t size);
uint64_t random_u64(struct random *r);

#endif
