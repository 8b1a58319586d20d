#include "histogram.h"

#include <string.h>

#include "check.h"

#define PER_MILLE 1000

/* Values below 2^(BITS+1) have a bucket each; from there on, every power of two has 2^BITS of them. */
static unsigned bucket_of(uint64_t value) {
    if (value >> HISTOGRAM_BITS == 0)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    unsigned bucket = (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
    CHECK(bucket < HISTOGRAM_BUCKETS);
    return bucket;
}

static uint64_t bucket_last(unsigned bucket) {
    CHECK(bucket < HISTOGRAM_BUCKETS);
    if (bucket >> HISTOGRAM_BITS == 0)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_BITS) - 1;
    uint64_t first = (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;
    return first + (((uint64_t)1 << shift) - 1);
}

void histogram_clear(struct histogram *h) {
    memset(h, 0, sizeof *h);
}

void histogram_add(struct histogram *h, uint64_t value) {
    h->counts[bucket_of(value)]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille) {
    CHECK(per_mille <= PER_MILLE);
    /* In parts, so that the product cannot overflow: the rank, rounded up. */
    uint64_t rank = h->total / PER_MILLE * per_mille + (h->total % PER_MILLE * per_mille + PER_MILLE - 1) / PER_MILLE;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= rank && seen > 0) {
            uint64_t last = bucket_last(i);
            return last < h->max ? last : h->max;
        }
    }
    return 0;
}
