/* SPDX-License-Identifier: MIT */
/* The split ring with VIRTIO_F_IN_ORDER (virtio 1.2, 2.7.9): chains complete in the order in which they were
 * added. For a batch of them the device may write one used element: in the place of the first, with the id
 * and the length of the last; its index goes on by the size of the batch.
 *
 * The driver must use descriptors in ring order (2.7.5). So ids are not listed free but go round in a circle,
 * and the way back is another; the way down, publishing and notifications are vring_split.c's.
 *
 * R4: a batch must end at a chain in flight, and by the index told before. So a device that keeps no order is
 * found out before a chain that it still works on is taken for done.
 *
 * Everything with queue.lock held, but for is_consistent. Any context. */
#include "vring_split_internal.h"

/* How many chains there are from the oldest to `id`, which is in flight. */
static uint32_t count_chains(const struct split_ring *ring, uint32_t id)
{
    uint32_t count = 1;
    for (uint32_t at = ring->order.oldest; at != id; at = (at + ring->ids[at].length) & ring->mask) {
        debug_assert(ring->ids[at].token != NULL);
        count++;
    }
    return count;
}

/* Takes the batch that the element at used_next tells of, if there is one. */
static bool find_batch(struct split_ring *ring)
{
    if (ring->used_next == ring->used_seen && !split_look(ring))
        return false;
    /* Read once: what is checked is what is used. */
    const volatile virtq_used_word *element =
        (const volatile virtq_used_word *)&ring->used->ring[ring->used_next & ring->mask];
    struct virtqueue_used used = {.id_and_bytes = *element};
    if (used.id >= ring->queue.size || !ring->ids[used.id].token ||
        used.bytes > ring->ids[used.id].writable_bytes)
        return split_refuse(ring, used.id_and_bytes).token;
    uint32_t count = count_chains(ring, used.id);
    if (count > ring->used_seen - ring->used_next)
        return split_refuse(ring, used.id_and_bytes).token;
    ring->order.left = count;
    ring->order.bytes = used.bytes;
    return true;
}

static void *free_oldest(struct split_ring *ring)
{
    struct virtqueue_id *head = &ring->ids[ring->order.oldest];
    void *token = head->token;
    debug_assert(token != NULL);
    head->token = NULL;
    ring->order.oldest = (ring->order.oldest + head->length) & ring->mask;
    ring->queue.free_count += head->length;
    head->length = ring->queue.buffer_stride != 0;
    return token;
}

static struct virtqueue_used in_order_get(struct virtqueue *queue)
{
    struct split_ring *ring = ring_of(queue);
    if (ring->order.left == 0 && !find_batch(ring))
        return (struct virtqueue_used){.token = NULL};
    struct virtqueue_used used = {.id = ring->order.oldest,
                                  .bytes = ring->ids[ring->order.oldest].writable_bytes};
    if (--ring->order.left == 0)
        used.bytes = ring->order.bytes;
    ring->used_next++;
    used.token = free_oldest(ring);
    trace(TRACE_RING_GET, (uintptr_t)ring, used.id);
    return used;
}

static void *in_order_detach(struct virtqueue *queue)
{
    ring_of(queue)->order.left = 0;
    return virtqueue_is_idle(queue) ? NULL : free_oldest(ring_of(queue));
}

static bool in_order_is_consistent(const struct virtqueue *queue)
{
    const struct split_ring *ring = const_ring_of(queue);
    uint32_t id = ring->order.oldest, chains = 0, taken = 0;
    for (uint32_t any = 0; any < queue->size; any++)
        chains += ring->ids[any].token != NULL;
    for (uint32_t left = chains; left > 0 && ring->ids[id].token; left--) {
        taken += ring->ids[id].length;
        id = (id + ring->ids[id].length) & ring->mask;
    }
    return id == queue->free_id && ring->order.left <= chains && queue->free_count + taken == queue->size;
}

const struct virtqueue_ops split_in_order_direct_ops = {
    .name = "split, in order",
    .add = split_direct_add,
    .kick_prepare = split_kick_prepare,
    .position = split_position,
    .get = in_order_get,
    .has_more = split_has_more,
    .callbacks_disable = split_callbacks_disable,
    .callbacks_enable = split_callbacks_enable,
    .detach = in_order_detach,
    .restart = split_restart,
    .is_consistent = in_order_is_consistent,
    .dump = split_dump,
    .destroy = split_destroy,
};
const struct virtqueue_ops split_in_order_indirect_ops = {
    .name = "split, indirect, in order",
    .add = split_indirect_add,
    .kick_prepare = split_kick_prepare,
    .position = split_position,
    .get = in_order_get,
    .has_more = split_has_more,
    .callbacks_disable = split_callbacks_disable,
    .callbacks_enable = split_callbacks_enable,
    .detach = in_order_detach,
    .restart = split_restart,
    .is_consistent = in_order_is_consistent,
    .dump = split_dump,
    .destroy = split_destroy,
};
