/* SPDX-License-Identifier: MIT */
/* A latency histogram: 16 buckets to each power of two, so a percentile is off by at most 1/16. Adding costs
 * about ten instructions and no division. Pure; the owner serialises. */
#ifndef DRIVERS_BLOCK_BENCH_IOBENCH_HISTOGRAM_H
#define DRIVERS_BLOCK_BENCH_IOBENCH_HISTOGRAM_H

#include <kernel/base/bits.h>
#include <kernel/base/types.h>

#define HISTOGRAM_SUB_BITS 4u
#define HISTOGRAM_SUB      (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_MAX_BITS 40u /* longer ones (18 minutes) count in the last bucket */
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB)

struct histogram {
    uint64_t count, sum_ns, min_ns, max_ns; /* min and max only when count > 0 */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t ns)
{
    uint32_t shift;
    if (ns < HISTOGRAM_SUB)
        return (uint32_t)ns;
    if (unlikely(ns >> HISTOGRAM_MAX_BITS))
        return HISTOGRAM_BUCKETS - 1;
    shift = ilog2(ns) - HISTOGRAM_SUB_BITS;
    /* (ns >> shift) is in [16, 32): it carries the bucket and a 16 that counts the power of two. */
    return shift * HISTOGRAM_SUB + (uint32_t)(ns >> shift);
}

static inline void histogram_add(struct histogram *histogram, uint64_t ns, uint64_t times)
{
    histogram->count += times;
    histogram->sum_ns += ns * times;
    if (unlikely(ns < histogram->min_ns))
        histogram->min_ns = ns;
    if (unlikely(ns > histogram->max_ns))
        histogram->max_ns = ns;
    histogram->buckets[histogram_bucket(ns)] += times;
}

void histogram_init(struct histogram *histogram);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The largest value that falls into the bucket. */
uint64_t histogram_bucket_top(uint32_t bucket);
/* The value that `per_myriad` / 10,000 of all are not above, to the bucket's top; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t per_myriad);
uint64_t histogram_mean(const struct histogram *histogram);

#endif
