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

/* Whole blocks of the device. */
static bool is_inside(const struct block_request *request)
{
    const struct block_device *device = request->device;
    uint64_t capacity = read_once(device->sectors);
    return request->sectors != 0 && request->sector <= capacity &&
           capacity - request->sector >= request->sectors &&
           ((request->sector | request->sectors) & device->sector_mask) == 0;
}

static void examine_transfer(struct block_request *request)
{
    if (!is_inside(request))
        refuse(request, BLOCK_OUT_OF_RANGE);
    else if (request->operation == BLOCK_WRITE && request->device->is_read_only)
        refuse(request, BLOCK_READ_ONLY);
    else
        block_segments_measure(request);
}

static void examine_range(struct block_request *request)
{
    if (block_range_limit(request->device, request->operation)->max_sectors == 0)
        refuse(request, BLOCK_UNSUPPORTED);
    else if (!is_inside(request))
        refuse(request, BLOCK_OUT_OF_RANGE);
    else if (request->device->is_read_only)
        refuse(request, BLOCK_READ_ONLY);
    else
        block_range_measure(request);
}

/* What the device tells about itself: `bytes`, into one segment. */
static void examine_question(struct block_request *request, uint32_t bytes)
{
    request->shape = BLOCK_SHAPE_NO_MERGE;
    request->sectors = request->total_sectors = 0;
    if (request->segment_count != 1 || request->segments[0].bytes < bytes)
        refuse(request, BLOCK_OUT_OF_RANGE);
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
        if (!read_once(request->device->has_flush))
            refuse(request, BLOCK_OK); /* nothing volatile: all that was completed is durable */
        break;
    case BLOCK_GET_ID:
        examine_question(request, BLOCK_ID_BYTES);
        break;
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES:
    case BLOCK_SECURE_ERASE:
        examine_range(request);
        break;
    case BLOCK_GET_LIFETIME:
        examine_question(request, sizeof(struct block_lifetime));
        if (!request->device->limits.has_lifetime)
            refuse(request, BLOCK_UNSUPPORTED);
        break;
    default:
        refuse(request, BLOCK_UNSUPPORTED);
    }
}

/* The layer's fields. */
static always_inline void begin(struct block_request *request)
{
    assert(request->phase == 0); /* R1: not submitted already */
    request->status = BLOCK_PENDING;
    request->phase = 1;
    request->shape = 0;
    request->epoch = 0;
    request->total_segments = 1;
    request->piece_first_segment = 0;
    request->merged_head = NULL;
    request->total_sectors = request->sectors;
    request->piece_offset_bytes = 0;
    request->piece_bytes = 0;
}

/* A read or write of one buffer that the device takes as it is: nothing else is to be examined. */
static always_inline bool is_plain(const struct block_request *request)
{
    const struct block_device *device = request->device;
    uint64_t capacity = read_once(device->sectors), sector = request->sector;
    uint32_t sectors = request->sectors;
    if (unlikely(request->operation > BLOCK_WRITE || request->segment_count != 1 ||
                 sectors - 1 >= device->plain_sectors_max || ((sector | sectors) & device->sector_mask) ||
                 sector > capacity || capacity - sector < sectors ||
                 (request->operation == BLOCK_WRITE && device->is_read_only)))
        return false;
    assert(request->segments[0].bytes == sectors << BLOCK_SECTOR_SHIFT);
    debug_assert(is_direct_map(request->segments[0].data, request->segments[0].bytes));
    return true;
}

static always_inline void prepare(struct block_request *request)
{
    begin(request);
    trace(TRACE_BLOCK_SUBMIT, (uintptr_t)request, request->sector);
    if (unlikely(!is_plain(request)))
        examine(request);
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

static cold void finish_refused_alone(struct block_request *request)
{
    struct fifo refused = FIFO_INIT(refused);
    fifo_push(&refused, &request->node);
    finish_refused(&refused);
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
        return *slot; /* cppcheck-suppress identicalInnerCondition ; a pointer, no condition */
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

/* A request that shares its dispatch with no other: there is nothing to sort or merge. It was not refused;
 * the context has no plug. */
static noinline void dispatch_alone(struct block_plug **slot, struct block_request *request)
{
    struct block_plug plug;
    struct block_batch batch;
    plug_init(&plug);
    plug.is_flushing = true;
    *slot = &plug;
    fifo_init(&batch.leaders);
    fifo_push(&batch.leaders, &request->node);
    batch.count = 1;
    batch.merges = 0;
    batch.epoch = read_once(request->device->epoch);
    request->epoch = (uint8_t)batch.epoch;
    request->submitted_ns = clock_ns();
    block_queue_run(&plug, request->device, &batch);
    if (unlikely(!fifo_is_empty(&plug.requests))) { /* what done submitted meanwhile */
        plug.is_flushing = false;
        block_plug_flush(&plug);
    }
    *slot = NULL;
}

/* What is not simply listed. */
static noinline void submit_oddly(struct block_plug **slot, struct block_request *request)
{
    struct block_plug *plug = *slot;
    trace(TRACE_BLOCK_SUBMIT, (uintptr_t)request, request->sector);
    if (!is_plain(request))
        examine(request);
    if (plug) {
        fifo_push(&plug->requests, &request->node);
        if (++plug->count >= BLOCK_PLUG_MAX)
            block_plug_flush(plug);
    } else if (unlikely(request->shape & BLOCK_SHAPE_REFUSED)) {
        finish_refused_alone(request);
    } else {
        dispatch_alone(slot, request);
    }
}

/* Calls nothing but at its end, so that it need save no registers. */
void block_submit(struct block_request *request)
{
    struct block_plug **slot = block_plug_slot(), *plug = *slot;
    begin(request);
    if (unlikely(!plug || plug->count >= BLOCK_PLUG_MAX - 1 || trace_is_on || !is_plain(request))) {
        submit_oddly(slot, request);
        return;
    }
    fifo_push(&plug->requests, &request->node);
    plug->count++;
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

/* With the plug's slot as the caller found it; preemption off. */
static void submit_deferred(struct block_request *request)
{
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
    request->owner = &completion; /* cppcheck-suppress autoVariables ; waited for below */
    request->done = block_wait_done;
    struct block_plug **slot = &thread_current()->plug;
    if (unlikely(*slot))
        block_plug_flush_own();
    preempt_disable();
    if (likely(!*slot) && !sched_is_worth_deferring())
        dispatch_alone(slot, request);
    else
        submit_deferred(request);
    preempt_enable();
    completion_wait(&completion);
    return likely(request->status == BLOCK_OK) ? 0 : block_status_to_error(request->status);
}
