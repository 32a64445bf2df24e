/* SPDX-License-Identifier: MIT */
/* iobench: every pattern runs, verification finds what is wrong, bad options are refused. */
#include "bench_device_internal.h"

#include <kernel/printf.h>
#include <kernel/shell.h>
#include <kernel/test.h>

static int run(const char *format, ...) printf_like(1, 2);
static int run(const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    return shell_execute(line);
}

KTEST(iobench_runs_every_pattern, KTEST_FAST)
{
    static const char *const patterns[] = {"read", "write",  "randread", "randwrite",
                                           "rw",   "randrw", "trim",     "randtrim"};
    const char *device = bench_device_get();
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        ktest_expect_equal(run("iobench dev=%s rw=%s number_ios=50 warmup=10", device, patterns[i]), 0);
        ktest_expect_equal(
            run("iobench dev=%s rw=%s number_ios=50 warmup=10 iodepth=8 numjobs=3 bs=1k --json", device,
                patterns[i]),
            0);
    }
    ktest_expect_equal(run("iobench dev=%s rw=randwrite number_ios=50 fsync=7 iodepth=4 batch=1", device), 0);
}

KTEST(iobench_verifies, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(run("iobench dev=%s rw=randwrite verify=crc32c number_ios=100 iodepth=4", device), 0);
    ktest_expect_equal(run("iobench dev=%s rw=randrw verify=crc32c number_ios=100 numjobs=2", device), 0);
    ktest_expect_equal(run("iobench dev=%s rw=write verify=crc32c number_ios=256 warmup=0", device), 0);
    ktest_expect_equal(run("iobench dev=%s rw=randread verify=crc32c number_ios=100", device), 0);
    ktest_expect_equal(run("iobench dev=%s rw=randread verify=crc32c number_ios=100 seed=2", device), -EIO);
}

KTEST(iobench_notices_a_lost_write, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(run("iobench dev=%s rw=write bs=4k number_ios=256 warmup=0", device),
                       0); /* others' data */
    bench_device_lie(BENCH_LIE_LOST_WRITE, 40);
    ktest_expect_equal(run("iobench dev=%s rw=write verify=crc32c number_ios=100 warmup=0 seed=3", device),
                       -EIO);
    ktest_expect(bench_device_has_lied());
}

KTEST(iobench_counts_errors, KTEST_FAST)
{
    const char *device = bench_device_get();
    bench_device_lie(BENCH_LIE_READ_ERROR, 40);
    ktest_expect_equal(run("iobench dev=%s rw=randread number_ios=100 warmup=0", device), -EIO);
    ktest_expect(bench_device_has_lied());
}

KTEST(iobench_refuses_bad_options, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(run("iobench"), -EINVAL);
    ktest_expect_equal(run("iobench dev=nosuch0"), -ENODEV);
    ktest_expect_equal(run("iobench dev=%s iodeph=4", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s iodepth=0", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s bs=1000", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s bs=4k size=2k", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s offset=%llu", device, (unsigned long long)BENCH_DEVICE_BYTES),
                       -EINVAL);
    ktest_expect_equal(run("iobench dev=%s batch=5 iodepth=4", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s verify=md5", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s mode=warp", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s mode=raw", device), -EOPNOTSUPP);
    ktest_expect_equal(run("iobench dev=%s rw=trim fsync=1", device), -EINVAL);
    ktest_expect_equal(run("iobench dev=%s rw=trim verify=crc32c", device), -EINVAL);
    ktest_expect_equal(run("iobench file=/x"), -EOPNOTSUPP);
}
