/* How often each value was seen, in fixed memory, for quantiles that are off by less than 1 %: buckets of equal width
 * between one power of two and the next, as HdrHistogram has them. */
#ifndef SHOAL_HISTOGRAM_H
#define SHOAL_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7 /* 2^7 buckets to a power of two: each is narrower than 1/128 of its values */
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total, max;
};

void histogram_clear(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
/* The least value that at least per_mille of 1000 values do not exceed, rounded up to the end of its bucket, but not
 * beyond the largest value seen; 0 when none was seen. */
uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille);

#endif
