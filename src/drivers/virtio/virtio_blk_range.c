/* SPDX-License-Identifier: MIT */
/* Requests that name a range instead of carrying data (virtio 1.2, 5.2.6): discard, write zeroes, secure
 * erase.
 *
 *     header, sector 0 -> device   | range: sector, count, flags -> device   | status <- device
 *
 * The range lies behind the slots, by the id of the chain like these: shared with the device and there when
 * it is needed (R3). One range a request; the block layer has cut it to what the device takes.
 *
 * A range may take effect twice, when a reset replays it, and that destroys nothing: it is replayed only
 * while it is not done, and who writes the same sectors again waits for that (block.h). What is written while
 * it is in flight was in no order with it before the reset either.
 *
 * Ring locked; the limits: thread context, while probing. */
#include <kernel/log.h>

#include "virtio_blk_internal.h"

#define CONFIG(field) offsetof(struct virtio_blk_config, field)

/* ---- What the device takes ---------------------------------------------------------------------------- */

/* Where a kind of range has its limits in the configuration. */
struct range_config {
    unsigned feature;
    const char *name;
    uint32_t max_sectors, max_seg, alignment; /* offsets; alignment 0: it has none */
};

static const struct range_config discard = {VIRTIO_BLK_F_DISCARD, "DISCARD", CONFIG(max_discard_sectors),
                                            CONFIG(max_discard_seg), CONFIG(discard_sector_alignment)};
static const struct range_config write_zeroes = {VIRTIO_BLK_F_WRITE_ZEROES, "WRITE_ZEROES",
                                                 CONFIG(max_write_zeroes_sectors),
                                                 CONFIG(max_write_zeroes_seg), 0};
static const struct range_config secure_erase = {
    VIRTIO_BLK_F_SECURE_ERASE, "SECURE_ERASE", CONFIG(max_secure_erase_sectors), CONFIG(max_secure_erase_seg),
    CONFIG(secure_erase_sector_alignment)};

/* Constant while the device runs: no snapshot. An alignment of 0 says nothing: then any block is as good. */
static struct block_range_limit read_limit(struct virtio_device *device, const struct range_config *config,
                                           uint32_t block_sectors)
{
    struct block_range_limit limit = {0};
    if (!virtio_has_feature(device, config->feature))
        return limit;
    uint32_t sectors = virtio_config_read(device, config->max_sectors, 4);
    uint32_t segments = virtio_config_read(device, config->max_seg, 4);
    uint32_t alignment = config->alignment ? virtio_config_read(device, config->alignment, 4) : 0;
    if (segments > 0 && sectors >= block_sectors && alignment % block_sectors == 0) {
        limit.max_sectors = sectors - sectors % block_sectors;
        limit.alignment_sectors = MAX(alignment, block_sectors);
        return limit;
    }
    log_warning(device->name, "%s of %u sectors in %u ranges, aligned to %u, with blocks of %u: not used",
                config->name, sectors, segments, alignment, block_sectors);
    return limit;
}

void virtio_blk_range_limits(struct virtio_device *device, struct block_limits *limits)
{
    uint32_t block_sectors = limits->logical_block_bytes / BLOCK_SECTOR_BYTES;
    limits->discard = read_limit(device, &discard, block_sectors);
    limits->write_zeroes = read_limit(device, &write_zeroes, block_sectors);
    limits->secure_erase = read_limit(device, &secure_erase, block_sectors);
}

/* ---- Requests ----------------------------------------------------------------------------------------- */

/* 5.2.6.1: only zeroes have the flag, for any other it must be 0. */
void virtio_blk_fill_range(struct virtio_blk_range *range, const struct block_request *request)
{
    bool may_unmap = request->operation == BLOCK_WRITE_ZEROES && request->may_unmap;
    range->sector = block_request_device_sector(request);
    range->num_sectors = block_request_device_bytes(request) / BLOCK_SECTOR_BYTES;
    range->flags = may_unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
}

uint64_t virtio_blk_put_range(struct virtio_blk_queue *queue, uint32_t id,
                              const struct block_request *request)
{
    struct virtio_blk_range *ranges = (struct virtio_blk_range *)(queue->slots + queue->ring->size);
    assert(id < queue->ring->size);
    virtio_blk_fill_range(&ranges[id], request);
    return queue->slots_dma + ((uintptr_t)&ranges[id] - (uintptr_t)queue->slots);
}
