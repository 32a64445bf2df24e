/* SPDX-License-Identifier: MIT */
/* The disk's queues: how many, and their memory. Thread context, while probing. */
#include <kernel/heap.h>
#include <kernel/log.h>

#include "virtio_blk_internal.h"

uint32_t virtio_blk_count_queues(struct virtio_device *device, uint32_t device_queues, uint32_t queue_size)
{
    uint32_t most = MIN(MIN(device_queues, cpu_count()), MIN(virtio_settings.queues, VIRTQUEUES_MAX));
    uint32_t count = 1;
    while (count < most) {
        uint32_t size = virtio_queue_size(device, count);
        if (size != queue_size) { /* a request must fit into any */
            log_warning(device->name, "queue %u has %u entries, queue 0 %u: %u of %u queues are used", count,
                        size, queue_size, count, device_queues);
            break;
        }
        count++;
    }
    return count;
}

static int allocate_queue(struct virtio_blk_queue *queue, struct virtio_blk *disk, uint32_t queue_size)
{
    bool needs_bounce = queue_size == 2;
    queue->disk = disk;
    fifo_init(&queue->replays);
    queue->slots = heap_alloc_zeroed(queue_size * (sizeof(*queue->slots) + sizeof(struct virtio_blk_range)));
    if (needs_bounce)
        queue->bounce = heap_alloc_zeroed((size_t)queue_size * VIRTIO_BLK_BOUNCE_STRIDE);
    if (!queue->slots || (needs_bounce && !queue->bounce))
        return -ENOMEM;
    queue->slots_dma = dma_address(queue->slots);
    return 0;
}

static int allocate_queues(struct virtio_blk *disk, uint32_t queue_size)
{
    int error = 0;
    disk->queues = heap_alloc_zeroed(disk->queue_count * sizeof(*disk->queues));
    if (!disk->queues)
        return -ENOMEM;
    for (uint32_t i = 0; i < disk->queue_count && error == 0; i++)
        error = allocate_queue(&disk->queues[i], disk, queue_size);
    return error;
}

static int create_rings(struct virtio_blk *disk, uint32_t queue_size)
{
    struct virtqueue_config configs[VIRTQUEUES_MAX];
    for (uint32_t i = 0; i < disk->queue_count; i++)
        configs[i] = (struct virtqueue_config){
            .size = (uint16_t)queue_size,
            .chain_max = (uint16_t)(queue_size > 2 ? disk->limits.max_segments + 2 : 2),
            .interrupt = virtio_blk_interrupt,
            .broken = virtio_blk_broken,
            .context = &disk->queues[i],
        };
    int error = virtio_device_create_queues(disk->device, configs, disk->queue_count);
    for (uint32_t i = 0; i < disk->queue_count && error == 0; i++)
        disk->queues[i].ring = disk->device->queues[i];
    return error;
}

int virtio_blk_create_queues(struct virtio_blk *disk, uint32_t queue_size)
{
    int error = allocate_queues(disk, queue_size);
    if (error == 0)
        error = create_rings(disk, queue_size);
    for (uint32_t cpu = 0; cpu < CPU_MAX && error == 0; cpu++)
        disk->queue_of_cpu[cpu] = &disk->queues[cpu % disk->queue_count];
    return error;
}

void virtio_blk_free_queues(struct virtio_blk *disk)
{
    for (uint32_t i = 0; disk->queues && i < disk->queue_count; i++) {
        heap_free(disk->queues[i].slots);
        heap_free(disk->queues[i].bounce);
    }
    heap_free(disk->queues);
}
