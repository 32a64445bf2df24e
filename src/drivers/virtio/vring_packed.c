/* SPDX-License-Identifier: MIT */
/* The packed ring (virtio 1.2, 2.8): one ring of descriptors, which the driver makes available and the device
 * overwrites with used ones, each in order. Two flags tell what a descriptor is, each against a wrap counter
 * that its side keeps for itself and turns over at the ring's end.
 *
 * A batch goes out at once: its first descriptor is built in private memory (`first`), the others in the
 * ring, where no device looks before it has seen the one in front of them; kick_prepare copies the first.
 *     avail_at == &first        the batch is empty
 *     avail_at == avail_stop    `first` is built, or the ring's end reached: turn() says where it goes on
 *     else                      the batch's next descriptor goes there, in the ring
 *
 * The device may write all of the ring at any time, so nothing that decides is read back from it, except what
 * is the device's to tell: length, id and flags of the next used descriptor, and when to ring the doorbell.
 * Free list, chain lengths, tokens and positions live in private memory.
 *
 * Two kinds of queue, two ops tables; and two more in vring_packed_in_order.c:
 *   direct    a chain of n buffers takes n descriptors in a row
 *   indirect  a chain takes one descriptor, which points at the table that belongs to its id; drivers build
 *             their buffers in that table (2.8.7)
 *
 * Invariants: R2 free_count + lengths of the chains in flight == size; R4 a used descriptor is believed only
 * if its id is a chain's in flight and its length fits that chain; R5 callbacks_enable looks once more.
 * Everything with queue.lock held, but for has_more, dump and is_consistent. Any context. */
#include <kernel/base/error.h>

#include "vring_packed_internal.h"

/* ---- Adding ----------------------------------------------------------------------------------------- */

/* The driver is at the ring's end: where it goes on, with its wrap counter turned over (2.8.1). */
static always_inline struct pvirtq_desc *wrap_avail(struct packed_ring *ring)
{
    ring->avail_flags ^= FLAGS(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
    ring->avail_event ^= VIRTQUEUE_WRAP;
    return ring->desc;
}

/* From avail_stop to where the batch goes on: behind the place of its first, or around the end. */
static always_inline struct pvirtq_desc *turn(struct packed_ring *ring)
{
    struct pvirtq_desc *next = ring->avail_stop == ring->end ? ring->end : ring->batch + 1;
    ring->avail_at = next == ring->end ? wrap_avail(ring) : next;
    ring->avail_stop = ring->end;
    return ring->avail_at;
}

/* The rare ways out of the hot functions below are calls in tail position, so that these need save no
 * registers. */
static noinline int add_traced(struct packed_ring *ring, const struct packed_id *head)
{
    trace(TRACE_RING_ADD, (uintptr_t)ring, (uint64_t)(head - ring->ids));
    return 0;
}

/* The chain whose descriptors have been built, `length` of them, takes the first free id. Returns 0. */
static always_inline int take_id(struct packed_ring *ring, struct packed_id *head, uint32_t length,
                                 uint32_t writable_bytes, void *token)
{
    struct virtqueue *queue = &ring->queue;
    debug_assert(token != NULL && head->told_end == 0 && writable_bytes < UINT32_MAX);
    queue->free_count -= (uint16_t)length;
    queue->free_id = head->next;
    queue->added++;
    head->token = token;
    head->end_bytes = writable_bytes + 1;
    return virtqueue_is_traced() ? add_traced(ring, head) : 0;
}

/* Makes the next chain's table one of so many buffers of each direction, and adds the chain. */
static noinline int shape_and_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes,
                                  void *token)
{
    struct virtqueue_buffer *table = virtqueue_buffers(queue);
    uint32_t id = queue->free_id, readable = shape & 0xffff, count = readable + (shape >> 16);
    struct packed_id *head = &ring_of(queue)->ids[id];
    assert(count > 0 && count <= queue->config.chain_max);
    for (uint32_t i = 0; i < count; i++)
        table[i].ring = i < readable ? 0 : VIRTQ_DESC_F_WRITE << 16;
    struct pvirtq_desc desc = {
        .len = count * (uint32_t)sizeof(desc), .id = (uint16_t)id, .flags = VIRTQ_DESC_F_INDIRECT};
    head->len_id_flags = desc.len_id_flags;
    head->shape = shape;
    return packed_indirect_add(queue, shape, writable_bytes, token);
}

int packed_indirect_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token)
{
    struct packed_ring *ring = ring_of(queue);
    struct packed_id *head = &ring->ids[queue->free_id];
    struct pvirtq_desc *desc = ring->avail_at;
    debug_assert(queue->free_count > 0); /* as virtqueue_buffers asks for too */
    /* Most chains have the shape of the one before. A device that scribbles there confuses only itself. */
    if (unlikely(head->shape != shape))
        return shape_and_add(queue, shape, writable_bytes, token);
    if (unlikely(desc == ring->avail_stop))
        desc = turn(ring);
    desc->addr = head->table;
    desc->len_id_flags = head->len_id_flags | ring->avail_flags;
    ring->avail_at++;
    return take_id(ring, head, 1, writable_bytes, token);
}

int packed_direct_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token)
{
    struct packed_ring *ring = ring_of(queue);
    uint32_t id = queue->free_id, readable = shape & 0xffff, count = readable + (shape >> 16);
    debug_assert(count > 0 && count <= queue->config.chain_max);
    if (unlikely(queue->free_count < count))
        return -EBUSY;
    for (uint32_t i = 0; i < count; i++) {
        const struct virtqueue_buffer *buffer = &queue->buffers[i];
        uint32_t flags = (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0) | (i < readable ? 0 : VIRTQ_DESC_F_WRITE);
        if (ring->avail_at == ring->avail_stop)
            turn(ring);
        ring->avail_at->addr = buffer->address;
        /* Of a chain's ids, the last counts (2.8.6). */
        ring->avail_at->len_id_flags = buffer->bytes | (uint64_t)id << 32 | FLAGS(flags) | ring->avail_flags;
        ring->avail_at++;
    }
    ring->ids[id].length = (uint16_t)count;
    return take_id(ring, &ring->ids[id], count, writable_bytes, token);
}

/* Makes the batch, which ends before `next`, available, and begins the next one there. */
static always_inline void publish(struct packed_ring *ring, struct pvirtq_desc *batch,
                                  struct pvirtq_desc *next)
{
    batch->addr = ring->first.addr;
    /* All of the batch before the first one's flags, which bring its id and length along in one aligned
     * store; pairs with the device's barrier between these flags and what it reads then (2.8.21.1). */
    barrier_store();
    write_once(batch->len_id_flags, ring->first.len_id_flags);
    ring->batch = next == ring->end ? wrap_avail(ring) : next;
    ring->batch_event = ring->avail_event;
    ring->avail_at = &ring->first;
    ring->avail_stop = &ring->first + 1;
}

/* Does the device ask for the doorbell, now that the descriptors from `first` to before `next` are there? */
static bool is_wanted(const struct packed_ring *ring, uint32_t event, uint32_t first,
                      const struct pvirtq_desc *next)
{
    uint32_t size = ring->queue.size, offset = first & VIRTQUEUE_OFFSET;
    uint32_t end = (uint32_t)(next - ring->desc), count = end > offset ? end - offset : end + size - offset;
    switch (event >> 16 & RING_EVENT_FLAGS_MASK) {
    case RING_EVENT_FLAGS_DISABLE:
        return false;
    case RING_EVENT_FLAGS_DESC:
        return virtqueue_packed_need_event(event, first, count, size);
    default:
        return true;
    }
}

static noinline bool kick_traced(const struct packed_ring *ring, uint32_t first, bool must_notify)
{
    trace(TRACE_RING_KICK, (uintptr_t)ring, first & (VIRTQUEUE_WRAP | VIRTQUEUE_OFFSET));
    return must_notify;
}

bool packed_kick_prepare(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    struct pvirtq_desc *batch = ring->batch, *next = ring->avail_at;
    if (next == &ring->first)
        return false;
    if (next == &ring->first + 1)
        next = batch + 1;
    uint32_t first = (uint32_t)(batch - ring->desc) + ring->batch_event;
    publish(ring, batch, next);
    /* The flags before the look at what the device asks for; pairs with the device's barrier between asking
     * for a doorbell and its own last look at the flags (2.8.21.3.1). Without it, x86 may look first. */
    barrier_full();
    uint32_t event = read_once(ring->device_event->desc_flags);
    bool must_notify = true; /* to a device that sleeps and waits for just this batch, as most do */
    if (unlikely(event != first))
        must_notify = is_wanted(ring, event, first, next);
    queue->kicks += must_notify;
    return virtqueue_is_traced() ? kick_traced(ring, first, must_notify) : must_notify;
}

uint16_t packed_position(const struct virtqueue *queue)
{
    const struct packed_ring *ring = const_ring_of(queue);
    return (uint16_t)((uint32_t)(ring->batch - ring->desc) + ring->batch_event);
}

/* ---- Completions ------------------------------------------------------------------------------------ */

static always_inline void *free_chain(struct virtqueue *queue, struct packed_id *head, uint32_t id,
                                      uint32_t length)
{
    head->told_end = 0;
    head->next = queue->free_id;
    queue->free_id = (uint16_t)id;
    queue->free_count += (uint16_t)length;
    return head->token;
}

static always_inline void *take(struct packed_ring *ring, struct pvirtq_desc *used_at, uint32_t id,
                                uint32_t length)
{
    packed_move_used(ring, used_at, length);
    ring->queue.gotten++;
    return free_chain(&ring->queue, &ring->ids[id], id, length);
}

static noinline struct virtqueue_used get_traced(struct packed_ring *ring, void *token, uint64_t told)
{
    trace(TRACE_RING_GET, (uintptr_t)ring, told & TOLD_ID);
    return (struct virtqueue_used){.token = token, .id_and_bytes = told};
}

static cold noinline bool refuse(struct packed_ring *ring, const char *why, uint64_t value)
{
    ring->id_end = 0;
    virtqueue_break(&ring->queue, why, (uint32_t)value);
    return false;
}

noinline struct virtqueue_used packed_get_nothing(struct packed_ring *ring, uint64_t told)
{
    if ((uint32_t)told <= TOLD_ID && !ring->queue.is_broken)
        (void)refuse(ring, "used id past the queue's size", told & TOLD_ID);
    return (struct virtqueue_used){.token = NULL};
}

/* The length counts only beside VIRTQ_DESC_F_WRITE (2.8.4); QEMU tells a true one without, so there one that
 * fits is believed, and any other is none. */
bool packed_is_without_length(struct packed_ring *ring, uint64_t told)
{
    uint32_t id = told & TOLD_ID;
    if (ring->ids[id].told_end == 0)
        return refuse(ring, "used id not in flight", id);
    /* A second read; whatever it brings, either answer is sound. */
    if (read_once(ring->used_at->flags) & VIRTQ_DESC_F_WRITE)
        return refuse(ring, "used length past the buffers", told >> 32);
    return true;
}

/* What is told at used_at fits no chain in flight; but without a length it may. */
static noinline struct virtqueue_used get_odd(struct packed_ring *ring, uint64_t told)
{
    uint32_t id = told & TOLD_ID;
    if (!packed_is_without_length(ring, told))
        return (struct virtqueue_used){.token = NULL};
    void *token = take(ring, ring->used_at, id, ring->ids[id].length);
    return (struct virtqueue_used){.token = token, .id = id};
}

/* The two differ in one word; as one function, given it, the compiler makes worse code of both. */
static struct virtqueue_used direct_get(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    struct pvirtq_desc *used_at = ring->used_at;
    uint64_t told = packed_look(ring, used_at);
    if (unlikely((uint32_t)told >= ring->id_end))
        return packed_get_nothing(ring, told);
    uint32_t id = told & TOLD_ID;
    if (unlikely(told >= ring->ids[id].told_end))
        return get_odd(ring, told);
    void *token = take(ring, used_at, id, ring->ids[id].length);
    if (virtqueue_is_traced())
        return get_traced(ring, token, told);
    return (struct virtqueue_used){.token = token, .id_and_bytes = told};
}

static struct virtqueue_used indirect_get(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    struct pvirtq_desc *used_at = ring->used_at;
    uint64_t told = packed_look(ring, used_at);
    if (unlikely((uint32_t)told >= ring->id_end))
        return packed_get_nothing(ring, told);
    uint32_t id = told & TOLD_ID;
    if (unlikely(told >= ring->ids[id].told_end))
        return get_odd(ring, told);
    void *token = take(ring, used_at, id, 1);
    if (virtqueue_is_traced())
        return get_traced(ring, token, told);
    return (struct virtqueue_used){.token = token, .id_and_bytes = told};
}

bool packed_has_more(const struct virtqueue *queue)
{
    const struct packed_ring *ring = const_ring_of(queue);
    uint32_t flags = read_once(read_once(ring->used_at)->flags) ^ (uint32_t)(ring->used_flags >> 16);
    return !(flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) && !queue->is_broken;
}

void packed_callbacks_disable(struct virtqueue *queue)
{
    write_once(ring_of(queue)->driver_event->desc_flags, EVENT(RING_EVENT_FLAGS_DISABLE));
}

bool packed_callbacks_enable(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    write_once(ring->driver_event->desc_flags, next_event(ring));
    /* The question before the last look (R5); pairs with the device's barrier between its used descriptor and
     * its look at the question (2.8.10). */
    barrier_full();
    return packed_has_more(queue);
}

/* ---- After a reset, and for people ------------------------------------------------------------------ */

static void *packed_detach(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    for (uint32_t id = 0; !virtqueue_is_idle(queue) && id < queue->size; id++) {
        if (ring->ids[id].told_end != 0)
            return free_chain(queue, &ring->ids[id], id, ring->ids[id].length);
    }
    assert(virtqueue_is_idle(queue)); /* R2 */
    return NULL;
}

static bool packed_is_consistent(const struct virtqueue *queue)
{
    const struct packed_ring *ring = const_ring_of(queue);
    uint32_t free = 0, chains = 0, taken = 0, id = queue->free_id;
    for (; id < queue->size && ring->ids[id].told_end == 0 && free <= queue->size; id = ring->ids[id].next)
        free++;
    if (id != VIRTQUEUE_NO_ID)
        return false;
    for (id = 0; id < queue->size; id++) {
        if (ring->ids[id].told_end != 0) {
            chains++;
            taken += ring->ids[id].length;
        }
    }
    return free + chains == queue->size && queue->free_count + taken == queue->size;
}

const struct virtqueue_ops packed_direct_ops = {
    .name = "packed",
    .add = packed_direct_add,
    .kick_prepare = packed_kick_prepare,
    .position = packed_position,
    .get = direct_get,
    .has_more = packed_has_more,
    .callbacks_disable = packed_callbacks_disable,
    .callbacks_enable = packed_callbacks_enable,
    .detach = packed_detach,
    .restart = packed_restart,
    .is_consistent = packed_is_consistent,
    .dump = packed_dump,
    .destroy = packed_destroy,
};
const struct virtqueue_ops packed_indirect_ops = {
    .name = "packed, indirect",
    .add = packed_indirect_add,
    .kick_prepare = packed_kick_prepare,
    .position = packed_position,
    .get = indirect_get,
    .has_more = packed_has_more,
    .callbacks_disable = packed_callbacks_disable,
    .callbacks_enable = packed_callbacks_enable,
    .detach = packed_detach,
    .restart = packed_restart,
    .is_consistent = packed_is_consistent,
    .dump = packed_dump,
    .destroy = packed_destroy,
};
