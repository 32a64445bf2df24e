/* SPDX-License-Identifier: MIT */
/* iobench's coordinator: creates the threads, leads them through the phases, and takes the counters around
 * the measured one. Also the marker instructions that tools outside count between. Thread context; one run at
 * a time (iobench.c sees to that). */
#include "iobench_internal.h"

#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/sched.h>
#include <kernel/shell.h>
#include <kernel/thread.h>

#define LOOK_NS (200 * NSEC_PER_MSEC) /* how soon ^C is seen */

static struct block_device *window_device;

/* Eight-byte NOPs that no compiler makes; a TCG plugin counts what is executed between them. */
static always_inline void marker_start(void)
{
    __asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00, 0x01, 0x00, 0x4b, 0x4d" : : : "memory");
}
static always_inline void marker_end(void)
{
    __asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00, 0x02, 0x00, 0x4b, 0x4d" : : : "memory");
}

void bench_window_set_device(struct block_device *device)
{
    window_device = device;
}

void bench_window_start(struct bench_result *result)
{
    assert(window_device != NULL);
    block_device_stats(window_device, &result->start.block);
    result->start.switches = sched_total_switches();
    result->start.busy_ns = sched_busy_ns();
    result->start.ns = clock_ns();
    marker_start();
}

void bench_window_end(struct bench_result *result)
{
    marker_end();
    result->end.ns = clock_ns();
    assert(result->end.ns >= result->start.ns);
    result->end.busy_ns = sched_busy_ns();
    result->end.switches = sched_total_switches();
    block_device_stats(window_device, &result->end.block);
}

/* The release pairs with the acquire in wait_for_phase: who sees the phase sees `arrived` at 0. */
static void begin_phase(struct bench_run *run, enum bench_phase phase)
{
    assert(run->phase < (uint32_t)phase);
    __atomic_store_n(&run->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&run->phase, (uint32_t)phase, __ATOMIC_RELEASE);
    wait_wake_all(&run->starting);
}

static bool all_arrived(struct bench_run *run)
{
    return __atomic_load_n(&run->arrived, __ATOMIC_ACQUIRE) == run->config->jobs;
}

/* Until all threads are at the phase's end. At `deadline_ns` and at ^C they are told to finish early. */
static void end_phase(struct bench_run *run, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now_ns = clock_ns();
        if (wait_event_until(&run->arriving, all_arrived(run),
                             MIN(now_ns + LOOK_NS, deadline_ns > now_ns ? deadline_ns : UINT64_MAX)) == 0)
            return;
        if (shell_interrupted())
            run->was_interrupted = true;
        if (run->was_interrupted || clock_ns() >= deadline_ns)
            write_once(run->must_stop, true);
    }
}

static void run_phases(struct bench_run *run, struct bench_result *result)
{
    const struct bench_config *config = run->config;
    bool is_polling = config->mode == BENCH_POLL;

    if (is_polling)
        block_device_set_polling(config->device, true);
    /* Caches, translations and the host's own come to rest; drained, so that the window counts only itself.
     */
    begin_phase(run, BENCH_WARMUP);
    end_phase(run, UINT64_MAX);

    bench_window_start(result);
    begin_phase(run, BENCH_MEASURE);
    end_phase(run, config->runtime_ns ? clock_ns() + config->runtime_ns : UINT64_MAX);
    bench_window_end(result);

    if (is_polling)
        block_device_set_polling(config->device, false); /* the verification sleeps */
    begin_phase(run, BENCH_VERIFY);
    end_phase(run, UINT64_MAX);
}

/* On an error some threads may wait for their first phase already; the caller ends and joins them. */
static int create_threads(struct bench_run *run)
{
    for (uint32_t i = 0; i < run->config->jobs; i++) {
        struct thread_config thread = {
            .name = "iobench", .entry = bench_worker_main, .argument = &run->workers[i]};
        int error = bench_worker_init(&run->workers[i], run, i);
        if (!error)
            error = thread_create(&thread, &run->workers[i].thread);
        if (error)
            return error;
    }
    return 0;
}

static void join_threads(struct bench_run *run, struct bench_result *result)
{
    for (uint32_t i = 0; i < run->config->jobs; i++) {
        struct bench_worker *worker = &run->workers[i];
        if (worker->thread) {
            thread_join(worker->thread);
            result->ios += worker->ios;
            result->errors += worker->errors;
            result->errors_out_of_range += worker->errors_out_of_range;
            result->errors_failed += worker->errors_failed;
            result->verified += worker->verified;
            result->verify_errors += worker->verify_errors;
            histogram_merge(&result->latency, &worker->latency);
        }
        bench_worker_fini(worker);
    }
}

int bench_run_workers(const struct bench_config *config, struct bench_result *result)
{
    struct bench_run run = {.config = config};
    int error;

    wait_queue_init(&run.starting);
    wait_queue_init(&run.arriving);
    run.workers = heap_alloc_zeroed(config->jobs * sizeof(*run.workers));
    if (!run.workers)
        return -ENOMEM;
    bench_window_set_device(config->device);
    error = create_threads(&run);
    if (error) {
        write_once(run.must_stop, true);
        begin_phase(&run, BENCH_DONE); /* is past every phase: they run through */
    } else {
        run_phases(&run, result);
    }
    join_threads(&run, result);
    heap_free(run.workers);
    if (!error)
        block_device_drain(config->device);
    if (error)
        return error;
    return run.is_device_gone ? -ENODEV : run.was_interrupted ? -EINTR : 0;
}
