/* SPDX-License-Identifier: MIT */
/* The split ring (virtio 1.2, 2.7): descriptor table, available ring, used ring.
 *
 * The device may write any of this memory at any time, so nothing that decides is read back from it, except
 * what is the device's to tell: used.idx, the used elements, used.flags and avail_event. The free list,
 * chain lengths, tokens and indices live in private memory (`ids`).
 *
 * Two kinds of queue, two ops tables; and two more in vring_split_in_order.c:
 *   direct    a chain of n buffers takes n descriptors, linked by the private free list
 *   indirect  a chain takes one descriptor, which for ever points at the table that belongs to it; drivers
 *             build their buffers in that table, and a descriptor's address is never written again (2.7.5.3)
 *
 * Invariants: R2 free_count + lengths of the chains in flight == size; R4 an element is believed only if its
 * id is a chain's in flight and its length fits that chain; R5 callbacks_enable looks once more.
 * Everything with queue.lock held, but for has_more, dump and is_consistent. Any context. */
#include <arch/io.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/string.h>

#include "vring_split_internal.h"

/* flags and next of an indirect table's entry as one word. */
#define TABLE_ENTRY(flags, next) ((uint32_t)(flags) | (uint32_t)(next) << 16)

/* ---- Adding ----------------------------------------------------------------------------------------- */

/* The rare ways out of the hot functions below are calls in tail position, so that these need save no
 * registers. */
static noinline int add_traced(struct split_ring *ring, uint32_t id)
{
    trace(TRACE_RING_ADD, (uintptr_t)ring, id);
    return 0;
}

/* Puts the chain `id` into the available ring; the index follows in kick_prepare. Returns 0. */
static always_inline int make_available(struct split_ring *ring, uint32_t id, uint32_t writable_bytes,
                                        void *token)
{
    struct virtqueue_id *head = &ring->ids[id];
    uint32_t index = ring->avail_next;
    debug_assert(token != NULL && head->token == NULL);
    head->token = token;
    head->writable_bytes = writable_bytes;
    ring->avail_next = index + 1;
    ring->avail->ring[index & ring->mask] = (uint16_t)id;
    return virtqueue_is_traced() ? add_traced(ring, id) : 0;
}

/* Links the next chain's table for so many buffers of each direction, tells its descriptor the length, and
 * adds the chain. */
static noinline int shape_and_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes,
                                  void *token)
{
    struct split_ring *ring = ring_of(queue);
    struct virtqueue_buffer *table = virtqueue_buffers(queue);
    uint32_t id = queue->free_id, readable = shape & 0xffff, count = readable + (shape >> 16);
    assert(count > 0 && count <= queue->config.chain_max);
    for (uint32_t i = 0; i < count; i++) {
        bool is_last = i + 1 == count;
        table[i].ring = TABLE_ENTRY(
            (is_last ? 0 : VIRTQ_DESC_F_NEXT) | (i < readable ? 0 : VIRTQ_DESC_F_WRITE), is_last ? 0 : i + 1);
    }
    /* Its address and flag were set when the queue was made. */
    ring->desc[id].len = count * (uint32_t)sizeof(struct virtq_desc);
    ring->ids[id].shape = shape;
    return split_indirect_add(queue, shape, writable_bytes, token);
}

int split_indirect_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token)
{
    struct split_ring *ring = ring_of(queue);
    uint32_t id = queue->free_id;
    const struct virtqueue_id *head = &ring->ids[id];
    debug_assert(id < queue->size); /* one descriptor is free, as virtqueue_buffers asks for too */
    /* Most chains have the shape of the one before. A device that scribbles there confuses only itself. */
    if (unlikely(head->shape != shape))
        return shape_and_add(queue, shape, writable_bytes, token);
    queue->free_id = head->next;
    queue->free_count--;
    return make_available(ring, id, writable_bytes, token);
}

int split_direct_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token)
{
    struct split_ring *ring = ring_of(queue);
    uint32_t head = queue->free_id, readable = shape & 0xffff, count = readable + (shape >> 16);
    uint16_t next = (uint16_t)head;
    debug_assert(count > 0 && count <= queue->config.chain_max);
    if (unlikely(queue->free_count < count))
        return -EBUSY;
    for (uint32_t i = 0; i < count; i++) {
        const struct virtqueue_buffer *buffer = &queue->buffers[i];
        bool is_last = i + 1 == count;
        uint16_t id = next;
        next = ring->ids[id].next;
        ring->desc[id] = (struct virtq_desc){
            .addr = buffer->address,
            .len = buffer->bytes,
            .flags = (uint16_t)((is_last ? 0 : VIRTQ_DESC_F_NEXT) | (i >= readable ? VIRTQ_DESC_F_WRITE : 0)),
            .next = is_last ? 0 : next,
        };
    }
    queue->free_id = next;
    queue->free_count -= (uint16_t)count;
    ring->ids[head].length = (uint16_t)count;
    return make_available(ring, head, writable_bytes, token);
}

bool split_kick_prepare(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    uint16_t old = (uint16_t)ring->avail_published, new = (uint16_t)ring->avail_next;
    bool must_notify;
    if (old == new)
        return false;
    /* Descriptors and entries before the index; pairs with the device's read of the index before them. */
    barrier_store();
    write_once(ring->avail->idx, new);
    ring->avail_published = ring->avail_next;
    queue->added += (uint16_t)(new - old);
    /* The index before the look at what the device asks for; pairs with the device's barrier between asking
     * for a doorbell and its own last look at the index (2.7.13.4.1). Without it, x86 may look first. */
    barrier_full();
    if (ring->has_event_idx)
        must_notify = virtqueue_need_event(read_once(*ring->avail_event), new, old);
    else
        must_notify = !(read_once(ring->used->flags) & VIRTQ_USED_F_NO_NOTIFY);
    queue->kicks += must_notify;
    trace(TRACE_RING_KICK, (uintptr_t)ring, new);
    return must_notify;
}

uint16_t split_position(const struct virtqueue *queue)
{
    return (uint16_t)const_ring_of(queue)->avail_published;
}

/* ---- Completions ------------------------------------------------------------------------------------ */

bool split_look(struct split_ring *ring)
{
    uint16_t fresh = (uint16_t)(read_once(ring->used->idx) - ring->used_next);
    if (fresh == 0 || unlikely(ring->queue.is_broken))
        return false;
    /* The index before the elements and what the chains were filled with; pairs with the device's barrier
     * between them and the index. */
    barrier_load();
    if (unlikely(fresh > ring->avail_published - ring->used_next)) {
        virtqueue_break(&ring->queue, "used index jumps", fresh);
        return false;
    }
    ring->queue.gotten += fresh;
    ring->used_seen = ring->used_next + fresh;
    return true;
}

static always_inline void free_chain(struct split_ring *ring, uint32_t id, bool is_direct)
{
    struct virtqueue_id *head = &ring->ids[id], *last = head;
    struct virtqueue *queue = &ring->queue;
    head->token = NULL;
    if (is_direct) {
        for (uint32_t left = head->length; left > 1; left--)
            last = &ring->ids[last->next];
        queue->free_count += head->length;
        head->length = 0;
    } else {
        queue->free_count++;
    }
    last->next = queue->free_id;
    queue->free_id = (uint16_t)id;
}

cold noinline struct virtqueue_used split_refuse(struct split_ring *ring, uint64_t id_and_bytes)
{
    uint32_t id = (uint32_t)id_and_bytes;
    ring->queue.gotten -= ring->used_seen - ring->used_next;
    ring->used_seen = ring->used_next;
    if (id >= ring->queue.size)
        virtqueue_break(&ring->queue, "used id past the queue's size", id);
    else if (!ring->ids[id].token)
        virtqueue_break(&ring->queue, "used id not in flight", id);
    else if (id_and_bytes >> 32 > ring->ids[id].writable_bytes)
        virtqueue_break(&ring->queue, "used length past the buffers", (uint32_t)(id_and_bytes >> 32));
    else
        virtqueue_break(&ring->queue, "used id out of order", id);
    return (struct virtqueue_used){.token = NULL};
}

static noinline struct virtqueue_used get_traced(struct split_ring *ring, struct virtqueue_used used)
{
    trace(TRACE_RING_GET, (uintptr_t)ring, used.id);
    return used;
}

/* Takes the element at used_next, which has been seen. */
static always_inline struct virtqueue_used take(struct split_ring *ring, bool is_direct)
{
    uint32_t index = ring->used_next;
    /* Read once: what is checked is what is used. */
    const volatile virtq_used_word *element =
        (const volatile virtq_used_word *)&ring->used->ring[index & ring->mask];
    struct virtqueue_used used = {.id_and_bytes = *element};
    if (unlikely(used.id >= ring->queue.size))
        return split_refuse(ring, used.id_and_bytes);
    const struct virtqueue_id *head = &ring->ids[used.id];
    used.token = head->token;
    if (unlikely(!used.token || used.bytes > head->writable_bytes))
        return split_refuse(ring, used.id_and_bytes);
    ring->used_next = index + 1;
    free_chain(ring, used.id, is_direct);
    return virtqueue_is_traced() ? get_traced(ring, used) : used;
}

static noinline struct virtqueue_used direct_look_and_take(struct split_ring *ring)
{
    return split_look(ring) ? take(ring, true) : (struct virtqueue_used){.token = NULL};
}

static struct virtqueue_used direct_get(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    return likely(ring->used_next != ring->used_seen) ? take(ring, true) : direct_look_and_take(ring);
}

static noinline struct virtqueue_used indirect_look_and_take(struct split_ring *ring)
{
    return split_look(ring) ? take(ring, false) : (struct virtqueue_used){.token = NULL};
}

static struct virtqueue_used indirect_get(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    return likely(ring->used_next != ring->used_seen) ? take(ring, false) : indirect_look_and_take(ring);
}

bool split_has_more(const struct virtqueue *queue)
{
    const struct split_ring *ring = const_ring_of(queue);
    return read_once(ring->used->idx) != (uint16_t)ring->used_next && !queue->is_broken;
}

void split_callbacks_disable(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    /* With EVENT_IDX the device has told once what it was asked to, and the next question is put by enable.
     * A queue that is polled for ever gets one interrupt in 65,536 completions. */
    if (!ring->has_event_idx)
        write_once(ring->avail->flags, VIRTQ_AVAIL_F_NO_INTERRUPT);
}

bool split_callbacks_enable(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    if (ring->has_event_idx)
        write_once(*ring->used_event, (uint16_t)ring->used_next);
    else
        write_once(ring->avail->flags, 0);
    /* The question before the last look (R5); pairs with the device's barrier between its used index and
     * its look at the question (2.7.7.2). */
    barrier_full();
    return split_has_more(queue);
}

/* ---- After a reset, and for people ------------------------------------------------------------------ */

static void *split_detach(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    for (uint32_t id = 0; !virtqueue_is_idle(queue) && id < queue->size; id++) {
        void *token = ring->ids[id].token;
        if (token) {
            free_chain(ring, id, !queue->buffer_stride);
            return token;
        }
    }
    assert(virtqueue_is_idle(queue)); /* R2 */
    return NULL;
}

void split_restart(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    ring->mask = queue->size - 1u;
    ring->used_event = &ring->avail->ring[queue->size];
    ring->avail_event = (uint16_t *)&ring->used->ring[queue->size];
    memset(ring->avail, 0, sizeof(*ring->avail) + (queue->size + 1u) * sizeof(uint16_t));
    memset(ring->used, 0,
           sizeof(*ring->used) + queue->size * sizeof(struct virtq_used_elem) + sizeof(uint16_t));
    ring->avail_next = ring->avail_published = 0;
    ring->used_next = ring->used_seen = 0;
    queue->is_broken = false;
    queue->broken_why = NULL;
    for (uint32_t id = 0; id < queue->size; id++) {
        ring->ids[id].shape = 0;
        ring->ids[id].length = queue->buffer_stride != 0;
        ring->ids[id].next = virtqueue_id_behind(queue, id);
        if (queue->buffer_stride)
            ring->desc[id] =
                (struct virtq_desc){.addr = dma_address(queue->buffers + id * queue->buffer_stride),
                                    .flags = VIRTQ_DESC_F_INDIRECT};
    }
    queue->free_id = 0;
    ring->order = (struct virtqueue_order){.oldest = 0};
}

static bool split_is_consistent(const struct virtqueue *queue)
{
    const struct split_ring *ring = const_ring_of(queue);
    uint32_t free = 0, taken = 0, id = queue->free_id;
    for (; id < queue->size && !ring->ids[id].token && free <= queue->size; id = ring->ids[id].next)
        free++;
    if (id != VIRTQUEUE_NO_ID)
        return false;
    for (id = 0; id < queue->size; id++) {
        const struct virtqueue_id *head = &ring->ids[id];
        if (head->token)
            taken += head->length;
        else if (head->length != (queue->buffer_stride != 0))
            return false;
    }
    return free == queue->free_count && free + taken == queue->size;
}

void split_dump(const struct virtqueue *queue)
{
    const struct split_ring *ring = const_ring_of(queue);
    const char *who = queue->config.name;
    log_info(who, "%s, %u entries, %u free%s%s%s", queue->ops->name, queue->size, queue->free_count,
             ring->has_event_idx ? ", event index" : "", queue->is_broken ? ", broken: " : "",
             queue->is_broken ? queue->broken_why : "");
    log_info(who,
             "available: next %u, published %u, doorbell at %u; used: next %u, device's %u, interrupt at %u",
             (uint16_t)ring->avail_next, (uint16_t)ring->avail_published, *ring->avail_event,
             (uint16_t)ring->used_next, ring->used->idx, *ring->used_event);
    log_info(who, "%llu sent, %llu completed, %llu doorbells", (unsigned long long)queue->added,
             (unsigned long long)queue->gotten, (unsigned long long)queue->kicks);
    for (uint32_t id = 0; id < queue->size; id++) {
        const struct virtqueue_id *head = &ring->ids[id];
        if (head->token)
            log_debug(who, "id %u: token %p, %u writable bytes", id, head->token, head->writable_bytes);
    }
}

/* ---- Creation --------------------------------------------------------------------------------------- */

void split_destroy(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    heap_free(queue->buffers);
    heap_free(ring->desc); /* with both rings */
    heap_free(ring->ids);
    heap_free(ring);
}

static const struct virtqueue_ops direct_ops = {
    .name = "split",
    .add = split_direct_add,
    .kick_prepare = split_kick_prepare,
    .position = split_position,
    .get = direct_get,
    .has_more = split_has_more,
    .callbacks_disable = split_callbacks_disable,
    .callbacks_enable = split_callbacks_enable,
    .detach = split_detach,
    .restart = split_restart,
    .is_consistent = split_is_consistent,
    .dump = split_dump,
    .destroy = split_destroy,
};
static const struct virtqueue_ops indirect_ops = {
    .name = "split, indirect",
    .add = split_indirect_add,
    .kick_prepare = split_kick_prepare,
    .position = split_position,
    .get = indirect_get,
    .has_more = split_has_more,
    .callbacks_disable = split_callbacks_disable,
    .callbacks_enable = split_callbacks_enable,
    .detach = split_detach,
    .restart = split_restart,
    .is_consistent = split_is_consistent,
    .dump = split_dump,
    .destroy = split_destroy,
};

/* In one block, as legacy devices want it and modern ones do not mind. */
static bool allocate_parts(struct split_ring *ring, uint32_t tables)
{
    struct virtqueue *queue = &ring->queue;
    uint8_t *block = heap_alloc_zeroed(virtq_legacy_bytes(queue->size));
    assert(is_aligned((uintptr_t)block, VIRTQ_LEGACY_ALIGN));
    ring->desc = (struct virtq_desc *)block;
    ring->ids = heap_alloc_zeroed(queue->size * sizeof(*ring->ids));
    queue->buffers = heap_alloc_zeroed((size_t)tables * queue->config.chain_max * sizeof(*queue->buffers));
    if (!block || !ring->ids || !queue->buffers)
        return false;
    ring->avail = (struct virtq_avail *)(block + virtq_legacy_avail_offset(queue->size));
    ring->used = (struct virtq_used *)(block + virtq_legacy_used_offset(queue->size));
    return true;
}

static const struct virtqueue_ops *const kinds[2][2] = {
    [false] = {[false] = &direct_ops, [true] = &indirect_ops},
    [true] = {[false] = &split_in_order_direct_ops, [true] = &split_in_order_indirect_ops},
};

int vring_split_create(const struct virtqueue_config *config, struct virtqueue **result)
{
    assert(is_power_of_two(config->size) && config->size >= VIRTQUEUE_SIZE_MIN &&
           config->size <= VIRTQUEUE_SIZE_MAX);
    assert(config->chain_max > 0 && config->chain_max <= config->size);
    struct split_ring *ring = heap_alloc_zeroed(sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    struct virtqueue *queue = &ring->queue;
    queue->ops = kinds[config->is_in_order][config->has_indirect];
    queue->config = *config;
    queue->size = config->size;
    queue->buffer_stride = config->has_indirect ? config->chain_max : 0;
    spinlock_init(&queue->lock, "virtqueue");
    if (!allocate_parts(ring, config->has_indirect ? config->size : 1)) {
        split_destroy(queue);
        return -ENOMEM;
    }
    ring->has_event_idx = config->has_event_idx;
    queue->descriptor_area = dma_address(ring->desc);
    queue->driver_area = dma_address(ring->avail);
    queue->device_area = dma_address(ring->used);
    queue->free_count = queue->size;
    split_restart(queue);
    *result = queue;
    return 0;
}
