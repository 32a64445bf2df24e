/* SPDX-License-Identifier: MIT */
/* The packed ring, before and after the path of a chain: creation, restart, its state for people, and the
 * end. vring_packed.c tells what the state means. Locks and contexts: virtqueue.h. */
#include <kernel/base/error.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/string.h>

#include "vring_packed_internal.h"

void packed_restart(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    memset(ring->desc, 0, queue->size * sizeof(*ring->desc));
    /* Both wrap counters are 1 (2.8.1). */
    ring->avail_flags = FLAGS(VIRTQ_DESC_F_AVAIL);
    ring->avail_event = EVENT(RING_EVENT_FLAGS_DESC) | VIRTQUEUE_WRAP;
    ring->used_flags = TOLD_FLAGS;
    ring->used_event =
        EVENT(ring->has_event_idx ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE) | VIRTQUEUE_WRAP;
    ring->end = ring->desc + queue->size;
    ring->used_at = ring->batch = ring->desc;
    ring->batch_event = ring->avail_event;
    ring->avail_at = &ring->first;
    ring->avail_stop = &ring->first + 1;
    ring->device_event->desc_flags = EVENT(RING_EVENT_FLAGS_ENABLE);
    ring->driver_event->desc_flags = next_event(ring);
    ring->id_end = queue->size;
    queue->is_broken = false;
    queue->broken_why = NULL;
    for (uint32_t id = 0; id < queue->size; id++) {
        ring->ids[id].shape = 0;
        ring->ids[id].length = queue->buffer_stride != 0;
        ring->ids[id].next = virtqueue_id_behind(queue, id);
    }
    queue->free_id = 0;
    ring->order = (struct virtqueue_order){.oldest = 0};
}

static void dump_event(const char *who, const char *what, uint32_t event)
{
    static const char *const asked[] = {[RING_EVENT_FLAGS_ENABLE] = "always",
                                        [RING_EVENT_FLAGS_DISABLE] = "never",
                                        [RING_EVENT_FLAGS_DESC] = "at",
                                        [RING_EVENT_FLAGS_MASK] = "?"};
    log_info(who, "%s %s %u, wrap counter %u", what, asked[event >> 16 & RING_EVENT_FLAGS_MASK],
             event & VIRTQUEUE_OFFSET, (event & VIRTQUEUE_WRAP) != 0);
}

void packed_dump(const struct virtqueue *queue)
{
    const struct packed_ring *ring = const_ring_of(queue);
    const char *who = queue->config.name;
    log_info(who, "%s, %u entries, %u free%s%s%s", queue->ops->name, queue->size, queue->free_count,
             ring->has_event_idx ? ", event index" : "", queue->is_broken ? ", broken: " : "",
             queue->is_broken ? queue->broken_why : "");
    dump_event(who, "next batch", ring->batch_event + (uint32_t)(ring->batch - ring->desc));
    dump_event(who, "doorbell", ring->device_event->desc_flags);
    dump_event(who, "next used", next_event(ring));
    dump_event(who, "interrupt", ring->driver_event->desc_flags);
    log_info(who, "%llu sent, %llu completed, %llu doorbells", (unsigned long long)queue->added,
             (unsigned long long)queue->gotten, (unsigned long long)queue->kicks);
    for (uint32_t id = 0; id < queue->size; id++) {
        const struct packed_id *head = &ring->ids[id];
        if (head->told_end != 0)
            log_debug(who, "id %u: token %p, %u writable bytes", id, head->token, head->end_bytes - 1);
    }
}

void packed_destroy(struct virtqueue *queue)
{
    struct packed_ring *ring = ring_of(queue);
    heap_free(queue->buffers);
    heap_free(ring->device_event);
    heap_free(ring->driver_event);
    heap_free(ring->desc);
    heap_free(ring->ids);
    heap_free(ring);
}

/* Each side writes one of the event structures: so they are a cache line apart. */
static bool allocate_parts(struct packed_ring *ring, uint32_t tables)
{
    struct virtqueue *queue = &ring->queue;
    ring->ids = heap_alloc_zeroed(queue->size * sizeof(*ring->ids));
    ring->desc = heap_alloc_zeroed(queue->size * sizeof(*ring->desc));
    ring->driver_event = heap_alloc_zeroed(CACHE_LINE_BYTES);
    ring->device_event = heap_alloc_zeroed(CACHE_LINE_BYTES);
    queue->buffers = heap_alloc_zeroed((size_t)tables * queue->config.chain_max * sizeof(*queue->buffers));
    return ring->ids && ring->desc && ring->driver_event && ring->device_event && queue->buffers;
}

static const struct virtqueue_ops *const kinds[2][2] = {
    [false] = {[false] = &packed_direct_ops, [true] = &packed_indirect_ops},
    [true] = {[false] = &packed_in_order_direct_ops, [true] = &packed_in_order_indirect_ops},
};

int vring_packed_create(const struct virtqueue_config *config, struct virtqueue **result)
{
    assert(config->size >= VIRTQUEUE_SIZE_MIN && config->size <= VIRTQUEUE_SIZE_MAX);
    assert(config->chain_max > 0 && config->chain_max <= config->size);
    struct packed_ring *ring = heap_alloc_zeroed(sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    struct virtqueue *queue = &ring->queue;
    queue->ops = kinds[config->is_in_order][config->has_indirect];
    queue->config = *config;
    queue->size = config->size;
    queue->buffer_stride = config->has_indirect ? config->chain_max : 0;
    spinlock_init(&queue->lock, "virtqueue");
    if (!allocate_parts(ring, config->has_indirect ? config->size : 1)) {
        packed_destroy(queue);
        return -ENOMEM;
    }
    for (uint32_t id = 0; config->has_indirect && id < queue->size; id++)
        ring->ids[id].table = dma_address(queue->buffers + id * queue->buffer_stride);
    ring->has_event_idx = config->has_event_idx;
    queue->descriptor_area = dma_address(ring->desc);
    queue->driver_area = dma_address(ring->driver_event);
    queue->device_area = dma_address(ring->device_event);
    queue->free_count = queue->size;
    packed_restart(queue);
    *result = queue;
    return 0;
}
