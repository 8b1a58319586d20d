#include "prng.h"

#include <string.h>

#include "check.h"

uint64_t prng_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void prng_init(struct prng *p, uint64_t seed, unsigned purpose, uint64_t index) {
    CHECK(p != NULL);
    uint64_t x = prng_mix(seed) ^ prng_mix(~(uint64_t)purpose) ^ prng_mix(prng_mix(index) + purpose);
    for (int i = 0; i < 4; i++) {
        x = prng_mix(x);
        p->state[i] = x;
    }
    if ((p->state[0] | p->state[1] | p->state[2] | p->state[3]) == 0) {
        p->state[0] = 1; /* the one state that the generator never leaves */
    }
}

void prng_clocked_init(struct prng_clocked *p, uint64_t seed, unsigned purpose, uint64_t index) {
    struct prng prng;
    prng_init(&prng, seed, purpose, index);
    *p = (struct prng_clocked){.key = prng_u64(&prng), .at_us = UINT64_MAX};
}

struct prng *prng_at(struct prng_clocked *p, uint64_t now_us) {
    CHECK(now_us < UINT64_MAX);
    if (p->at_us != now_us) {
        p->at_us = now_us;
        prng_init(&p->prng, p->key, 0, now_us);
    }
    return &p->prng;
}

static uint64_t rotate_left(uint64_t x, int by) {
    return x << by | x >> (64 - by);
}

uint64_t prng_u64(struct prng *p) {
    uint64_t *s = p->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t limit) {
    if (limit == 0) {
        return 0;
    }
    /* The bias of the remainder is below limit / 2^64: far under anything a run can see. */
    return prng_u64(p) % limit;
}

uint64_t prng_range(struct prng *p, uint64_t low, uint64_t high) {
    CHECK(low <= high);
    CHECK(high - low < UINT64_MAX);
    return low + prng_below(p, high - low + 1);
}

bool prng_chance(struct prng *p, uint32_t millionths) {
    CHECK(millionths <= PRNG_MILLION);
    return millionths > 0 && prng_below(p, PRNG_MILLION) < millionths;
}

/* -ln(u) from the binary logarithm of u in 16.16 fixed point: leading zeros, and the mantissa taken as linear (off by
 * at most 0.09). No libm, whose last digit differs between machines. */
uint64_t prng_exponential(struct prng *p, uint64_t mean) {
    CHECK(mean < (uint64_t)1 << 40);
    uint64_t u = prng_u64(p) | 1;
    unsigned zeros = (unsigned)__builtin_clzll(u);
    uint64_t mantissa = (u << zeros) << 1 >> 48; /* 16 bits after the leading one */
    uint64_t log2_fixed = ((uint64_t)zeros + 1) * 65536 - mantissa;
    uint64_t ln_fixed = log2_fixed * 45426 / 65536; /* ln 2 */
    return mean * ln_fixed / 65536;
}

void prng_fill(struct prng *p, void *out, size_t size) {
    uint8_t *bytes = out;
    while (size > 0) {
        uint64_t word = prng_u64(p);
        size_t part = size < sizeof(word) ? size : sizeof(word);
        memcpy(bytes, &word, part);
        bytes += part;
        size -= part;
    }
}
