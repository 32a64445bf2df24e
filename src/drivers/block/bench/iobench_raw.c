/* SPDX-License-Identifier: MIT */
/* iobench mode=raw: the driver's bare ring without the block layer, the floor that the layer is measured
 * against. The device is idle before and after; nobody else may use it meanwhile. Thread context. */
#include "iobench_internal.h"

#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/log.h>
#include <kernel/page.h>

#define RAW_WARMUP_IOS 10000u

/* The driver's callbacks have no argument; iobench.c allows one run at a time. */
static struct bench_result *raw_result;

static void raw_window_start(void)
{
    bench_window_start(raw_result);
}
static void raw_window_end(void)
{
    bench_window_end(raw_result);
}

static struct bench_result warmup_result;
static void warmup_window_start(void)
{
    warmup_result.start.ns = clock_ns();
}
static void warmup_window_end(void)
{
    warmup_result.end.ns = clock_ns();
}

/* The ring must be empty before the driver takes it for itself. */
static int run_job(const struct bench_config *config, struct block_raw_job *job)
{
    assert(job->data != NULL && job->window_start && job->window_end);
    block_device_drain(config->device);
    int error = block_device_raw(config->device, job);
    if (!error && job->done != job->ios)
        log_error("iobench", "%s: raw: %llu of %llu I/Os done", block_device_name(config->device),
                  (unsigned long long)job->done, (unsigned long long)job->ios);
    return error;
}

/* How many I/Os fill runtime_ns, by the speed of the warm-up. */
static uint64_t ios_for_runtime(const struct bench_config *config)
{
    uint64_t ns = warmup_result.end.ns - warmup_result.start.ns;
    uint64_t per_ms = (uint64_t)RAW_WARMUP_IOS * NSEC_PER_MSEC / MAX(ns, 1ull);
    return MAX(per_ms * (config->runtime_ns / NSEC_PER_MSEC), 1ull);
}

int bench_run_raw(const struct bench_config *config, struct bench_result *result)
{
    uint64_t data_bytes = (uint64_t)config->depth * config->block_bytes;
    unsigned order = page_order_for(data_bytes);
    struct block_raw_job job = {.operation = config->read_share > 0 ? BLOCK_READ : BLOCK_WRITE,
                                .block_bytes = config->block_bytes,
                                .depth = config->depth,
                                .batch = config->batch,
                                .ios = RAW_WARMUP_IOS,
                                .sector_first = config->first_sector,
                                .sectors = config->blocks * (config->block_bytes >> BLOCK_SECTOR_SHIFT),
                                .is_random = config->is_random,
                                .seed = config->seed,
                                .window_start = warmup_window_start,
                                .window_end = warmup_window_end};
    assert(config->jobs == 1 && config->mode == BENCH_RAW);
    if (order > PAGE_ORDER_MAX) {
        console_printf("iobench: mode=raw needs iodepth times bs in one piece of at most 4 MiB\n");
        return -EINVAL;
    }
    job.data = page_alloc_zeroed(order);
    if (!job.data)
        return -ENOMEM;
    bench_window_set_device(config->device);
    raw_result = result;
    int error = run_job(config, &job);
    if (!error) {
        job.ios = config->ios != UINT64_MAX ? config->ios : ios_for_runtime(config);
        job.done = job.errors = job.kicks = job.interrupts = 0;
        job.window_start = raw_window_start;
        job.window_end = raw_window_end;
        error = run_job(config, &job);
    }
    page_free(job.data, order);
    result->ios = job.done;
    result->errors = job.errors;
    /* The layer's counters saw nothing of this. */
    result->start.block = result->end.block = (struct block_stats){0};
    result->end.block.kicks = job.kicks;
    result->end.block.interrupts = job.interrupts;
    result->end.block.device_requests = job.done;
    return error;
}
