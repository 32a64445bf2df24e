/* SPDX-License-Identifier: MIT */
/* iobench's threads. The loops here are counted in guest instructions with the path that they measure, so
 * they are short: requests are prepared once and only their sector changes; no division, no allocation.
 *
 * depth 1, irq:  block_submit_and_wait, the sleeping path.
 * deeper, irq:   sleep until `batch` are done, submit as many in one plug. With batch below depth the rest
 *                stays in the device meanwhile, so the device never waits for the thread.
 * poll:          the same, asking the device for completions in a loop.
 *
 * Latency is from the request's submission to the moment when the thread has it back. */
#include "iobench_internal.h"

#include <arch/clock.h>
#include <drivers/block/bench/pattern.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/page.h>
#include <kernel/thread.h>

#define VERIFY_GENERATION 1u /* content depends on seed and place only, so it can be checked afterwards */

static uint64_t verify_source(const struct bench_config *config)
{
    return pattern_source(block_device_name(config->device), config->seed);
}

/* ---- What to do next ---- */

/* A linear congruential generator (Knuth, TAOCP vol. 2, 3.3.4, MMIX): its high bits are good, and it costs
 * two instructions. */
static always_inline uint64_t next_random(struct bench_worker *worker)
{
    return worker->random = worker->random * 6364136223846793005ull + 1442695040888963407ull;
}

static always_inline uint64_t next_sector(struct bench_worker *worker)
{
    const struct bench_config *config = worker->config;
    uint64_t block;
    if (config->is_random) {
        block = (uint64_t)((unsigned __int128)next_random(worker) * worker->blocks >> 64);
    } else {
        block = worker->next_block++;
        if (unlikely(worker->next_block == worker->blocks))
            worker->next_block = 0;
    }
    debug_assert(block < worker->blocks);
    return config->first_sector + (worker->first_block + block) * worker->block_sectors;
}

/* The operation in a mix, and the content when it is verified. A read's buffer is spoiled first, so that what
 * an earlier read left there cannot pass for this one's data. */
static noinline void prepare_extras(struct bench_worker *worker, struct block_request *request)
{
    const struct bench_config *config = worker->config;
    bool is_read = next_random(worker) >> 48 < config->read_share;
    request->operation = is_read ? BLOCK_READ : BLOCK_WRITE;
    if (!is_read)
        worker->writes_since_flush++;
    if (config->verify && is_read)
        pattern_spoil(request->one.data, config->block_bytes);
    else if (config->verify)
        pattern_fill(request->one.data, config->block_bytes, verify_source(config), request->sector,
                     VERIFY_GENERATION);
}

static always_inline void prepare(struct bench_worker *worker, struct block_request *request)
{
    request->sector = next_sector(worker);
    if (unlikely(worker->has_extras))
        prepare_extras(worker, request);
}

/* ---- What was done ---- */

/* The first few wrong blocks are described, the others counted: a broken disk must not flood the log. */
static noinline void check_block(struct bench_worker *worker, struct block_request *request)
{
    const struct bench_config *config = worker->config;
    enum pattern_verdict verdict = pattern_check(request->one.data, config->block_bytes,
                                                 verify_source(config), request->sector, VERIFY_GENERATION);
    worker->verified++;
    if (verdict == PATTERN_GOOD)
        return;
    if (worker->verify_errors++ < 4)
        log_error("iobench", "%s: sector %llu: %s", block_device_name(config->device),
                  (unsigned long long)request->sector, pattern_verdict_name(verdict));
}

/* Without a device the run has no end of its own. */
static cold void count_error(struct bench_worker *worker, const struct block_request *request)
{
    worker->errors++;
    worker->errors_out_of_range += request->status == BLOCK_OUT_OF_RANGE;
    worker->errors_failed += request->status == BLOCK_FAILED;
    if (request->status == BLOCK_GONE) {
        write_once(worker->run->is_device_gone, true);
        write_once(worker->run->must_stop, true);
    }
}

static always_inline void account(struct bench_worker *worker, struct block_request *request)
{
    if (unlikely(request->status != BLOCK_OK))
        count_error(worker, request);
    else if (unlikely(worker->has_extras) && worker->config->verify && request->operation == BLOCK_READ &&
             worker->config->read_share == 65536) /* in a mix, what is read may never have been written */
        check_block(worker, request);
}

/* fsync=N: a flush after each N writes, while the rest of the depth stays in flight. */
static void flush_if_due(struct bench_worker *worker)
{
    if (likely(worker->config->fsync_every == 0) || worker->writes_since_flush < worker->config->fsync_every)
        return;
    worker->writes_since_flush = 0;
    if (block_flush(worker->config->device))
        worker->errors++;
}

/* ---- Loops ---- */

static void run_sleeping(struct bench_worker *worker, uint64_t ios)
{
    struct block_request *request = &worker->slots[0].request;
    uint64_t then_ns = clock_ns(); /* the end of one is the start of the next: one look at the clock each */
    for (; ios > 0 && !read_once(worker->run->must_stop); ios--) {
        prepare(worker, request);
        (void)!block_submit_and_wait(request); /* account looks at the status */
        uint64_t now_ns = clock_ns();
        histogram_add(&worker->latency, now_ns - then_ns, 1);
        account(worker, request);
        then_ns = now_ns;
        if (unlikely(worker->has_extras)) {
            flush_if_due(worker);
            then_ns = clock_ns();
        }
    }
}

/* The device's driver completes within poll(), in this thread, so what is done is in the group afterwards. */
static uint32_t reap_polling(struct bench_worker *worker, uint32_t at_least, struct fifo *finished)
{
    struct block_device *device = worker->config->device;
    uint32_t count = 0;
    while (count < at_least) {
        block_device_poll(device);
        count += block_group_reap(&worker->group, 0, finished);
    }
    return count;
}

static always_inline uint32_t reap(struct bench_worker *worker, uint32_t at_least, struct fifo *finished)
{
    if (unlikely(worker->config->mode == BENCH_POLL))
        return reap_polling(worker, at_least, finished);
    return block_group_reap(&worker->group, at_least, finished);
}

/* Takes what is done, and sends each again while there is work left. What was submitted in one plug has one
 * submission time: so latencies are added by runs of equal ones. */
static always_inline uint64_t turn_around(struct bench_worker *worker, struct fifo *finished, uint64_t ios,
                                          uint32_t *in_flight)
{
    uint64_t now_ns = clock_ns(), stamp_ns = now_ns, run = 0;
    struct fifo_node *node = finished->head;
    uint32_t room = worker->config->submit_batch;

    for (struct fifo_node *next; node && room > 0; node = next, room--) {
        struct block_request *request = container_of(node, struct block_request, node);
        next = node->next;
        if (unlikely(request->submitted_ns != stamp_ns)) {
            if (run)
                histogram_add(&worker->latency, now_ns - stamp_ns, run);
            stamp_ns = request->submitted_ns;
            run = 0;
        }
        run++;
        account(worker, request);
        if (unlikely(ios == 0)) {
            --*in_flight;
            continue;
        }
        ios--;
        prepare(worker, request);
        block_submit(request);
    }
    if (run)
        histogram_add(&worker->latency, now_ns - stamp_ns, run);
    finished->head = node;
    if (!node)
        fifo_init(finished);
    return ios;
}

static uint32_t submit_first(struct bench_worker *worker, uint64_t ios)
{
    uint32_t count = (uint32_t)MIN((uint64_t)worker->config->depth, ios);
    struct block_plug plug;
    block_plug(&plug);
    for (uint32_t i = 0; i < count; i++) {
        prepare(worker, &worker->slots[i].request);
        block_submit(&worker->slots[i].request);
    }
    block_unplug(&plug);
    return count;
}

static void run_in_flight(struct bench_worker *worker, uint64_t ios)
{
    const uint32_t batch = worker->config->batch;
    uint32_t in_flight = submit_first(worker, ios);
    struct fifo finished = FIFO_INIT(finished);
    struct block_plug plug;

    assert(batch > 0 && worker->config->submit_batch > 0);
    ios -= in_flight;
    while (in_flight > 0) {
        reap(worker, MIN(batch, in_flight), &finished);
        if (unlikely(read_once(worker->run->must_stop)))
            ios = 0;
        do {
            block_plug(&plug);
            ios = turn_around(worker, &finished, ios, &in_flight);
            block_unplug(&plug);
        } while (!fifo_is_empty(&finished));
        if (unlikely(worker->has_extras))
            flush_if_due(worker);
    }
}

static void run_phase(struct bench_worker *worker, uint64_t ios)
{
    assert(worker->latency.count == 0); /* so that the count is this phase's */
    if (worker->config->depth == 1 && worker->config->mode == BENCH_IRQ)
        run_sleeping(worker, ios);
    else
        run_in_flight(worker, ios);
    worker->ios = worker->latency.count;
}

/* Makes the same choices again as the measured phase and reads what that wrote. */
static void run_verification(struct bench_worker *worker)
{
    struct block_request *request = &worker->slots[0].request;
    worker->random = worker->random_at_start;
    worker->next_block = worker->next_block_at_start;
    for (uint64_t left = worker->ios;
         left > 0 && !worker->run->was_interrupted && !read_once(worker->run->is_device_gone); left--) {
        request->sector = next_sector(worker);
        if (next_random(worker) >> 48 < worker->config->read_share)
            continue;
        pattern_spoil(request->one.data, worker->config->block_bytes);
        request->operation = BLOCK_READ;
        if (block_submit_and_wait(request))
            worker->errors++;
        else
            check_block(worker, request);
    }
}

static void wait_for_phase(struct bench_run *run, enum bench_phase phase)
{
    wait_event(&run->starting, __atomic_load_n(&run->phase, __ATOMIC_ACQUIRE) >= (uint32_t)phase);
}

static void arrive(struct bench_run *run)
{
    if (__atomic_add_fetch(&run->arrived, 1, __ATOMIC_ACQ_REL) == run->config->jobs)
        wait_wake(&run->arriving, 1);
}

void bench_worker_main(void *argument)
{
    struct bench_worker *worker = argument;
    struct bench_run *run = worker->run;

    assert(run->config == worker->config);
    wait_for_phase(run, BENCH_WARMUP);
    run_phase(worker, worker->config->warmup_ios);
    histogram_init(&worker->latency);
    worker->errors_out_of_range = worker->errors_failed = 0;
    worker->errors = worker->verified = worker->verify_errors = 0;
    worker->random_at_start = worker->random;
    worker->next_block_at_start = worker->next_block;
    arrive(run);

    wait_for_phase(run, BENCH_MEASURE);
    run_phase(worker, worker->config->ios);
    arrive(run);

    wait_for_phase(run, BENCH_VERIFY);
    if (worker->config->verify && worker->config->read_share < 65536)
        run_verification(worker);
    arrive(run);
}

/* ---- Setting up ---- */

/* Sequential jobs each get a part of the range of their own; random ones share all of it. */
static void set_range(struct bench_worker *worker, uint32_t index)
{
    const struct bench_config *config = worker->config;
    worker->blocks = config->blocks;
    if (config->is_random || config->blocks < config->jobs)
        return;
    worker->blocks = config->blocks / config->jobs;
    worker->first_block = index * worker->blocks;
    assert(worker->first_block + worker->blocks <= config->blocks);
}

static int init_slot(struct bench_worker *worker, struct block_request *request)
{
    const struct bench_config *config = worker->config;
    if (config->is_trim) {
        block_request_init_range(request, config->device, BLOCK_DISCARD, 0, worker->block_sectors,
                                 block_group_done);
        request->owner = &worker->group;
        return 0;
    }
    void *data = page_alloc_zeroed(page_order_for(config->block_bytes));
    if (!data)
        return -ENOMEM;
    block_request_init(request, config->device, config->read_share > 0 ? BLOCK_READ : BLOCK_WRITE, 0, data,
                       config->block_bytes, block_group_done);
    request->owner = &worker->group;
    return 0;
}

int bench_worker_init(struct bench_worker *worker, struct bench_run *run, uint32_t index)
{
    const struct bench_config *config = run->config;
    struct random seeder;

    assert(index < config->jobs && config->depth > 0 && config->blocks > 0);
    worker->run = run;
    worker->config = config;
    worker->block_sectors = config->block_bytes >> BLOCK_SECTOR_SHIFT;
    worker->has_extras =
        config->verify || config->fsync_every > 0 || (config->read_share != 0 && config->read_share != 65536);
    random_init(&seeder, config->seed + index);
    worker->random = random_next(&seeder);
    histogram_init(&worker->latency);
    block_group_init(&worker->group);
    set_range(worker, index);
    worker->slots = heap_alloc_zeroed(config->depth * sizeof(*worker->slots));
    if (!worker->slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < config->depth; i++) {
        int error = init_slot(worker, &worker->slots[i].request);
        if (error)
            return error;
    }
    return 0;
}

void bench_worker_fini(struct bench_worker *worker)
{
    if (!worker->slots)
        return;
    for (uint32_t i = 0; i < worker->config->depth; i++)
        if (worker->slots[i].request.one.data)
            page_free(worker->slots[i].request.one.data, page_order_for(worker->config->block_bytes));
    heap_free(worker->slots);
}
