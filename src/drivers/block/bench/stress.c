/* SPDX-License-Identifier: MIT */
/* The stress command: many threads, a seeded mix of requests, every block checked when it is read. This file
 * reads the options, coordinates (progress, scheduler changes, resets, the end) and judges. Thread context.
 */
#include "stress_internal.h"

#include <arch/clock.h>
#include <drivers/block/bench/bench.h>
#include <kernel/base/assert.h>
#include <kernel/entropy.h>
#include <kernel/heap.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define LOOK_NS         (100 * NSEC_PER_MSEC)
#define PROGRESS_NS     NSEC_PER_SEC
#define STUCK_NS        (30 * NSEC_PER_SEC) /* no completion for so long: some were lost */
#define DEFAULT_IOS     100000u
#define DEFAULT_BYTES   MIB(64)
#define UNITS_MAX       (MIB(4) / sizeof(uint32_t)) /* the generations are one allocation */
#define SCHEDULER_BYTES 16u

/* While threads run, the sums are a little behind; complete only when all have finished. */
static struct stress_counts sum_counts(const struct stress *stress)
{
    struct stress_counts sum = {0};
    for (uint32_t i = 0; i < stress->config.threads; i++) {
        const struct stress_counts *counts = &stress->workers[i].counts;
        sum.submitted += read_once(counts->submitted);
        sum.completed += read_once(counts->completed);
        sum.reads += counts->reads;
        sum.writes += counts->writes;
        sum.flushes += counts->flushes;
        sum.discards += counts->discards;
        sum.zeroes += counts->zeroes;
        sum.retried += counts->retried;
        sum.failed += counts->failed;
        sum.gone += counts->gone;
        sum.verified += counts->verified;
        sum.wrong += counts->wrong;
    }
    return sum;
}

/* ---- Coordination ---- */

struct coordinator {
    uint64_t start_ns, deadline_ns, next_progress_ns, last_change_ns;
    uint64_t completed, completed_at_progress;
    struct random random;
    bool was_interrupted, is_stuck;
    char scheduler[SCHEDULER_BYTES]; /* the one to give back at the end */
};

static void print_progress(const struct stress *stress, struct coordinator *coordinator, uint64_t now_ns)
{
    assert(coordinator->start_ns <= now_ns);
    if (now_ns < coordinator->next_progress_ns)
        return;
    struct stress_counts sum = sum_counts(stress);
    coordinator->next_progress_ns += PROGRESS_NS;
    console_printf("stress: %llu s: %llu requests (%llu/s), %llu blocks verified, %llu wrong, %llu failed\n",
                   (unsigned long long)((now_ns - coordinator->start_ns) / NSEC_PER_SEC),
                   (unsigned long long)sum.completed,
                   (unsigned long long)(sum.completed - coordinator->completed_at_progress),
                   (unsigned long long)sum.verified, (unsigned long long)sum.wrong,
                   (unsigned long long)sum.failed);
    coordinator->completed_at_progress = sum.completed;
}

/* About twice a second another scheduler, and with reset=1 a reset: at the first look, then about once a
 * second. */
static void disturb(struct stress *stress, struct coordinator *coordinator)
{
    static const char *const schedulers[] = {"none", "deadline"};
    uint64_t random = random_next(&coordinator->random);
    if ((random & 7) < 2) {
        if (block_device_set_scheduler(stress->config.device, schedulers[random >> 8 & 1]) == 0)
            stress->scheduler_changes++;
    }
    if (stress->config.do_reset && ((random >> 16 & 7) == 0 || stress->resets == 0)) {
        int error = block_device_reset(stress->config.device);
        stress->resets += error == 0;
        stress->reset_errors += error && error != -ENODEV; /* gone: the requests will tell */
    }
}

/* True when nothing has completed for STUCK_NS. */
static bool is_stuck(const struct stress *stress, struct coordinator *coordinator, uint64_t now_ns)
{
    uint64_t completed = sum_counts(stress).completed;
    if (completed != coordinator->completed) {
        coordinator->completed = completed;
        coordinator->last_change_ns = now_ns;
    }
    return now_ns - coordinator->last_change_ns > STUCK_NS;
}

static void coordinate(struct stress *stress, struct coordinator *coordinator)
{
    while (wait_event_until(&stress->finishing, __atomic_load_n(&stress->running, __ATOMIC_ACQUIRE) == 0,
                            clock_ns() + LOOK_NS) != 0) {
        uint64_t now_ns = clock_ns();
        print_progress(stress, coordinator, now_ns);
        if (shell_interrupted())
            coordinator->was_interrupted = true;
        if (coordinator->was_interrupted || now_ns >= coordinator->deadline_ns)
            write_once(stress->must_stop, true);
        coordinator->is_stuck = is_stuck(stress, coordinator, now_ns);
        if (coordinator->is_stuck)
            return;
        disturb(stress, coordinator);
    }
}

/* ---- Verdict ---- */

static void print_repeat(const struct stress_config *config)
{
    struct shell_line line = {0};
    shell_line_add(
        &line, "stress: to repeat: stress dev=%s seed=%llu threads=%u depth=%u bs=%u offset=%llu size=%llu",
        block_device_name(config->device), (unsigned long long)config->seed, config->threads, config->depth,
        config->block_bytes_max, (unsigned long long)config->offset_bytes,
        (unsigned long long)config->size_bytes);
    if (config->ios != UINT64_MAX)
        shell_line_add(&line, " ios=%llu", (unsigned long long)config->ios);
    if (config->runtime_ns)
        shell_line_add(&line, " seconds=%llu", (unsigned long long)(config->runtime_ns / NSEC_PER_SEC));
    if (config->do_reset)
        shell_line_add(&line, " reset=1");
    shell_line_end(&line);
}

static const char device_gone[] = "the device has gone";

/* The first thing that is wrong, or NULL. `sum` is complete, nothing is in flight. */
static const char *find_fault(struct stress *stress, struct stress_counts *sum)
{
    struct block_device *device = stress->config.device;
    struct block_stats stats;

    assert(read_once(stress->running) == 0);
    block_device_drain(device);
    block_device_stats(device, &stats);
    if (sum->submitted != sum->completed) /* R1 */
        return "requests were lost or completed twice";
    if (stress_range_claimed(&stress->range) != 0)
        return "blocks are still claimed";
    if (stats.queued != 0 || stats.in_flight != 0)
        return "the queue is not empty after its drain";
    if (!block_device_is_idle(device)) /* R2 */
        return "the driver's descriptors are not all free";
    int error = sum->gone > 0 ? 0 : stress_range_check_all(&stress->range, &sum->verified, &sum->wrong);
    if (sum->wrong > 0)
        return "wrong content";
    if (sum->failed > 0 || stress->reset_errors > 0)
        return "requests or resets failed";
    if (sum->gone > 0)
        return device_gone;
    return error ? "the last reading of the whole range failed" : NULL;
}

#define ULL(value) ((unsigned long long)(value))

static void print_json(const struct stress *stress, const struct stress_counts *sum, const char *fault,
                       uint64_t ns)
{
    struct shell_line line = {0};
    shell_line_add(&line, "{\"job\":\"stress\",\"n\":%llu,\"ok\":%s,\"fault\":\"%s\",\"dev\":\"%s\"",
                   ULL(sum->completed), fault ? "false" : "true", fault ? fault : "",
                   block_device_name(stress->config.device));
    shell_line_add(&line, ",\"reads\":%llu,\"writes\":%llu,\"flushes\":%llu,\"verified\":%llu,\"wrong\":%llu",
                   ULL(sum->reads), ULL(sum->writes), ULL(sum->flushes), ULL(sum->verified), ULL(sum->wrong));
    shell_line_add(&line, ",\"discards\":%llu,\"write_zeroes\":%llu", ULL(sum->discards), ULL(sum->zeroes));
    shell_line_add(&line,
                   ",\"errors\":%llu,\"gone\":%llu,\"retried\":%llu,\"resets\":%llu,\"runtime_ns\":%llu}",
                   ULL(sum->failed), ULL(sum->gone), ULL(sum->retried), ULL(stress->resets), ULL(ns));
    shell_line_end(&line);
}

static void print_verdict(const struct stress *stress, const struct stress_counts *sum, const char *fault,
                          uint64_t ns)
{
    struct shell_line line = {0};
    shell_line_add(&line, "stress: %s%s: %llu requests in %llu ms, %llu reads, %llu writes, %llu flushes",
                   fault ? "FAILED: " : "OK", fault ? fault : "", ULL(sum->completed),
                   ULL(ns / NSEC_PER_MSEC), ULL(sum->reads), ULL(sum->writes), ULL(sum->flushes));
    shell_line_add(&line, ", %llu discards, %llu write zeroes", ULL(sum->discards), ULL(sum->zeroes));
    shell_line_add(&line, ", %llu blocks verified, %llu wrong, %llu failed, %llu retried, %llu resets",
                   ULL(sum->verified), ULL(sum->wrong), ULL(sum->failed), ULL(sum->retried),
                   ULL(stress->resets));
    shell_line_add(&line, ", %llu scheduler changes%s", ULL(stress->scheduler_changes),
                   fault ? "" : ", all descriptors free");
    shell_line_end(&line);
}

/* Threads sleep for requests that will not come back: what they use must stay. */
static int report_stuck(const struct stress *stress)
{
    struct stress_counts sum = sum_counts(stress);
    console_printf("stress: FAILED: %llu requests did not complete within %llu s\n",
                   (unsigned long long)(sum.submitted - sum.completed),
                   (unsigned long long)(STUCK_NS / NSEC_PER_SEC));
    block_dump(stress->config.device);
    print_repeat(&stress->config);
    return -ETIMEDOUT;
}

/* ---- Running ---- */

/* `running` counts each thread before it exists, so it cannot reach 0 while some are still to come. */
static int create_threads(struct stress *stress)
{
    int error = 0;
    for (uint32_t i = 0; i < stress->config.threads && !error; i++)
        error = stress_worker_init(&stress->workers[i], stress, i);
    for (uint32_t i = 0; i < stress->config.threads && !error; i++) {
        struct thread_config thread = {
            .name = "stress", .entry = stress_worker_main, .argument = &stress->workers[i]};
        __atomic_add_fetch(&stress->running, 1, __ATOMIC_RELAXED);
        error = thread_create(&thread, &stress->workers[i].thread);
        if (error)
            __atomic_sub_fetch(&stress->running, 1, __ATOMIC_RELAXED);
    }
    if (error) {
        console_printf("stress: not enough memory for %u threads: fewer threads=, depth= or bs=\n",
                       stress->config.threads);
        write_once(stress->must_stop, true);
    }
    return error;
}

static void join_threads(struct stress *stress)
{
    for (uint32_t i = 0; i < stress->config.threads; i++)
        if (stress->workers[i].thread)
            thread_join(stress->workers[i].thread);
}

static int run_stress(struct stress *stress, struct coordinator *coordinator)
{
    coordinator->start_ns = coordinator->last_change_ns = clock_ns();
    coordinator->next_progress_ns = coordinator->start_ns + PROGRESS_NS;
    coordinator->deadline_ns =
        stress->config.runtime_ns ? coordinator->start_ns + stress->config.runtime_ns : UINT64_MAX;
    random_init(&coordinator->random, ~stress->config.seed);
    string_copy(coordinator->scheduler, block_device_scheduler(stress->config.device), SCHEDULER_BYTES);

    int error = create_threads(stress);
    if (!error)
        coordinate(stress, coordinator);
    if (coordinator->is_stuck)
        return report_stuck(stress);
    join_threads(stress);
    (void)!block_device_set_scheduler(stress->config.device, coordinator->scheduler);
    if (error)
        return error;
    struct stress_counts sum = sum_counts(stress);
    const char *fault = find_fault(stress, &sum);
    uint64_t ns = clock_ns() - coordinator->start_ns;
    if (stress->config.is_json)
        print_json(stress, &sum, fault, ns);
    else
        print_verdict(stress, &sum, fault, ns);
    if (fault && fault != device_gone)
        print_repeat(&stress->config);
    if (fault == device_gone)
        return -ENODEV;
    return fault ? -EIO : coordinator->was_interrupted ? -EINTR : 0;
}

/* When requests are stuck, their threads and buffers stay for good: the device may still write to them (R6).
 */
static int run(const struct stress_config *config)
{
    struct coordinator coordinator = {0};
    struct stress *stress = heap_alloc_zeroed(sizeof(*stress));
    int error = -ENOMEM;
    if (!stress)
        return error;
    stress->config = *config;
    wait_queue_init(&stress->finishing);
    stress->workers = heap_alloc_zeroed(config->threads * sizeof(*stress->workers));
    if (stress->workers && stress_range_init(&stress->range, config) == 0)
        error = run_stress(stress, &coordinator);
    if (coordinator.is_stuck)
        return error;
    for (uint32_t i = 0; stress->workers && i < config->threads; i++)
        if (stress->workers[i].stress)
            stress_worker_fini(&stress->workers[i]);
    stress_range_fini(&stress->range);
    heap_free(stress->workers);
    heap_free(stress);
    return error;
}

/* ---- Options ---- */

/* The range under test: 64 MiB from the start unless told otherwise. */
static int read_range(int argc, char **argv, struct stress_config *config)
{
    uint64_t device_bytes = block_device_sectors(config->device) << BLOCK_SECTOR_SHIFT;
    uint32_t unit = block_device_limits(config->device)->logical_block_bytes;
    uint64_t offset = 0, size;

    if (shell_option_u64(argc, argv, "offset", 0, device_bytes, &offset))
        return -EINVAL;
    size = MIN(device_bytes - offset, DEFAULT_BYTES);
    if (shell_option_u64(argc, argv, "size", unit, MIN(device_bytes - offset, UNITS_MAX * unit), &size))
        return -EINVAL;
    if (offset % unit != 0 || size < unit) {
        console_printf(
            "stress: the range has no whole block of %u bytes, or offset= is not a multiple of it\n", unit);
        return -EINVAL;
    }
    config->offset_bytes = offset;
    config->size_bytes = size;
    return 0;
}

static int read_amount(int argc, char **argv, struct stress_config *config)
{
    uint64_t threads = 16, depth = 8, block_bytes = KIB(16), seconds = 0;
    uint32_t unit = block_device_limits(config->device)->logical_block_bytes;
    uint64_t reset = 0;

    config->seed = entropy_seed();
    config->ios = UINT64_MAX;
    if (shell_option_u64(argc, argv, "threads", 1, STRESS_THREADS_MAX, &threads) ||
        shell_option_u64(argc, argv, "depth", 1, STRESS_DEPTH_MAX, &depth) ||
        shell_option_u64(argc, argv, "bs", unit, (uint64_t)unit * STRESS_GROUP_UNITS, &block_bytes) ||
        shell_option_u64(argc, argv, "seed", 0, UINT64_MAX, &config->seed) ||
        shell_option_u64(argc, argv, "ios", 1, UINT64_MAX / 2, &config->ios) ||
        shell_option_u64(argc, argv, "seconds", 1, 1000000, &seconds) ||
        shell_option_u64(argc, argv, "reset", 0, 1, &reset))
        return -EINVAL;
    if (config->ios == UINT64_MAX && seconds == 0)
        config->ios = DEFAULT_IOS;
    config->runtime_ns = seconds * NSEC_PER_SEC;
    config->threads = (uint32_t)threads;
    config->depth = (uint32_t)depth;
    config->block_bytes_max = (uint32_t)MAX(block_bytes, (uint64_t)unit);
    config->do_reset = reset;
    if (config->do_reset && !block_device_ops(config->device)->reset) {
        console_printf("stress: reset=1: %s cannot be reset\n", block_device_name(config->device));
        return -EOPNOTSUPP;
    }
    return 0;
}

static int read_device(int argc, char **argv, struct stress_config *config)
{
    const char *name = shell_option(argc, argv, "dev");
    uint64_t is_forced = 0;
    if (shell_option_u64(argc, argv, "force", 0, 1, &is_forced))
        return -EINVAL;
    if (!name) {
        console_printf("stress: dev=NAME is missing\n");
        return -EINVAL;
    }
    config->device = block_device_find(name);
    if (!config->device) {
        console_printf("stress: no device %s\n", name);
        return -ENODEV;
    }
    if (block_device_is_mounted(name) && !is_forced) {
        console_printf("stress: %s is mounted; force=1 overwrites it all the same\n", name);
        return -EBUSY;
    }
    const struct block_limits *limits = block_device_limits(config->device);
    config->may_write = !block_device_is_read_only(config->device);
    config->may_discard = config->may_write && limits->discard.max_sectors;
    config->may_zero = config->may_write && limits->write_zeroes.max_sectors;
    if (!config->may_write)
        console_printf("stress: %s is read-only: reads without verification\n", name);
    return 0;
}

static int stress_run(int argc, char **argv)
{
    static const char *const known[] = {
        "dev=",   "threads=", "ios=",   "seconds=", "seed=",  "size=", "offset=",
        "depth=", "bs=",      "reset=", "force=",   "--json", NULL};
    struct stress_config config = {.is_json = shell_flag(argc, argv, "--json")};
    int error = shell_options_check(argc, argv, known);
    if (!error)
        error = read_device(argc, argv, &config);
    if (!error)
        error = read_range(argc, argv, &config);
    if (!error)
        error = read_amount(argc, argv, &config);
    /* First of all: a run that hangs or panics must be repeatable too. */
    if (!error && !shell_option(argc, argv, "seed"))
        console_printf("stress: seed=%llu\n", (unsigned long long)config.seed);
    if (!error)
        error = run(&config);
    if (config.device && error != -ETIMEDOUT) /* its stuck requests keep it */
        block_device_put(config.device);
    return error;
}
SHELL_COMMAND(stress, "dev=NAME [ios=N|seconds=N] [threads=16] [seed=N] [KEY=VALUE...]",
              "verify a device under a mix of concurrent requests; destroys data", stress_run,
              "  ios=100000    requests of all threads;  seconds=: or for so long\n"
              "  threads=16    half of them sleep on each request, the others keep up to depth=8 in flight\n"
              "  size=64M      of the range, from offset=0: its data is destroyed\n"
              "  bs=16k        the longest request; half are of 4 KiB\n"
              "  reset=1       resets the device now and then\n"
              "  force=1       even if the device is mounted\n"
              "Reads, writes, flushes, and where the device has them discards and write zeroes.\n"
              "Every block says which device, sector and generation it is, and is checked when it is read.\n"
              "A read-only device is only read.");
