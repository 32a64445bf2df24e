/* SPDX-License-Identifier: MIT */
/* Latency histograms: what is not on the request path. */
#include <drivers/block/bench/iobench_histogram.h>

#include <kernel/base/assert.h>
#include <kernel/string.h>

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
    histogram->min_ns = UINT64_MAX;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    assert(into != from);
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    into->min_ns = MIN(into->min_ns, from->min_ns);
    into->max_ns = MAX(into->max_ns, from->max_ns);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_bucket_top(uint32_t bucket)
{
    assert(bucket < HISTOGRAM_BUCKETS);
    if (bucket < 2 * HISTOGRAM_SUB)
        return bucket;
    uint32_t shift = bucket / HISTOGRAM_SUB - 1;
    return ((uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB + 1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *histogram, uint32_t per_myriad)
{
    uint64_t rank, seen = 0;

    assert(per_myriad <= 10000);
    if (histogram->count == 0)
        return 0;
    rank = MAX(div_round_up(histogram->count * per_myriad, 10000), 1ull);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank)
            return i == HISTOGRAM_BUCKETS - 1 ? histogram->max_ns
                                              : MIN(histogram_bucket_top(i), histogram->max_ns);
    }
    assert(seen == histogram->count);
    return histogram->max_ns;
}

uint64_t histogram_mean(const struct histogram *histogram)
{
    return histogram->count ? histogram->sum_ns / histogram->count : 0;
}
