/* SPDX-License-Identifier: MIT */
/* Self-describing blocks and the latency histogram. */
#include "check.h"

#include <drivers/block/bench/iobench_histogram.h>
#include <drivers/block/bench/pattern.h>
#include <kernel/random.h>
#include <stdlib.h>
#include <string.h>

static uint64_t block[4096 / 8], other[4096 / 8];

static enum pattern_verdict verdict(uint32_t bytes)
{
    return pattern_check(block, bytes, 11, 22, 33);
}

static void test_good(void)
{
    static const uint32_t sizes[] = {512, 1024, 4096};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        pattern_fill(block, sizes[i], 11, 22, 33);
        check_equal(verdict(sizes[i]), PATTERN_GOOD);
    }
}

static void test_wrong_identity(void)
{
    pattern_fill(block, 512, 11, 22, 33);
    check_equal(pattern_check(block, 512, 12, 22, 33), PATTERN_WRONG_SOURCE);
    check_equal(pattern_check(block, 512, 11, 23, 33), PATTERN_WRONG_SECTOR);
    check_equal(pattern_check(block, 512, 11, 22, 32), PATTERN_WRONG_GENERATION);
    memset(block, 0, sizeof(block));
    check_equal(verdict(512), PATTERN_NO_MAGIC);
    pattern_fill(block, 512, 11, 22, 33);
    pattern_spoil(block, 512);
    check_equal(verdict(512), PATTERN_NO_MAGIC);
}

/* Every single flipped bit is found. */
static void test_every_bit(void)
{
    pattern_fill(block, 4096, 11, 22, 33);
    for (size_t bit = 0; bit < 4096 * 8; bit++) {
        block[bit / 64] ^= 1ull << bit % 64;
        check(verdict(4096) != PATTERN_GOOD);
        block[bit / 64] ^= 1ull << bit % 64;
    }
    check_equal(verdict(4096), PATTERN_GOOD);
}

/* A body that is another sector's or generation's, from any 512 bytes on: a torn write. */
static void test_torn(void)
{
    for (size_t cut = 64; cut < 4096 / 8; cut += 64) {
        pattern_fill(block, 4096, 11, 22, 33);
        pattern_fill(other, 4096, 11, 22, 32);
        memcpy(block + cut, other + cut, 4096 - cut * 8);
        check_equal(verdict(4096), PATTERN_BAD_BODY);
    }
}

static void test_source(void)
{
    check(pattern_source("vd0", 1) != pattern_source("vd1", 1));
    check(pattern_source("vd0", 1) != pattern_source("vd0", 2));
    check_equal(pattern_source("vd0", 1), pattern_source("vd0", 1));
}

/* ---- The histogram ---- */

static void test_buckets(void)
{
    uint32_t last = 0;
    for (uint64_t ns = 0; ns < 100000; ns++) {
        uint32_t bucket = histogram_bucket(ns);
        check(bucket == last || bucket == last + 1);
        check(ns <= histogram_bucket_top(bucket));
        check(bucket == 0 || ns > histogram_bucket_top(bucket - 1));
        last = bucket;
    }
    for (unsigned bit = 5; bit < HISTOGRAM_MAX_BITS; bit++) {
        uint64_t ns = 1ull << bit;
        check_equal(histogram_bucket(ns), histogram_bucket(ns - 1) + 1);
        check(histogram_bucket_top(histogram_bucket(ns)) - ns <= ns / HISTOGRAM_SUB);
    }
    check_equal(histogram_bucket((1ull << HISTOGRAM_MAX_BITS) - 1), HISTOGRAM_BUCKETS - 1);
    check_equal(histogram_bucket(1ull << HISTOGRAM_MAX_BITS), HISTOGRAM_BUCKETS - 1);
    check_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against sorted values: never below the true percentile, and at most a sixteenth above. */
static void test_percentiles(void)
{
    static uint64_t values[10000];
    static struct histogram histogram;
    static const uint32_t ranks[] = {5000, 9000, 9900, 9990, 10000};
    struct random random;
    uint64_t sum = 0;

    random_init(&random, 5);
    histogram_init(&histogram);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        values[i] = random_below(&random, 1ull << (4 + random_below(&random, 30)));
        sum += values[i];
        histogram_add(&histogram, values[i], 1);
    }
    qsort(values, ARRAY_SIZE(values), sizeof(values[0]), compare);
    for (size_t i = 0; i < ARRAY_SIZE(ranks); i++) {
        uint64_t exact = values[ARRAY_SIZE(values) * ranks[i] / 10000 - 1];
        uint64_t got = histogram_percentile(&histogram, ranks[i]);
        check(got >= exact && got <= exact + exact / HISTOGRAM_SUB + 1);
    }
    check_equal(histogram.min_ns, values[0]);
    check_equal(histogram.max_ns, values[ARRAY_SIZE(values) - 1]);
    check_equal(histogram_mean(&histogram), sum / ARRAY_SIZE(values));
}

static void test_merge(void)
{
    static struct histogram a, b;
    histogram_init(&a);
    histogram_init(&b);
    check_equal(histogram_percentile(&a, 5000), 0);
    check_equal(histogram_mean(&a), 0);
    histogram_add(&a, 100, 1);
    histogram_add(&b, 10, 1);
    histogram_add(&b, 1000, 1);
    histogram_merge(&a, &b);
    check_equal(a.count, 3);
    check_equal(a.min_ns, 10);
    check_equal(a.max_ns, 1000);
    check_equal(histogram_percentile(&a, 0), 10);
    check_equal(histogram_percentile(&a, 5000), histogram_bucket_top(histogram_bucket(100)));
    check_equal(histogram_percentile(&a, 10000), 1000);
    histogram_add(&a, UINT64_MAX / 4, 1);
    check_equal(histogram_percentile(&a, 10000), UINT64_MAX / 4);
}

int main(void)
{
    test_good();
    test_wrong_identity();
    test_every_bit();
    test_torn();
    test_source();
    test_buckets();
    test_percentiles();
    test_merge();
    return check_finish();
}
