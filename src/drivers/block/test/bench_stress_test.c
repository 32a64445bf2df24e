/* SPDX-License-Identifier: MIT */
/* stress: a good disk passes, and each kind of lie is noticed. A test that cannot fail proves nothing. */
#include "bench_device_internal.h"

#include <drivers/block/bench/bench.h>
#include <kernel/printf.h>
#include <kernel/shell.h>
#include <kernel/test.h>

static int run_stress(const char *device, const char *options)
{
    char line[256];
    snprintf(line, sizeof(line), "stress dev=%s %s", device, options);
    return shell_execute(line);
}

KTEST(stress_passes_on_a_good_disk, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(run_stress(device, "ios=5000 threads=8"), 0);
    ktest_expect_equal(run_stress(device, "ios=2000 threads=32 depth=16 bs=32k seed=9 --json"), 0);
    ktest_expect_equal(run_stress(device, "ios=500 threads=4 size=8k offset=512 bs=512"), 0);
    ktest_expect_equal(run_stress(device, "ios=3 threads=5 depth=1"), 0);
}

KTEST(stress_notices_lies, KTEST_FAST)
{
    static const enum bench_lie lies[] = {BENCH_LIE_READ_ERROR, BENCH_LIE_NOTHING_READ, BENCH_LIE_LOST_WRITE,
                                          BENCH_LIE_FLIPPED_BIT, BENCH_LIE_MISDIRECTED_WRITE};
    static const enum bench_lie range_lies[] = {BENCH_LIE_NO_ZEROES, BENCH_LIE_FOREIGN_DISCARD,
                                                BENCH_LIE_LONG_DISCARD};
    const char *device = bench_device_get();
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        bench_device_lie(lies[i], 100);
        ktest_expect_equal(run_stress(device, "ios=6000 threads=4"), -EIO);
        ktest_expect(bench_device_has_lied());
    }
    for (size_t i = 0; i < ARRAY_SIZE(range_lies); i++) {
        bench_device_lie(range_lies[i], 4); /* there are fewer of these */
        ktest_expect_equal(run_stress(device, "ios=6000 threads=4"), -EIO);
        ktest_expect(bench_device_has_lied());
    }
    bench_device_lie(BENCH_LIE_NONE, 0);
    ktest_expect_equal(run_stress(device, "ios=2000 threads=4 seed=5"), 0);
}

KTEST(stress_refuses_bad_options, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(shell_execute("stress"), -EINVAL);
    ktest_expect_equal(shell_execute("stress dev=nosuch0"), -ENODEV);
    ktest_expect_equal(run_stress(device, "threads=0"), -EINVAL);
    ktest_expect_equal(run_stress(device, "offset=100"), -EINVAL);
    ktest_expect_equal(run_stress(device, "size=2M"), -EINVAL);
    ktest_expect_equal(run_stress(device, "bs=256"), -EINVAL);
    ktest_expect_equal(run_stress(device, "sec=5"), -EINVAL);
    ktest_expect_equal(run_stress(device, "reset=1"), -EOPNOTSUPP);
    ktest_expect(!block_device_is_mounted(device));
}
