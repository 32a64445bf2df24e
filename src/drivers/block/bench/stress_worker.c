/* SPDX-License-Identifier: MIT */
/* stress's threads: each makes its own repeatable sequence of reads, writes, flushes, discards and write
 * zeroes of many sizes, scatter lists and offsets. Half of them sleep on each request, the others keep
 * several in flight. Thread context. */
#include "stress_internal.h"

#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/page.h>
#include <kernel/thread.h>

#define CLAIM_TRIES    16u
#define FLUSH_ONE_IN   128u
#define RANGE_BITS     5u /* one in 32 is a discard or writes zeroes */
#define OFFSET_SECTORS 8u /* data begins at one of so many sectors of its buffer */
#define FAILURE_LINES  4u

/* Takes `bits` low bits off a random number. */
static uint32_t take_bits(uint64_t *random, unsigned bits)
{
    uint32_t value = (uint32_t)(*random & (BIT(bits) - 1));
    assert(bits <= 32);
    *random >>= bits;
    return value;
}

/* Half of them 4 KiB, a quarter shorter, a quarter of up to the limit; in units, at least one. */
static uint32_t choose_count(struct stress_worker *worker, uint64_t *random)
{
    const struct stress_range *range = &worker->stress->range;
    uint32_t limit = MIN(worker->stress->config.block_bytes_max / range->unit_bytes,
                         MIN(range->units, STRESS_GROUP_UNITS));
    uint32_t usual = MAX(4096u / range->unit_bytes, 1u), kind = take_bits(random, 2);
    uint32_t count = usual;
    if (kind == 2)
        count = 1 + (uint32_t)random_below(&worker->random, usual);
    else if (kind == 3)
        count = 1 + (uint32_t)random_below(&worker->random, limit);
    return MIN(count, limit);
}

/* Finds `count` free units that do not cross a group's border. */
static bool claim_somewhere(struct stress_worker *worker, struct stress_slot *slot, uint32_t count)
{
    struct stress_range *range = &worker->stress->range;
    for (uint32_t tries = 0; tries < CLAIM_TRIES; tries++) {
        uint32_t first = (uint32_t)random_below(&worker->random, range->units - count + 1);
        uint32_t over = first % STRESS_GROUP_UNITS + count;
        assert(count <= STRESS_GROUP_UNITS && first + count <= range->units);
        if (over > STRESS_GROUP_UNITS)
            first -= over - STRESS_GROUP_UNITS;
        if (stress_range_claim(range, first, count)) {
            slot->first = first;
            slot->count = count;
            return true;
        }
    }
    return false;
}

/* Cuts the data into up to three segments of whole units. */
static void cut_segments(struct stress_slot *slot, uint8_t *data, uint32_t unit_bytes, uint64_t *random)
{
    uint32_t pieces = MIN(1 + take_bits(random, 8) % 3, slot->count), left = slot->count;
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t units = i + 1 == pieces ? left : 1 + take_bits(random, 6) % (left - (pieces - i - 1));
        slot->segments[i] = (struct block_segment){data, units * unit_bytes};
        data += units * unit_bytes;
        left -= units;
    }
    assert(left == 0);
    slot->request.segments = slot->segments;
    slot->request.segment_count = (uint16_t)pieces;
}

/* Flushes go between all the others, and need no claim. */
static void prepare_flush(struct stress_worker *worker, struct stress_slot *slot)
{
    block_request_init(&slot->request, worker->stress->config.device, BLOCK_FLUSH, 0, NULL, 0,
                       block_group_done);
    slot->request.owner = &worker->group;
    slot->count = 0;
    worker->counts.flushes++;
}

/* A read's units are spoiled first: what an earlier read left in the buffer must not pass for data. */
static void prepare_data(struct stress_worker *worker, struct stress_slot *slot, uint64_t random)
{
    const struct stress_range *range = &worker->stress->range;
    bool is_write = worker->stress->config.may_write && take_bits(&random, 1);
    uint8_t *data = slot->data + take_bits(&random, 8) % OFFSET_SECTORS * BLOCK_SECTOR_BYTES;
    uint32_t bytes = slot->count * range->unit_bytes;

    if (is_write)
        stress_range_fill(range, slot->first, slot->count, data);
    else
        for (uint32_t at = 0; at < bytes; at += range->unit_bytes)
            pattern_spoil(data + at, range->unit_bytes);
    block_request_init(&slot->request, range->device, is_write ? BLOCK_WRITE : BLOCK_READ,
                       range->first_sector + (uint64_t)slot->first * range->unit_sectors, data, bytes,
                       block_group_done);
    slot->request.owner = &worker->group;
    slot->request.priority = take_bits(&random, 3) == 0;
    cut_segments(slot, data, range->unit_bytes, &random);
    if (is_write)
        worker->counts.writes++;
    else
        worker->counts.reads++;
}

/* Which range without data is next; BLOCK_OPERATIONS: none. */
static enum block_operation choose_range(const struct stress_worker *worker, uint64_t *random)
{
    const struct stress_config *config = &worker->stress->config;
    bool is_range = take_bits(random, RANGE_BITS) == 0, is_discard = take_bits(random, 1);
    if (is_range && is_discard && config->may_discard)
        return BLOCK_DISCARD;
    return is_range && !is_discard && config->may_zero ? BLOCK_WRITE_ZEROES : BLOCK_OPERATIONS;
}

static void prepare_range(struct stress_worker *worker, struct stress_slot *slot,
                          enum block_operation operation, uint64_t random)
{
    const struct stress_range *range = &worker->stress->range;
    block_request_init_range(&slot->request, range->device, operation,
                             range->first_sector + (uint64_t)slot->first * range->unit_sectors,
                             slot->count * range->unit_sectors, block_group_done);
    slot->request.owner = &worker->group;
    slot->request.may_unmap = take_bits(&random, 1);
    if (operation == BLOCK_DISCARD)
        worker->counts.discards++;
    else
        worker->counts.zeroes++;
}

static void prepare(struct stress_worker *worker, struct stress_slot *slot)
{
    uint64_t random = random_next(&worker->random);
    bool is_flush = take_bits(&random, 16) % FLUSH_ONE_IN == 0;
    enum block_operation operation = choose_range(worker, &random);
    /* In a small range everything may be in flight: then it is a flush, which needs no block. */
    if (is_flush || !claim_somewhere(worker, slot, choose_count(worker, &random)))
        prepare_flush(worker, slot);
    else if (operation != BLOCK_OPERATIONS)
        prepare_range(worker, slot, operation, random);
    else
        prepare_data(worker, slot, random);
    worker->counts.submitted++;
    worker->left--;
}

/* BLOCK_RETRY is what a reset may answer; without resets it is a failure like any other. A device that is
 * removed ends the run. */
static cold void count_failure(struct stress_worker *worker, const struct block_request *request)
{
    if (request->status == BLOCK_RETRY && worker->stress->config.do_reset) {
        worker->counts.retried++;
        return;
    }
    if (request->status == BLOCK_GONE) {
        worker->counts.gone++;
        write_once(worker->stress->must_stop, true);
        return;
    }
    if (worker->counts.failed++ < FAILURE_LINES)
        log_error("stress", "%s: %s of %u sectors at %llu: %s", block_device_name(request->device),
                  block_operation_name(request->operation), request->sectors,
                  (unsigned long long)request->sector, block_status_name(request->status));
}

/* The blocks of a completed request: what they hold now, or whether they held it. */
static void judge(struct stress_worker *worker, const struct stress_slot *slot, bool is_good)
{
    struct stress_range *range = &worker->stress->range;
    switch (slot->request.operation) {
    case BLOCK_WRITE:
        stress_range_written(range, slot->first, slot->count, is_good);
        break;
    case BLOCK_DISCARD:
        stress_range_became(range, slot->first, slot->count, is_good ? STRESS_DISCARDED : STRESS_UNKNOWN);
        break;
    case BLOCK_WRITE_ZEROES:
        stress_range_became(range, slot->first, slot->count, is_good ? STRESS_ZEROES : STRESS_UNKNOWN);
        break;
    default:
        if (is_good) /* the segments are neighbours in one buffer */
            worker->counts.wrong += stress_range_check(range, slot->first, slot->count,
                                                       slot->segments[0].data, &worker->counts.verified);
    }
}

/* Judges a completed request and gives its blocks back. */
static void finish(struct stress_worker *worker, struct stress_slot *slot)
{
    struct stress_range *range = &worker->stress->range;
    bool is_good = slot->request.status == BLOCK_OK;

    assert(slot->request.status != BLOCK_PENDING); /* R1: status before done */
    if (unlikely(!is_good))
        count_failure(worker, &slot->request);
    if (slot->count > 0) {
        judge(worker, slot, is_good);
        stress_range_release(range, slot->first, slot->count);
    }
    write_once(worker->counts.completed, worker->counts.completed + 1);
}

static bool may_submit(const struct stress_worker *worker)
{
    return worker->left > 0 && !read_once(worker->stress->must_stop);
}

static void run_sleeping(struct stress_worker *worker)
{
    assert(worker->depth == 1);
    struct stress_slot *slot = &worker->slots[0];
    while (may_submit(worker)) {
        prepare(worker, slot);
        (void)!block_submit_and_wait(&slot->request); /* finish looks at the status */
        finish(worker, slot);
    }
}

static uint32_t submit_free(struct stress_worker *worker, struct fifo *free_slots)
{
    struct fifo_node *node;
    uint32_t count = 0;
    while (may_submit(worker) && (node = fifo_pop(free_slots)) != NULL) {
        struct stress_slot *slot = container_of(node, struct stress_slot, free_node);
        prepare(worker, slot);
        block_submit(&slot->request);
        count++;
    }
    return count;
}

/* Reaps a random number of what is in flight and refills; sometimes without a plug, one doorbell each. */
static void run_in_flight(struct stress_worker *worker)
{
    struct fifo free_slots = FIFO_INIT(free_slots), finished = FIFO_INIT(finished);
    uint32_t in_flight = 0;

    for (uint32_t i = 0; i < worker->depth; i++)
        fifo_push(&free_slots, &worker->slots[i].free_node);
    for (;;) {
        struct block_plug plug;
        struct fifo_node *node;
        bool is_plugged = random_next(&worker->random) & 3; /* three of four times */
        if (is_plugged)
            block_plug(&plug);
        in_flight += submit_free(worker, &free_slots);
        if (is_plugged)
            block_unplug(&plug);
        if (in_flight == 0)
            break;
        assert(in_flight <= worker->depth);
        block_group_reap(&worker->group, 1 + (uint32_t)random_below(&worker->random, in_flight), &finished);
        while ((node = fifo_pop(&finished)) != NULL) {
            struct block_request *request = container_of(node, struct block_request, node);
            struct stress_slot *slot = container_of(request, struct stress_slot, request);
            finish(worker, slot);
            fifo_push(&free_slots, &slot->free_node);
            in_flight--;
        }
    }
}

void stress_worker_main(void *argument)
{
    struct stress_worker *worker = argument;
    struct stress *stress = worker->stress;
    if (worker->depth == 1)
        run_sleeping(worker);
    else
        run_in_flight(worker);
    assert(worker->counts.submitted == worker->counts.completed);
    if (__atomic_sub_fetch(&stress->running, 1, __ATOMIC_ACQ_REL) == 0)
        wait_wake(&stress->finishing, 1);
}

/* Room for the longest request at the last of the offsets. */
static unsigned slot_order(const struct stress_config *config)
{
    return page_order_for(config->block_bytes_max + (OFFSET_SECTORS - 1) * BLOCK_SECTOR_BYTES);
}

int stress_worker_init(struct stress_worker *worker, struct stress *stress, uint32_t index)
{
    const struct stress_config *config = &stress->config;

    assert(index < config->threads && config->threads <= STRESS_THREADS_MAX);
    worker->stress = stress;
    random_init(&worker->random, config->seed * STRESS_THREADS_MAX + index);
    block_group_init(&worker->group);
    worker->depth = 1;
    if (index % 2 == 1 && config->depth > 1)
        worker->depth = 2 + (uint32_t)random_below(&worker->random, config->depth - 1);
    worker->left = UINT64_MAX;
    if (config->ios != UINT64_MAX)
        worker->left = config->ios / config->threads + (index < config->ios % config->threads);
    worker->slots = heap_alloc_zeroed(worker->depth * sizeof(*worker->slots));
    if (!worker->slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < worker->depth; i++) {
        worker->slots[i].data = page_alloc(slot_order(config));
        if (!worker->slots[i].data)
            return -ENOMEM;
    }
    return 0;
}

void stress_worker_fini(struct stress_worker *worker)
{
    if (!worker->slots)
        return;
    for (uint32_t i = 0; i < worker->depth; i++)
        if (worker->slots[i].data)
            page_free(worker->slots[i].data, slot_order(&worker->stress->config));
    heap_free(worker->slots);
}
