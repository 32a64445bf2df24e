/* SPDX-License-Identifier: MIT */
/* The iobench command: reads fio's option names, runs the job, prints it. Thread context. */
#include "iobench_internal.h"

#include <drivers/block/bench/bench.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/mutex.h>
#include <kernel/shell.h>
#include <kernel/string.h>

#define BLOCK_BYTES_MAX     MIB(4)
#define DEFAULT_RUNTIME_SEC 5
#define WARMUP_IOS          4000u /* of all jobs together: long enough for caches, tables and translations */

/* One job at a time: two would measure each other, and mode=raw has static state. */
static struct mutex iobench_mutex = MUTEX_INIT(iobench_mutex, "iobench");

bool __attribute__((weak)) block_device_is_mounted(const char *device_name)
{
    return false;
}

/* One line that says what is wrong; the shell adds the usage. */
static int refuse(const char *key, const char *value, const char *why)
{
    console_printf("iobench: %s=%s: %s\n", key, value, why);
    return -EINVAL;
}

/* rw= and rwmixread=. Reads by default: whoever forgets the option loses no data. */
static int read_pattern(int argc, char **argv, struct bench_config *config)
{
    static const struct {
        const char *name;
        bool is_random;
        uint32_t read_share;
        bool is_trim;
    } patterns[] = {
        {"read", false, 65536, false},      {"randread", true, 65536, false}, {"write", false, 0, false},
        {"randwrite", true, 0, false},      {"randrw", true, 32768, false},   {"rw", false, 32768, false},
        {"readwrite", false, 32768, false}, {"trim", false, 0, true},         {"randtrim", true, 0, true}};
    const char *name = shell_option(argc, argv, "rw");
    uint64_t percent = 50;
    if (!name)
        name = "randread";
    if (shell_option_u64(argc, argv, "rwmixread", 0, 100, &percent))
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        if (strcmp(name, patterns[i].name) != 0)
            continue;
        config->is_random = patterns[i].is_random;
        config->read_share = patterns[i].read_share;
        config->is_trim = patterns[i].is_trim;
        if (config->read_share == 32768)
            config->read_share = (uint32_t)(percent * 65536 / 100);
        return 0;
    }
    return refuse("rw", name, "not one of read, write, randread, randwrite, rw, randrw, trim, randtrim");
}

static int read_mode(int argc, char **argv, struct bench_config *config)
{
    const char *name = shell_option(argc, argv, "mode");
    const struct block_device_ops *ops = block_device_ops(config->device);
    config->mode = BENCH_IRQ;
    if (!name || strcmp(name, "irq") == 0)
        return 0;
    if (strcmp(name, "poll") != 0 && strcmp(name, "raw") != 0)
        return refuse("mode", name, "not one of irq, poll, raw");
    config->mode = strcmp(name, "poll") == 0 ? BENCH_POLL : BENCH_RAW;
    if (config->mode == BENCH_POLL ? !ops->poll : !ops->raw) {
        console_printf("iobench: mode=%s: %s has no such mode\n", name, block_device_name(config->device));
        return -EOPNOTSUPP;
    }
    if (config->mode == BENCH_RAW &&
        (config->jobs != 1 || (config->read_share != 0 && config->read_share != 65536) || config->is_trim ||
         config->verify || config->fsync_every > 0))
        return refuse("mode", name, "needs numjobs=1 and plain reads or writes");
    return 0;
}

/* A discard has no data to verify, and a flush says nothing of it. */
static int check_trim(const struct bench_config *config)
{
    if (!config->is_trim)
        return 0;
    if (block_device_limits(config->device)->discard.max_sectors == 0) {
        console_printf("iobench: rw=trim: %s has no discard\n", block_device_name(config->device));
        return -EOPNOTSUPP;
    }
    if (config->verify || config->fsync_every > 0)
        return refuse("rw", "trim", "without verify= and fsync=");
    return 0;
}

/* Half the depth, so that the device works on one half while the other is reaped and made anew. */
static uint32_t default_batch(const struct bench_config *config)
{
    return MAX(config->depth / 2, 1u);
}

/* A long turn is cut, so that the device begins with the first part while the rest is made: it stays awake
 * then, so further doorbells are suppressed. Measured on QEMU's null disk: 16, 32 and the whole depth differ
 * by less than the noise. Neighbours merge only within one plug, so sequential turns stay whole. */
static uint32_t default_submit_batch(const struct bench_config *config)
{
    return config->is_random ? MIN(config->depth, 32u) : config->depth;
}

static int read_numbers(int argc, char **argv, struct bench_config *config)
{
    uint64_t block_bytes = 4096, depth = 1, jobs = 1, batch = 0, submit_batch = 0, fsync = 0, seed = 1,
             ios = UINT64_MAX;
    uint64_t warmup = 0;
    const char *verify = shell_option(argc, argv, "verify");

    if (shell_option_u64(argc, argv, "bs", 512, BLOCK_BYTES_MAX, &block_bytes) ||
        shell_option_u64(argc, argv, "iodepth", 1, BENCH_DEPTH_MAX, &depth) ||
        shell_option_u64(argc, argv, "numjobs", 1, BENCH_JOBS_MAX, &jobs) ||
        shell_option_u64(argc, argv, "batch", 1, depth, &batch) ||
        shell_option_u64(argc, argv, "iodepth_batch", 1, depth, &submit_batch) ||
        shell_option_u64(argc, argv, "fsync", 0, UINT32_MAX, &fsync) ||
        shell_option_u64(argc, argv, "seed", 0, UINT64_MAX, &seed) ||
        shell_option_u64(argc, argv, "number_ios", 1, UINT64_MAX / 2, &ios))
        return -EINVAL;
    if (verify && strcmp(verify, "crc32c") != 0)
        return refuse("verify", verify, "not crc32c");
    config->block_bytes = (uint32_t)block_bytes;
    config->depth = (uint32_t)depth;
    config->jobs = (uint32_t)jobs;
    config->batch = batch ? (uint32_t)batch : default_batch(config);
    config->submit_batch = submit_batch ? (uint32_t)submit_batch : default_submit_batch(config);
    config->fsync_every = (uint32_t)fsync;
    config->seed = seed;
    config->ios = ios;
    config->verify = verify != NULL;
    warmup = MAX(WARMUP_IOS / jobs, 2 * depth);
    if (shell_option_u64(argc, argv, "warmup", 0, UINT64_MAX / 2, &warmup))
        return -EINVAL;
    config->warmup_ios = warmup;
    return 0;
}

/* With number_ios= alone there is no time limit; with neither there is one. */
static int read_time(int argc, char **argv, struct bench_config *config)
{
    const char *text = shell_option(argc, argv, "runtime");
    uint64_t seconds = DEFAULT_RUNTIME_SEC;
    if (!text && config->ios != UINT64_MAX)
        return 0;
    if (shell_option_u64(argc, argv, "runtime", 1, 1000000, &seconds))
        return -EINVAL;
    config->runtime_ns = seconds * NSEC_PER_SEC;
    return 0;
}

/* offset= and size=, within the device, at its logical blocks. */
static int read_range(int argc, char **argv, struct bench_config *config)
{
    uint64_t device_bytes = block_device_sectors(config->device) << BLOCK_SECTOR_SHIFT;
    uint32_t logical = block_device_limits(config->device)->logical_block_bytes;
    uint64_t offset = 0, size;

    if (config->block_bytes % logical != 0) {
        console_printf("iobench: bs=%u is not a multiple of %s's logical block, %u bytes\n",
                       config->block_bytes, block_device_name(config->device), logical);
        return -EINVAL;
    }
    if (shell_option_u64(argc, argv, "offset", 0, device_bytes, &offset))
        return -EINVAL;
    size = device_bytes - offset;
    if (size < config->block_bytes) {
        console_printf("iobench: no block of %u bytes at offset=%llu: %s has %llu bytes\n",
                       config->block_bytes, (unsigned long long)offset, block_device_name(config->device),
                       (unsigned long long)device_bytes);
        return -EINVAL;
    }
    if (shell_option_u64(argc, argv, "size", 1, size, &size))
        return -EINVAL;
    config->first_sector = offset >> BLOCK_SECTOR_SHIFT;
    config->blocks = size / config->block_bytes;
    assert(offset + size <= device_bytes);
    if (config->blocks == 0 || offset % logical != 0) {
        console_printf("iobench: the range of %llu bytes from %llu holds no aligned block of %u\n",
                       (unsigned long long)size, (unsigned long long)offset, config->block_bytes);
        return -EINVAL;
    }
    return 0;
}

static int read_device(int argc, char **argv, struct bench_config *config)
{
    const char *device = shell_option(argc, argv, "dev");
    if (shell_option(argc, argv, "file")) {
        console_printf("iobench: file= is not possible in this kernel: use dev=\n");
        return -EOPNOTSUPP;
    }
    if (!device) {
        console_printf("iobench: dev=NAME is missing\n");
        return -EINVAL;
    }
    config->device = block_device_find(device);
    if (!config->device) {
        console_printf("iobench: no device %s\n", device);
        return -ENODEV;
    }
    return 0;
}

/* Writing to what is mounted would corrupt a file system behind its cache: only when told to. */
static int check_writable(int argc, char **argv, const struct bench_config *config)
{
    const char *device = block_device_name(config->device);
    uint64_t is_forced = 0;
    if (shell_option_u64(argc, argv, "force", 0, 1, &is_forced))
        return -EINVAL;
    if (config->read_share == 65536)
        return 0;
    if (block_device_is_read_only(config->device)) {
        console_printf("iobench: %s is read-only\n", device);
        return -EROFS;
    }
    if (block_device_is_mounted(device) && !is_forced) {
        console_printf("iobench: %s is mounted; force=1 overwrites it all the same\n", device);
        return -EBUSY;
    }
    return 0;
}

/* The name stands in JSON. */
static int read_name(int argc, char **argv, struct bench_config *config)
{
    const char *name = shell_option(argc, argv, "name");
    string_copy(config->name, name ? name : "iobench", sizeof(config->name));
    for (const char *at = config->name; *at; at++)
        if (*at == '"' || *at == '\\' || (uint8_t)*at < ' ')
            return refuse("name", "...", "quotes, backslashes and control characters are not allowed");
    return 0;
}

static int read_config(int argc, char **argv, struct bench_config *config)
{
    static const char *const known[] = {
        "name=",    "dev=",           "file=",  "rw=",     "bs=",    "size=",   "offset=",     "iodepth=",
        "numjobs=", "runtime=",       "batch=", "seed=",   "fsync=", "verify=", "number_ios=", "rwmixread=",
        "mode=",    "iodepth_batch=", "force=", "warmup=", "ratio=", "--json",  NULL};
    int error = shell_options_check(argc, argv, known);
    config->is_json = shell_flag(argc, argv, "--json");
    if (!error)
        error = read_name(argc, argv, config);
    if (!error)
        error = read_device(argc, argv, config);
    if (!error)
        error = read_pattern(argc, argv, config);
    if (!error)
        error = read_numbers(argc, argv, config);
    if (!error)
        error = read_time(argc, argv, config);
    if (!error)
        error = read_mode(argc, argv, config);
    if (!error)
        error = check_trim(config);
    if (!error)
        error = read_range(argc, argv, config);
    return error ? error : check_writable(argc, argv, config);
}

/* Runs and prints one job; its IOPS in `iops`. */
static int run_one(const struct bench_config *config, uint64_t *iops)
{
    struct bench_result *result =
        heap_alloc_zeroed(sizeof(*result)); /* a histogram is too much for a stack */
    if (!result)
        return -ENOMEM;
    histogram_init(&result->latency);
    int error = config->mode == BENCH_RAW ? bench_run_raw(config, result) : bench_run_workers(config, result);
    if (!error || error == -EINTR || error == -ENODEV)
        bench_report(config, result);
    *iops = bench_per_second(result->ios, result->end.ns - result->start.ns);
    if (!error && (result->errors > 0 || result->verify_errors > 0))
        error = -EIO;
    heap_free(result);
    return error;
}

/* ratio=1: the same job once more on the bare ring, and the two side by side. */
static int run_ratio(const struct bench_config *config, uint64_t iops)
{
    struct bench_config raw = *config;
    uint64_t raw_iops = 0;
    if (config->mode == BENCH_RAW || !block_device_ops(config->device)->raw) {
        console_printf("iobench: ratio=1: %s has no raw mode\n", block_device_name(config->device));
        return -EOPNOTSUPP;
    }
    raw.mode = BENCH_RAW;
    string_copy(raw.name + MIN(strlen(raw.name), BENCH_NAME_BYTES - 5u), "-raw", 5);
    int error = run_one(&raw, &raw_iops);
    if (!error && raw_iops > 0 && !config->is_json)
        console_printf("  %llu %% of the bare ring's %llu IOPS\n",
                       (unsigned long long)(iops * 100 / raw_iops), (unsigned long long)raw_iops);
    return error;
}

static int iobench_run(int argc, char **argv)
{
    struct bench_config config = {.name = ""};
    uint64_t is_ratio = 0, iops = 0;
    int error = read_config(argc, argv, &config);

    if (!error)
        error = shell_option_u64(argc, argv, "ratio", 0, 1, &is_ratio);
    if (!error) {
        MUTEX_SCOPED(&iobench_mutex);
        error = run_one(&config, &iops);
        if (!error && is_ratio)
            error = run_ratio(&config, iops);
    }
    if (config.device)
        block_device_put(config.device);
    return error;
}
SHELL_COMMAND(
    iobench, "dev=NAME [rw=...] [bs=4k] [iodepth=1] [numjobs=1] [KEY=VALUE...] [--json]",
    "measure block I/O, with fio's option names", iobench_run,
    "  name=x          names the job\n"
    "  rw=             read write rw randread randwrite randrw trim randtrim (default randread);\n"
    "                  all but reading destroys data!\n"
    "  rwmixread=50    percent of reads in rw and randrw\n"
    "  bs=4k           bytes an I/O;  size=, offset=: the range (default: the whole device)\n"
    "  iodepth=1       I/Os in flight a thread;  numjobs=1: threads\n"
    "  batch=          I/Os to wait for before new ones are made (default: half of iodepth)\n"
    "  iodepth_batch=  I/Os submitted in one plug (default: 32 when random, else iodepth)\n"
    "  runtime=5       seconds;  number_ios=: I/Os a thread;  warmup=: I/Os a thread before\n"
    "  fsync=N         a flush after N writes;  seed=1: of the random places\n"
    "  verify=crc32c   writes self-describing blocks and reads them back; reads: checks such blocks\n"
    "  mode=irq        sleep for interrupts;  poll: spin for completions;  raw: the bare ring alone\n"
    "  ratio=1         runs the job in mode=raw too and prints the ratio\n"
    "  force=1         writes to a mounted device\n"
    "Sequential jobs each have a part of the range. Latency: from submission until the thread has the\n"
    "I/O back.");
