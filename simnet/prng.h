/* Seeded pseudo-random streams: xoshiro256** (Blackman, Vigna 2018), seeded through splitmix64. Every purpose has its
 * own stream, so that one more draw for one purpose shifts nothing else. Integers only: the same on every machine. */
#ifndef SHOAL_PRNG_H
#define SHOAL_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRNG_MILLION 1000000u

struct prng {
    uint64_t state[4];
};

enum prng_purpose {
    PRNG_HOST,     /* clock drift and offsets, by host */
    PRNG_RANDOM,   /* the random port, by host */
    PRNG_DELAY,    /* by directed link */
    PRNG_LOSS,     /* by directed link */
    PRNG_STREAM,   /* cuts, timeouts of connections */
    PRNG_DISK,     /* latencies, by host */
    PRNG_CRASH,    /* what a crash keeps, by host; which reads go astray, by PRNG_ASTRAY + host */
    PRNG_SCENARIO, /* the first number that is free for scenarios */
};

#define PRNG_ASTRAY ((uint64_t)1 << 32)

/* A stream that begins anew at every moment of virtual time. What is drawn at one moment depends on nothing that was
 * drawn before: a run that differs from another in one place stays like it wherever things happen at the same moments,
 * which is what leaving out faults and requests of a failing run lives on. */
struct prng_clocked {
    uint64_t key;
    uint64_t at_us; /* the moment of `prng` */
    struct prng prng;
};

/* The stream number `index` of a purpose. */
void prng_init(struct prng *p, uint64_t seed, unsigned purpose, uint64_t index);
void prng_clocked_init(struct prng_clocked *p, uint64_t seed, unsigned purpose, uint64_t index);
/* The stream of this moment, from where its last draw left it. */
struct prng *prng_at(struct prng_clocked *p, uint64_t now_us);
uint64_t prng_u64(struct prng *p);
/* Uniform in [0, limit); 0 when limit is 0. */
uint64_t prng_below(struct prng *p, uint64_t limit);
/* Uniform in [low, high]; low <= high. */
uint64_t prng_range(struct prng *p, uint64_t low, uint64_t high);
/* True with probability `millionths` / 1,000,000. */
bool prng_chance(struct prng *p, uint32_t millionths);
/* Exponential with this mean, at most 44 times the mean. */
uint64_t prng_exponential(struct prng *p, uint64_t mean);
void prng_fill(struct prng *p, void *out, size_t size);
/* One step of splitmix64 as a mixing function. */
uint64_t prng_mix(uint64_t x);

#endif
