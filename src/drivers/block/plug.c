/* SPDX-License-Identifier: MIT */
/* Submission: what a request passes before its queue sees it.
 *
 *     block_submit           checked, then listed in the open plug; dispatched at once without one
 *     block_plug, _unplug    a thread's plug: a batch that is merged and dispatched together
 *     block_submit_and_wait  listed in this CPU's deferred plug, dispatched when the CPU runs out of work
 *
 * A context (an interrupt on one CPU, or a thread) has at most one plug, in its slot; only that context
 * touches it, so plugs need no lock. Whoever dispatches has a plug in the slot for that time, so that what
 * done submits is listed there and sent by the loop in block_plug_flush: no recursion, one doorbell. */
#include "block_internal.h"

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/sched.h>
#include <kernel/trace.h>

/* Sleeping submitters of one CPU share a dispatch; at this many it does not wait any longer. */
#define DEFERRED_MAX 64u

/* Its CPU's threads, with preemption off. */
struct deferred_plug {
    struct sched_deferred call;
    struct fifo requests;
    uint32_t count;
} aligned(CACHE_LINE_BYTES);

static struct deferred_plug deferred_plugs[CPU_MAX];
static struct block_plug *interrupt_plugs[CPU_MAX]; /* each: interrupts of its CPU, which do not nest */

#ifndef __KERNEL__
bool block_host_in_interrupt;
#endif

_Static_assert(offsetof(struct block_request, node) == 0, "a request and its node share an address");
_Static_assert(sizeof(struct block_request) <= 160, "a request is two and a half cache lines");
_Static_assert(offsetof(struct block_request, piece_first_segment) - offsetof(struct block_request, status) ==
                   6,
               "block_submit sets these in one store");

struct block_plug **block_plug_slot(void)
{
    return unlikely(block_in_interrupt()) ? &interrupt_plugs[cpu_id()] : &thread_current()->plug;
}

static always_inline void plug_init(struct block_plug *plug)
{
    fifo_init(&plug->requests);
    plug->count = plug->depth = 0;
    plug->is_flushing = plug->must_rerun = false;
    plug->dispatching = NULL;
}

/* ---- Checking --------------------------------------------------------------------------------------- */

static cold void refuse(struct block_request *request, enum block_status status)
{
    request->status = status;
    request->shape = BLOCK_SHAPE_REFUSED;
}

static void examine_transfer(struct block_request *request)
{
    const struct block_device *device = request->device;
    uint64_t capacity = read_once(device->sectors);
    if (request->sectors == 0 || request->sector > capacity ||
        capacity - request->sector < request->sectors ||
        ((request->sector | request->sectors) & device->sector_mask))
        refuse(request, BLOCK_OUT_OF_RANGE);
    else if (request->operation == BLOCK_WRITE && device->is_read_only)
        refuse(request, BLOCK_READ_ONLY);
    else
        block_segments_measure(request);
}

/* Everything but a read or write of one buffer that the device takes as it is. */
static noinline void examine(struct block_request *request)
{
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        examine_transfer(request);
        break;
    case BLOCK_FLUSH:
        request->shape = BLOCK_SHAPE_NO_MERGE;
        request->sectors = request->total_sectors = request->total_segments = 0;
        if (!request->device->has_flush)
            refuse(request, BLOCK_OK); /* nothing volatile: all that was completed is durable */
        break;
    case BLOCK_GET_ID:
        request->shape = BLOCK_SHAPE_NO_MERGE;
        request->sectors = request->total_sectors = 0;
        if (request->segment_count != 1 || request->segments[0].bytes < BLOCK_ID_BYTES)
            refuse(request, BLOCK_OUT_OF_RANGE);
        break;
    default:
        refuse(request, BLOCK_UNSUPPORTED);
    }
}

/* The layer's fields, and the bounds: with one look for what is plain. */
static always_inline void prepare(struct block_request *request)
{
    const struct block_device *device = request->device;
    uint64_t capacity = read_once(device->sectors), sector = request->sector;
    uint32_t sectors = request->sectors;
    assert(request->phase == 0); /* R1: not submitted already */
    request->status = BLOCK_PENDING;
    request->phase = 1;
    request->shape = 0;
    request->epoch = 0;
    request->total_segments = 1;
    request->piece_first_segment = 0;
    request->merged_head = NULL;
    request->total_sectors = sectors;
    request->piece_offset_bytes = 0;
    request->piece_bytes = 0;
    trace(TRACE_BLOCK_SUBMIT, (uintptr_t)request, sector);
    if (unlikely(request->operation > BLOCK_WRITE || request->segment_count != 1 ||
                 sectors - 1 >= device->plain_sectors_max || ((sector | sectors) & device->sector_mask) ||
                 sector > capacity || capacity - sector < sectors ||
                 (request->operation == BLOCK_WRITE && device->is_read_only))) {
        examine(request);
    } else {
        assert(request->segments[0].bytes == sectors << BLOCK_SECTOR_SHIFT);
        debug_assert(is_direct_map(request->segments[0].data, request->segments[0].bytes));
    }
}

/* ---- Plugs ------------------------------------------------------------------------------------------ */

static cold void finish_refused(struct fifo *refused)
{
    fifo_foreach (node, refused) {
        assert(request_of(node)->status != BLOCK_PENDING);
        request_of(node)->phase = 0;
    }
    block_finish(refused->head);
}

/* Until nothing is listed any more, in a plug that is in its context's slot. */
void block_plug_flush(struct block_plug *plug)
{
    struct block_batch batch;
    struct fifo list = FIFO_INIT(list);
    if (plug->is_flushing)
        return;
    plug->is_flushing = true;
    while (!fifo_is_empty(&plug->requests)) {
        fifo_append(&list, &plug->requests);
        plug->count = 0;
        uint64_t now_ns = clock_ns();
        do {
            struct block_device *device = request_of(list.head)->device;
            block_merge_batch(&list, &batch, now_ns);
            if (likely(batch.count))
                block_queue_run(plug, device, &batch);
            if (unlikely(!fifo_is_empty(&batch.refused)))
                finish_refused(&batch.refused);
        } while (unlikely(!fifo_is_empty(&list)));
    }
    plug->is_flushing = false;
}

struct block_plug *block_context_begin(struct block_plug *local)
{
    struct block_plug **slot = block_plug_slot();
    if (*slot)
        return *slot;
    plug_init(local);
    *slot = local;
    return local;
}

void block_context_end(struct block_plug *context, struct block_plug *local)
{
    if (context != local)
        return;
    if (!fifo_is_empty(&local->requests))
        block_plug_flush(local);
    assert(*block_plug_slot() == local && !local->must_rerun);
    *block_plug_slot() = NULL;
}

static noinline void submit_alone(struct block_plug **slot, struct block_request *request)
{
    struct block_plug plug;
    plug_init(&plug);
    fifo_push(&plug.requests, &request->node);
    *slot = &plug;
    block_plug_flush(&plug);
    *slot = NULL;
}

void block_submit(struct block_request *request)
{
    struct block_plug **slot = block_plug_slot(), *plug = *slot;
    prepare(request);
    if (unlikely(!plug)) {
        submit_alone(slot, request);
        return;
    }
    fifo_push(&plug->requests, &request->node);
    if (unlikely(++plug->count >= BLOCK_PLUG_MAX))
        block_plug_flush(plug);
}

void block_plug(struct block_plug *plug)
{
    struct block_plug **slot = block_plug_slot();
    assert(!block_in_interrupt());
    if (*slot) {
        (*slot)->depth++;
        return;
    }
    plug_init(plug);
    *slot = plug;
}

void block_unplug(struct block_plug *plug)
{
    struct block_plug **slot = block_plug_slot(), *outermost = *slot;
    assert(outermost != NULL && !block_in_interrupt());
    if (outermost != plug) {
        assert(outermost->depth > 0);
        outermost->depth--;
        return;
    }
    assert(plug->depth == 0);
    block_plug_flush(plug);
    *slot = NULL;
}

void block_plug_flush_own(void)
{
    struct block_plug *plug = *block_plug_slot();
    if (plug && !fifo_is_empty(&plug->requests))
        block_plug_flush(plug);
}

/* ---- The deferred plug ------------------------------------------------------------------------------ */

/* In whatever thread is about to leave the CPU, preemption off: so with a plug of its own in the slot, which
 * it gives back, since that thread's plug may stay closed for long. */
static void flush_deferred(struct sched_deferred *call)
{
    struct deferred_plug *deferred = container_of(call, struct deferred_plug, call);
    struct block_plug plug, **slot = block_plug_slot(), *saved = *slot;
    if (deferred->count == 0)
        return;
    plug_init(&plug);
    fifo_append(&plug.requests, &deferred->requests);
    deferred->count = 0;
    *slot = &plug;
    block_plug_flush(&plug);
    *slot = saved;
}

static void submit_deferred(struct block_request *request)
{
    preempt_disable();
    struct deferred_plug *deferred = &deferred_plugs[cpu_id()];
    if (unlikely(!deferred->call.call)) {
        deferred->call.call = flush_deferred;
        fifo_init(&deferred->requests);
    }
    fifo_push(&deferred->requests, &request->node);
    if (unlikely(++deferred->count >= DEFERRED_MAX))
        flush_deferred(&deferred->call);
    else if (!deferred->call.is_pending)
        sched_defer(&deferred->call);
    preempt_enable();
}

void block_wait_done(struct block_request *request)
{
    complete(request->owner);
}

int block_submit_and_wait(struct block_request *request)
{
    struct completion completion;
    assert(!block_in_interrupt());
    prepare(request);
    if (unlikely(request->shape & BLOCK_SHAPE_REFUSED)) {
        request->phase = 0;
        return block_status_to_error(request->status);
    }
    completion_init(&completion);
    request->owner = &completion;
    request->done = block_wait_done;
    block_plug_flush_own();
    submit_deferred(request);
    completion_wait(&completion);
    return likely(request->status == BLOCK_OK) ? 0 : block_status_to_error(request->status);
}
