/* SPDX-License-Identifier: MIT */
/* The disk's write cache (virtio 1.2, 5.2.5 and 5.2.6.2).
 *
 *     FLUSH  CONFIG_WCE   the cache
 *     no     no           writes through, or nothing can be done about it
 *     yes    no           taken to write back
 *     yes    yes          the field `writeback` says, and may be written
 *     no     yes          not allowed: the field is left alone
 *
 * The mode is the device's choice after a reset, so it is written again on the way to DRIVER_OK. That is also
 * how it is switched: a write that is in flight while the field changes would be neither volatile nor stable,
 * and a reset is what empties the rings whatever others submit. Thread context, disk->mutex. */
#include <kernel/log.h>

#include "virtio_blk_internal.h"

#define WRITEBACK offsetof(struct virtio_blk_config, writeback)

/* Anything but 0 is taken for the mode that needs flushes. */
static bool read_mode(struct virtio_blk *disk)
{
    return virtio_config_read(disk->device, WRITEBACK, 1) != 0;
}

void virtio_blk_cache_init(struct virtio_blk *disk)
{
    bool has_flush = virtio_has_feature(disk->device, VIRTIO_BLK_F_FLUSH);
    bool has_field = virtio_has_feature(disk->device, VIRTIO_BLK_F_CONFIG_WCE);
    if (has_field && !has_flush)
        log_warning(disk->device->name, "CONFIG_WCE without FLUSH: not used");
    disk->has_cache_mode = has_field && has_flush;
    disk->is_writeback = disk->has_cache_mode ? read_mode(disk) : has_flush;
}

void virtio_blk_cache_restore(struct virtio_blk *disk)
{
    assert(mutex_is_held(&disk->mutex));
    if (!disk->has_cache_mode)
        return;
    virtio_config_write(disk->device, WRITEBACK, 1, disk->is_writeback);
    bool is_writeback = read_mode(disk);
    if (is_writeback == disk->is_writeback)
        return;
    log_warning(block_device_name(disk->block), "the write cache stays write%s",
                is_writeback ? "back" : "through");
    disk->is_writeback = is_writeback;
    if (is_writeback)
        block_device_needs_flush(disk->block); /* before anything is replayed */
}

/* Notes what the next restore shall write. True: there is something to switch. */
static bool want_mode(struct virtio_blk *disk, bool is_writeback)
{
    MUTEX_SCOPED(&disk->mutex);
    bool is_other = disk->is_writeback != is_writeback || read_mode(disk) != is_writeback;
    disk->is_writeback = is_writeback;
    return is_other;
}

static bool has_mode(struct virtio_blk *disk, bool is_writeback)
{
    MUTEX_SCOPED(&disk->mutex);
    return disk->is_writeback == is_writeback;
}

int virtio_blk_set_writeback(struct block_device *block, bool is_writeback)
{
    struct virtio_blk *disk = block_device_driver(block);
    if (!disk->has_cache_mode)
        return -EOPNOTSUPP;
    int error = want_mode(disk, is_writeback) ? virtio_blk_reset(block) : 0;
    if (error)
        return error;
    return has_mode(disk, is_writeback) ? 0 : -EIO;
}
