/* SPDX-License-Identifier: MIT */
/* The size of the disk's rings, changed while it has nothing to do: so that sizes can be compared in one
 * boot. All queues have the same. Memory stays what it was at the start, of which a smaller ring uses less.
 *
 * By RING_RESET where it was negotiated. It serves for nothing more: to mend a queue that was lied to, it
 * would have to end what is in flight there, and QEMU's disk does not (R6). Thread context; disk->mutex. */
#include <kernel/base/bits.h>
#include <kernel/log.h>

#include "virtio_blk_internal.h"

void virtio_blk_ring_entries(struct block_device *block, struct block_ring_entries *entries)
{
    const struct virtio_blk *disk = block_device_driver(block);
    const struct virtqueue *ring = disk->queues[0].ring;
    *entries = (struct block_ring_entries){ring->size, ring->config.chain_max, ring->config.size};
}

/* With chains of at least two or three descriptors each; or as a ring of the size asked for could, where that
 * cannot be had. */
uint32_t virtio_blk_depth(const struct virtio_blk *disk, uint32_t queue_size)
{
    bool needs_bounce = queue_size == 2;
    uint32_t entries = MIN(queue_size, virtio_settings.queue_size), shortest = needs_bounce ? 2 : 3;
    bool has_indirect = virtio_has_feature(disk->device, VIRTIO_F_INDIRECT_DESC);
    return disk->queue_count * (has_indirect ? entries : MAX(entries / shortest, 1u));
}

static int check_size(const struct virtio_blk *disk, uint32_t entries)
{
    const struct virtqueue *ring = disk->queues[0].ring;
    if (disk->queues[0].state == VIRTIO_BLK_GONE)
        return -ENODEV;
    if (disk->device->transport->is_queue_size_fixed)
        return -EOPNOTSUPP;
    bool is_good = entries >= ring->config.chain_max && entries <= ring->config.size &&
                   virtio_is_ring_size(disk->device, entries);
    return is_good ? 0 : -EINVAL;
}

/* Paused. */
static int resize(struct virtio_blk *disk, uint32_t entries)
{
    const char *name = block_device_name(disk->block);
    int error = block_device_set_depth(disk->block, virtio_blk_depth(disk, entries));
    if (error)
        return error;
    error = virtio_device_resize_queues(disk->device, entries);
    if (error) {
        log_error(name, "given up: its rings cannot be resized");
        virtio_blk_set_state(disk, VIRTIO_BLK_GONE);
        return error;
    }
    virtio_blk_ready(disk);
    log_info(name, "rings of %u entries", entries);
    return 0;
}

int virtio_blk_set_ring_entries(struct block_device *block, uint32_t entries)
{
    struct virtio_blk *disk = block_device_driver(block);
    MUTEX_SCOPED(&disk->mutex);
    int error = check_size(disk, entries);
    if (error == 0)
        error = virtio_blk_pause(disk);
    if (error)
        return error;
    error = resize(disk, entries);
    if (disk->queues[0].state != VIRTIO_BLK_GONE)
        virtio_blk_unpause(disk);
    return error;
}
