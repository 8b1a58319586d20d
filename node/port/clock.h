/* Port: time. Implemented by node/uv and by simnet; the linker chooses. */
#ifndef SHOAL_CLOCK_H
#define SHOAL_CLOCK_H

#include <stdint.h>

struct clock;

/* Milliseconds of a monotonic clock; constant within one turn of the loop. */
uint64_t clock_now_ms(const struct clock *c);
/* The same clock at this very moment: between two turns of the loop, or within one, the process may have been stopped.
 */
uint64_t clock_exact_ms(const struct clock *c);
/* Milliseconds since 1970; may jump. */
uint64_t clock_wall_ms(const struct clock *c);
/* Ask for one call of the host's wake function at (or soon after) when_ms; replaces an earlier request.
 * UINT64_MAX cancels. */
void clock_wake_at(struct clock *c, uint64_t when_ms);
/* The host calls this when the time has come. Set once, before the loop runs. */
void clock_on_wake(struct clock *c, void (*wake)(void *ctx), void *ctx);

#endif
