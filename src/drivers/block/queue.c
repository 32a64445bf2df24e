/* SPDX-License-Identifier: MIT */
/* A device's queue: dispatch up to the driver's depth, completion, restart.
 *
 *     block_queue_run    new requests and what waits -> at most `depth` in flight -> ops->submit, in a batch
 *     block_complete     accounts, takes merges apart, sends the next pieces, restarts, calls done
 *
 * A request is counted `queued` while it is in `returned` or with the scheduler and `in_flight` from the
 * moment it is taken for the driver. device->lock covers the counts and is never held over a call of the
 * driver, of done or of another layer. Any context.
 *
 * Two CPUs may dispatch one device at once: each takes its own requests under the lock, the driver has a
 * lock of its own. One CPU never nests: a plug (context) that is dispatching a device only notes that there
 * is more (must_rerun) when the driver completes something within ops->submit. */
#include "block_internal.h"

#include <arch/clock.h>
#include <kernel/base/bits.h>
#include <kernel/sched.h>
#include <kernel/trace.h>

/* Leaders that came back from the driver, since registration. */
static always_inline uint64_t completed_of(const struct block_device *device)
{
    return device->stats.device_requests - device->in_flight;
}

/* Moves up to `room` waiting requests to `to`: what the driver left first. */
static uint32_t take_waiting(struct block_device *device, struct fifo *to, uint32_t room)
{
    uint32_t count = MIN(room, device->queued);
    assert_spin_locked(&device->lock);
    for (uint32_t i = 0; i < count; i++) {
        struct fifo_node *node = fifo_pop(&device->returned);
        struct block_request *request = node ? request_of(node) : device->scheduler->take(device);
        assert(request != NULL && request->phase == 1); /* `queued` counts what is there */
        request->epoch = (uint8_t)device->epoch;
        fifo_push(to, &request->node);
    }
    device->queued -= count;
    device->epoch_in_flight[device->epoch] += count;
    return count;
}

/* Turns `batch->leaders` from what is new into what the driver shall take now; returns how many these are.
 * `completed`: how many leaders had come back from the driver when this was decided. */
static uint32_t exchange_batch(struct block_device *device, struct block_batch *batch, uint64_t *completed)
{
    uint64_t flags = spin_lock_irq(&device->lock);
    /* cppcheck-suppress ctuuninitvar ; `refused` is, and is not used here */
    uint32_t in_flight = device->in_flight, count = batch->count;
    assert(in_flight <= device->limits.depth);
    uint32_t room = device->limits.depth - in_flight;
    if (likely(device->queued == 0 && count <= room)) {
        device->epoch_in_flight[batch->epoch] += count; /* nothing to choose: past the scheduler */
    } else {
        if (count) {
            uint32_t merges = device->scheduler->insert(device, &batch->leaders);
            device->queued += count - merges;
            batch->merges += merges;
        }
        fifo_init(&batch->leaders);
        count = take_waiting(device, &batch->leaders, room);
    }
    device->in_flight = in_flight + count;
    if (device->in_flight > device->stats.in_flight_max)
        device->stats.in_flight_max = device->in_flight;
    device->stats.merges += batch->merges;
    device->stats.device_requests += count;
    *completed = completed_of(device);
    device->stats.batches += count != 0;
    bool must_arm = count && !device->is_watchdog_armed;
    device->is_watchdog_armed |= must_arm;
    spin_unlock_irq(&device->lock, flags);
    if (unlikely(must_arm))
        block_watchdog_arm(device);
    return count;
}

/* `batch`: its leaders are new requests; it is used up. */
void block_queue_run(struct block_plug *context, struct block_device *device, struct block_batch *batch)
{
    struct block_device *outer = context->dispatching;
    bool outer_must_rerun = context->must_rerun, again;
    uint64_t completed;
    context->dispatching = device;
    for (;;) {
        uint32_t count = exchange_batch(device, batch, &completed);
        if (count == 0)
            break;
        trace(TRACE_BLOCK_DISPATCH, (uintptr_t)device, count);
        struct fifo_node *first = batch->leaders.head;
        context->must_rerun = false;
        preempt_disable(); /* a removal waits for it (removal.c) */
        read_once(device->ops)->submit(device, &batch->leaders);
        preempt_enable();
        again = context->must_rerun;
        if (unlikely(!fifo_is_empty(&batch->leaders)))
            again |= block_queue_put_back(device, &batch->leaders, batch->leaders.head != first, completed);
        if (likely(!again))
            break;
        fifo_init(&batch->leaders);
        batch->count = batch->merges = 0;
    }
    context->dispatching = outer;
    context->must_rerun = outer_must_rerun;
}

bool block_queue_put_back(struct block_device *device, struct fifo *requests, bool took_some,
                          uint64_t completed)
{
    SPIN_SCOPED_IRQ(&device->lock);
    uint32_t count = 0;
    fifo_foreach (node, requests) {
        struct block_request *request = request_of(node);
        assert(request->phase == 1 && request->status == BLOCK_PENDING);
        assert(device->epoch_in_flight[request->epoch] > 0);
        device->epoch_in_flight[request->epoch]--;
        count++;
    }
    assert(device->in_flight >= count);
    fifo_append(requests, &device->returned);
    fifo_append(&device->returned, requests);
    device->in_flight -= count;
    device->queued += count;
    device->stats.device_requests -= count;
    device->stats.batches -= !took_some;
    /* R5: the completions that would have restarted the queue may all have been here before. */
    return device->in_flight == 0 && completed_of(device) != completed;
}

void block_restart(struct block_device *device)
{
    struct block_plug local, *context = block_context_begin(&local);
    struct block_batch batch = {.count = 0};
    fifo_init(&batch.leaders);
    block_queue_run(context, device, &batch);
    block_context_end(context, &local);
}

/* ---- Completion ------------------------------------------------------------------------------------- */

static always_inline void account(struct block_device *device, struct block_request *request, uint64_t now_ns)
{
    assert(request->phase == 1); /* R1: submitted, and not completed before */
    trace(TRACE_BLOCK_DONE, (uintptr_t)request, request->status);
    request->phase = 0;
    device->stats.ios[request->operation]++;
    device->stats.sectors[request->operation] += request->sectors;
    unsigned bucket = ilog2((now_ns - request->submitted_ns) | 1);
    /* Clocks of two CPUs may differ: a negative time lands in the last bucket. */
    device->latency[MIN(bucket, BLOCK_LATENCY_BUCKETS - 1u)]++;
    if (unlikely(request->status != BLOCK_OK))
        device->stats.errors++;
}

static void wait_again(struct block_device *device, struct block_request *request)
{
    request->status = BLOCK_PENDING;
    fifo_push(&device->returned, &request->node);
    device->queued++;
}

/* A merged request failed: each part goes down again by itself, so that only those whose own sectors are bad
 * fail. */
static cold void split_failed(struct block_device *device, struct block_request *leader)
{
    struct fifo_node *next = leader->merged_head;
    leader->merged_head = NULL;
    for (struct block_request *request = leader; request;) {
        request->shape = 0;
        block_segments_measure(request);
        request->shape |= BLOCK_SHAPE_NO_MERGE;
        wait_again(device, request);
        request = next ? request_of(next) : NULL;
        next = next ? next->next : NULL;
    }
}

/* A leader that is not plain. Appends what is done to `*tail`; returns the new tail. */
static noinline struct fifo_node **account_shaped(struct block_device *device, struct block_request *leader,
                                                  uint64_t now_ns, struct fifo_node **tail)
{
    if (leader->shape & BLOCK_SHAPE_PIECES && leader->status == BLOCK_OK && block_piece_advance(leader)) {
        wait_again(device, leader);
        return tail;
    }
    if (leader->shape & BLOCK_SHAPE_MERGED && leader->status == BLOCK_FAILED) {
        split_failed(device, leader);
        return tail;
    }
    account(device, leader, now_ns);
    *tail = &leader->node;
    tail = &leader->node.next;
    if (leader->shape & BLOCK_SHAPE_MERGED) {
        *tail = leader->merged_head;
        tail = leader->merged_tail;
        for (struct fifo_node *node = leader->merged_head; node; node = node->next) {
            request_of(node)->status = leader->status;
            account(device, request_of(node), now_ns);
        }
    }
    return tail;
}

/* Accounts all leaders; the list of the requests that are done. */
static struct fifo_node *account_leaders(struct block_device *device, struct fifo *leaders, uint64_t now_ns)
{
    struct fifo_node *finished = NULL, **tail = &finished, *node = leaders->head;
    uint32_t count = 0;
    while (node) {
        struct block_request *leader = request_of(node);
        node = node->next;
        assert(leader->status != BLOCK_PENDING && leader->device == device); /* R1: status before done */
        device->epoch_in_flight[leader->epoch]--;
        count++;
        if (unlikely(leader->shape)) {
            tail = account_shaped(device, leader, now_ns, tail);
            continue;
        }
        account(device, leader, now_ns);
        *tail = &leader->node;
        tail = &leader->node.next;
    }
    *tail = NULL;
    assert(device->in_flight >= count); /* R1: not more than the driver has */
    device->in_flight -= count;
    return finished;
}

void block_finish(struct fifo_node *node)
{
    struct block_plug local, *context = NULL; /* for what an owner's done submits */
    while (node) {
        struct block_request *request = request_of(node);
        void (*done)(struct block_request *) = request->done;
        if (done == block_wait_done) {
            node = node->next; /* its thread may end it now */
            complete(request->owner);
            continue;
        }
        if (likely(done == block_group_done)) {
            struct fifo_node *last = node;
            uint32_t count = 1;
            while ((node = node->next) && request_of(node)->done == done &&
                   request_of(node)->owner == request->owner) {
                last = node;
                count++;
            }
            block_group_add_run(request->owner, &request->node, last, count);
            continue;
        }
        node = node->next; /* done may free or submit the request */
        if (!context)
            context = block_context_begin(&local);
        done(request);
    }
    if (unlikely(context))
        block_context_end(context, &local);
}

/* In an interrupt the wakes are batched already. */
static void finish(struct fifo_node *node)
{
    if (block_in_interrupt()) {
        block_finish(node);
        return;
    }
    preempt_disable();
    sched_wake_batch_begin();
    block_finish(node);
    sched_wake_batch_end();
    preempt_enable();
}

/* What waits in the queue goes to the driver: at once, or by whoever of this context is dispatching there. */
static noinline void continue_queue(struct block_device *device)
{
    struct block_plug *context = *block_plug_slot();
    if (context && context->dispatching == device)
        context->must_rerun = true;
    else
        block_restart(device);
}

void block_complete(struct block_device *device, struct fifo *leaders)
{
    uint64_t now_ns = clock_ns();
    uint64_t flags = spin_lock_irq(&device->lock);
    struct fifo_node *finished = account_leaders(device, leaders, now_ns);
    bool is_waiting = device->queued != 0;
    bool is_drained = device->drainers && !is_waiting && device->in_flight == 0;
    spin_unlock_irq(&device->lock, flags);

    fifo_init(leaders);
    if (unlikely(is_waiting)) /* R5; before done, so that the device has work meanwhile */
        continue_queue(device);
    finish(finished);
    if (unlikely(is_drained))
        wait_wake_all(&device->idle);
}
