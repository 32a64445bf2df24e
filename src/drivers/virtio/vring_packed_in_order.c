/* SPDX-License-Identifier: MIT */
/* The packed ring with VIRTIO_F_IN_ORDER (virtio 1.2, 2.8.8): chains complete in the order in which they were
 * added. For a batch of them the device may write one used descriptor: in the place of the first, with the id
 * and the length of the last.
 *
 * So ids are not listed free but go round in a circle, and the way back is another; the way down, publishing
 * and notifications are vring_packed.c's.
 *
 * Any id in flight is the last of some batch: a device that keeps no order is not found out here, but by what
 * the driver looks at in a request (a status byte that was preset).
 *
 * Everything with queue.lock held, but for has_more and is_consistent. Any context. */
#include "vring_packed_internal.h"

/* Does the descriptor at used_at tell of a batch? */
static bool find_batch(struct packed_ring *ring)
{
    uint64_t told = packed_look(ring, ring->used_at);
    uint32_t id = told & TOLD_ID, oldest = ring->order.oldest;
    if ((uint32_t)told >= ring->id_end)
        return packed_get_nothing(ring, told).token;
    ring->order.bytes = (uint32_t)(told >> 32);
    if (unlikely(told >= ring->ids[id].told_end)) {
        ring->order.bytes = 0;
        if (!packed_is_without_length(ring, told))
            return false;
    }
    write_once(ring->order.left, (id >= oldest ? 0 : ring->queue.size) + id - oldest + 1);
    return true;
}

static void *free_oldest(struct packed_ring *ring)
{
    struct packed_id *head = &ring->ids[ring->order.oldest];
    debug_assert(head->told_end != 0);
    head->told_end = 0;
    ring->order.oldest = head->next;
    ring->queue.free_count += head->length;
    return head->token;
}

static struct virtqueue_used in_order_get(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    if (ring->order.left == 0 && !find_batch(ring))
        return (struct virtqueue_used){.token = NULL};
    const struct packed_id *head = &ring->ids[ring->order.oldest];
    struct virtqueue_used used = {.id = ring->order.oldest, .bytes = head->end_bytes - 1};
    write_once(ring->order.left, ring->order.left - 1);
    if (ring->order.left == 0)
        used.bytes = ring->order.bytes;
    packed_move_used(ring, ring->used_at, head->length);
    queue->gotten++;
    used.token = free_oldest(ring);
    trace(TRACE_RING_GET, (uintptr_t)ring, used.id);
    return used;
}

/* Of a batch that is not all taken, nothing is left to be seen in the ring. */
static bool in_order_has_more(const struct virtqueue *queue)
{
    return read_once(const_ring_of(queue)->order.left) > 0 || packed_has_more(queue);
}

static bool in_order_callbacks_enable(struct virtqueue *queue)
{
    return packed_callbacks_enable(queue) || ring_of(queue)->order.left > 0;
}

static void *in_order_detach(struct virtqueue *queue)
{
    write_once(ring_of(queue)->order.left, 0);
    return virtqueue_is_idle(queue) ? NULL : free_oldest(ring_of(queue));
}

static bool in_order_is_consistent(const struct virtqueue *queue)
{
    const struct packed_ring *ring = const_ring_of(queue);
    uint32_t id = ring->order.oldest, chains = 0, taken = 0;
    for (uint32_t any = 0; any < queue->size; any++)
        chains += ring->ids[any].told_end != 0;
    for (uint32_t left = chains; left > 0 && ring->ids[id].told_end != 0; left--) {
        taken += ring->ids[id].length;
        id = ring->ids[id].next;
    }
    return id == queue->free_id && ring->order.left <= chains && queue->free_count + taken == queue->size;
}

const struct virtqueue_ops packed_in_order_direct_ops = {
    .name = "packed, in order",
    .add = packed_direct_add,
    .kick_prepare = packed_kick_prepare,
    .position = packed_position,
    .get = in_order_get,
    .has_more = in_order_has_more,
    .callbacks_disable = packed_callbacks_disable,
    .callbacks_enable = in_order_callbacks_enable,
    .detach = in_order_detach,
    .restart = packed_restart,
    .is_consistent = in_order_is_consistent,
    .dump = packed_dump,
    .destroy = packed_destroy,
};
const struct virtqueue_ops packed_in_order_indirect_ops = {
    .name = "packed, indirect, in order",
    .add = packed_indirect_add,
    .kick_prepare = packed_kick_prepare,
    .position = packed_position,
    .get = in_order_get,
    .has_more = in_order_has_more,
    .callbacks_disable = packed_callbacks_disable,
    .callbacks_enable = in_order_callbacks_enable,
    .detach = in_order_detach,
    .restart = packed_restart,
    .is_consistent = in_order_is_consistent,
    .dump = packed_dump,
    .destroy = packed_destroy,
};
