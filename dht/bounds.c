#include "bounds.h"

#include "apportion.h"
#include "check.h"
#include "ring.h"
#include "shares.h"

/* How far a node may be from its share before arcs are taken from or given to it: this part of its share, or SLACK_ARCS
 * if that is more, but of a small share no more than SLACK_ROOT times its root. What lets a node rest costs balance,
 * what moves it costs traffic; README.md has the measurements behind these numbers. */
#define OVER_PART(x) ((x) / 20)    /* bounded load: 1.05 */
#define UNDER_PART(x) ((x)*2 / 25) /* 0.92 */
#define SLACK_ARCS (UINT64_C(9) << 32)
#define SLACK_ROOT(x) ((x)*5 / 4)

/* Square root of a 32.32 number, as one: exact to 16 binary places, which is plenty for a slack. */
static uint64_t root(uint64_t x) {
    uint64_t r = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1) {
        if ((r | bit) * (r | bit) <= x)
            r |= bit;
    }
    CHECK(r * r <= x);
    return r << 16;
}

static uint64_t slack(uint64_t fair) {
    uint64_t own = SLACK_ROOT(root(fair));
    return own < SLACK_ARCS ? own : SLACK_ARCS;
}

static uint64_t upper(uint64_t fair) {
    uint64_t part = OVER_PART(fair), least = slack(fair);
    return fair + (part > least ? part : least);
}

static uint64_t lower(uint64_t fair) {
    uint64_t part = UNDER_PART(fair), least = slack(fair);
    uint64_t under = part > least ? part : least;
    return under < fair ? fair - under : 0;
}

struct bounds bounds_of(uint64_t share, unsigned bits, uint64_t seed) {
    CHECK(bits <= RING_BITS_MAX);
    CHECK(share <= SHARE_ONE);
    /* Rounding at a point of the node's own, the same for all its bounds, keeps one more member from lowering the
     * bounds of all others at once. */
    uint64_t own = mix64(seed + 1) >> 32;
    uint64_t fair = share << bits;
    struct bounds b = {
        .low = (uint32_t)((lower(fair) + own) >> 32),
        .fair = (uint32_t)((fair + own) >> 32),
        .high = (uint32_t)((upper(fair) + own) >> 32),
    };
    CHECK(b.low <= b.fair && b.fair <= b.high);
    return b;
}
