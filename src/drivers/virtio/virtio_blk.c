/* SPDX-License-Identifier: MIT */
/* The virtio disk (virtio 1.2, 5.2): found by the core, it becomes vd0, vd1, … of the block layer.
 *
 * Here: configuration, limits, registration, the change of capacity at run time. The path of a request is in
 * virtio_blk_queue.c, the queues' making in virtio_blk_setup.c. Thread context, but for config_changed. */
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/log.h>

#include "virtio_blk_internal.h"

#define CONFIG(field) offsetof(struct virtio_blk_config, field)

static const struct virtio_feature features[] = {
    {VIRTIO_BLK_F_BARRIER, false, "BARRIER"},
    {VIRTIO_BLK_F_SIZE_MAX, true, "SIZE_MAX"},
    {VIRTIO_BLK_F_SEG_MAX, true, "SEG_MAX"},
    {VIRTIO_BLK_F_GEOMETRY, false, "GEOMETRY"},
    {VIRTIO_BLK_F_RO, true, "RO"},
    {VIRTIO_BLK_F_BLK_SIZE, true, "BLK_SIZE"},
    {VIRTIO_BLK_F_SCSI, false, "SCSI"},
    {VIRTIO_BLK_F_FLUSH, true, "FLUSH"},
    {VIRTIO_BLK_F_TOPOLOGY, true, "TOPOLOGY"},
    {VIRTIO_BLK_F_CONFIG_WCE, true, "CONFIG_WCE"},
    {VIRTIO_BLK_F_MQ, true, "MQ"},
    {VIRTIO_BLK_F_DISCARD, true, "DISCARD"},
    {VIRTIO_BLK_F_WRITE_ZEROES, true, "WRITE_ZEROES"},
    {VIRTIO_BLK_F_LIFETIME, true, "LIFETIME"},
    {VIRTIO_BLK_F_SECURE_ERASE, true, "SECURE_ERASE"},
};

/* ---- Configuration ---------------------------------------------------------------------------------- */

struct config_copy {
    uint64_t capacity;
    uint32_t size_max, seg_max, blk_size, opt_io_size;
    uint8_t physical_block_exp;
    uint16_t num_queues;
};

static void read_config(struct virtio_device *device, void *context)
{
    struct config_copy *copy = context;
    copy->capacity = virtio_config_read64(device, CONFIG(capacity));
    copy->size_max = virtio_config_read(device, CONFIG(size_max), 4);
    copy->seg_max = virtio_config_read(device, CONFIG(seg_max), 4);
    copy->blk_size = virtio_config_read(device, CONFIG(blk_size), 4);
    copy->physical_block_exp = (uint8_t)virtio_config_read(device, CONFIG(physical_block_exp), 1);
    copy->opt_io_size = virtio_config_read(device, CONFIG(opt_io_size), 4);
    copy->num_queues = (uint16_t)virtio_config_read(device, CONFIG(num_queues), 2);
}

/* 512 unless the device names another size that can be. */
static uint32_t logical_block_bytes(const struct virtio_device *device, const struct config_copy *copy)
{
    if (!virtio_has_feature(device, VIRTIO_BLK_F_BLK_SIZE))
        return BLOCK_SECTOR_BYTES;
    if (is_power_of_two(copy->blk_size) && copy->blk_size >= BLOCK_SECTOR_BYTES && copy->blk_size <= KIB(64))
        return copy->blk_size;
    log_warning(device->name, "blk_size %u cannot be; 512 is used", copy->blk_size);
    return BLOCK_SECTOR_BYTES;
}

static uint32_t physical_block_bytes(const struct virtio_device *device, const struct config_copy *copy,
                                     uint32_t logical)
{
    bool has_exponent = virtio_has_feature(device, VIRTIO_BLK_F_TOPOLOGY) && copy->physical_block_exp <= 12;
    return has_exponent ? logical << copy->physical_block_exp : logical;
}

/* 0: it does not say, or something that is no length of a transfer. */
static uint32_t optimal_bytes(const struct virtio_device *device, const struct config_copy *copy,
                              uint32_t logical)
{
    bool has_optimum =
        virtio_has_feature(device, VIRTIO_BLK_F_TOPOLOGY) && copy->opt_io_size <= MIB(64) / logical;
    return has_optimum ? copy->opt_io_size * logical : 0;
}

/* Data buffers of a request: as many as the device takes and as a chain of the ring holds beside header and
 * status. One that does not say how many takes one. */
static uint16_t max_segments(const struct virtio_device *device, const struct config_copy *copy,
                             uint32_t queue_size)
{
    uint32_t segments = virtio_has_feature(device, VIRTIO_BLK_F_SEG_MAX) ? MAX(copy->seg_max, 1u) : 1;
    segments = MIN(segments, VIRTIO_BLK_SEGMENTS_MAX);
    return (uint16_t)(queue_size > 2 ? MIN(segments, queue_size - 2) : VIRTIO_BLK_SEGMENTS_MAX);
}

/* Bytes of a data buffer. QEMU's vhost-user server offers SIZE_MAX and leaves the field 0, which no device
 * can mean. */
static uint32_t max_segment_bytes(const struct virtio_device *device, const struct config_copy *copy)
{
    bool has_limit = virtio_has_feature(device, VIRTIO_BLK_F_SIZE_MAX) && copy->size_max != 0;
    return has_limit ? copy->size_max : (uint32_t)MIB(4);
}

/* virtio_blk_bounce.c's way needs a device that looks for the parts of a request in any buffer. */
static int check_bounce(const struct virtio_device *device, uint32_t logical)
{
    if (!virtio_has_any_layout(device)) {
        log_error(device->name, "two queue entries are too few without ANY_LAYOUT");
        return -EOPNOTSUPP;
    }
    if (logical > VIRTIO_BLK_BOUNCE_BYTES) {
        log_error(device->name, "two queue entries are too few for blocks of %u bytes", logical);
        return -EOPNOTSUPP;
    }
    return 0;
}

static int set_limits(struct virtio_blk *disk, const struct config_copy *copy, uint32_t queue_size)
{
    struct virtio_device *device = disk->device;
    bool needs_bounce = queue_size == 2;
    uint32_t logical = logical_block_bytes(device, copy);
    uint32_t segment_bytes = max_segment_bytes(device, copy);
    if (segment_bytes < (needs_bounce ? VIRTIO_BLK_BOUNCE_STRIDE : BLOCK_SECTOR_BYTES)) {
        log_error(device->name, "buffers of at most %u bytes are too short to be used", segment_bytes);
        return -EOPNOTSUPP;
    }
    disk->limits = (struct block_limits){
        .logical_block_bytes = logical,
        .physical_block_bytes = physical_block_bytes(device, copy, logical),
        .depth = virtio_blk_depth(disk, queue_size),
        .max_segments = max_segments(device, copy, queue_size),
        .max_segment_bytes = segment_bytes,
        .max_sectors = needs_bounce ? VIRTIO_BLK_BOUNCE_BYTES / BLOCK_SECTOR_BYTES : VIRTIO_BLK_SECTORS_MAX,
        .optimal_bytes = optimal_bytes(device, copy, logical),
        .has_lifetime = virtio_has_feature(device, VIRTIO_BLK_F_LIFETIME),
    };
    virtio_blk_range_limits(device, &disk->limits);
    return needs_bounce ? check_bounce(device, logical) : 0;
}

/* Whole logical blocks, in sectors of 512 bytes whatever the block is (5.2.5). */
static uint64_t usable_sectors(const struct virtio_blk *disk, const struct config_copy *copy)
{
    return align_down(copy->capacity, disk->limits.logical_block_bytes / BLOCK_SECTOR_BYTES);
}

static void config_work(struct work *work)
{
    struct virtio_blk *disk = container_of(work, struct virtio_blk, config_work);
    struct config_copy copy;
    if (read_once(disk->is_leaving))
        return;
    if (virtio_device_needs_reset(disk->device)) {
        work_queue(&disk->reset_work);
        return;
    }
    if (!virtio_config_snapshot(disk->device, read_config, &copy, sizeof(copy)))
        return; /* the size that it had is the best guess */
    uint64_t sectors = usable_sectors(disk, &copy), before = block_device_sectors(disk->block);
    if (sectors == before)
        return;
    log_info(block_device_name(disk->block), "capacity changed from %llu to %llu sectors (%llu MiB)",
             (unsigned long long)before, (unsigned long long)sectors, (unsigned long long)(sectors >> 11));
    block_device_set_sectors(disk->block, sectors);
}

/* Interrupt context; also before probe has come far, and after it failed. */
static void config_changed(struct virtio_device *device)
{
    struct virtio_blk *disk = device->driver_data;
    if (disk && __atomic_load_n(&disk->block, __ATOMIC_ACQUIRE))
        work_queue(&disk->config_work);
}

void virtio_blk_ready(struct virtio_blk *disk)
{
    virtio_blk_cache_restore(disk);
    virtio_device_ready(disk->device);
    work_queue(&disk->config_work);
}

/* ---- For people ------------------------------------------------------------------------------------- */

static void describe(struct block_device *block)
{
    struct virtio_blk *disk = block_device_driver(block);
    virtio_device_describe(disk->device);
}

static void dump_queue(const char *name, const struct virtio_blk_queue *queue)
{
    static const char *const states[] = {[VIRTIO_BLK_UP] = "up",
                                         [VIRTIO_BLK_DOWN] = "down",
                                         [VIRTIO_BLK_RAW] = "raw",
                                         [VIRTIO_BLK_GONE] = "gone"};
    log_info(name, "%s: %s, %llu interrupts, %llu bad statuses, %llu found late, %llu doorbells again",
             queue->ring->config.name, states[queue->state], (unsigned long long)queue->interrupts,
             (unsigned long long)queue->bad_statuses, (unsigned long long)queue->late_found,
             (unsigned long long)queue->late_bells);
    virtqueue_dump(queue->ring);
}

static void dump(struct block_device *block)
{
    struct virtio_blk *disk = block_device_driver(block);
    log_info(block_device_name(block), "%s, %u queues, %u resets", disk->device->name, disk->queue_count,
             disk->resets);
    virtio_blk_foreach_queue (disk, queue)
        dump_queue(block_device_name(block), queue);
}

static void counts(struct block_device *block, uint64_t *kicks, uint64_t *interrupts)
{
    struct virtio_blk *disk = block_device_driver(block);
    *kicks = *interrupts = 0;
    virtio_blk_foreach_queue (disk, queue) {
        *kicks += queue->ring->kicks;
        *interrupts += queue->interrupts;
    }
}

static void recovery(struct block_device *block, struct block_recovery *recovery)
{
    struct virtio_blk *disk = block_device_driver(block);
    *recovery =
        (struct block_recovery){.resets = disk->resets, .replays = disk->replays, .given_up = disk->given_up};
    virtio_blk_foreach_queue (disk, queue) {
        recovery->interrupts_mended += queue->late_found;
        recovery->doorbells_again += queue->late_bells;
    }
}

static bool is_queue_idle(const struct virtio_blk_queue *queue)
{
    SPIN_SCOPED_IRQ(&queue->ring->lock);
    return virtqueue_is_idle(queue->ring); /* R2 */
}

static bool is_idle(struct block_device *block)
{
    struct virtio_blk *disk = block_device_driver(block);
    bool is_idle = true;
    virtio_blk_foreach_queue (disk, queue)
        is_idle &= is_queue_idle(queue);
    return is_idle;
}

static const struct block_device_ops ops = {
    .submit = virtio_blk_submit,
    .poll = virtio_blk_poll,
    .set_polling = virtio_blk_set_polling,
    .reset = virtio_blk_reset,
    .set_writeback = virtio_blk_set_writeback,
    .ring_entries = virtio_blk_ring_entries,
    .set_ring_entries = virtio_blk_set_ring_entries,
    .late = virtio_blk_late,
    .timed_out = virtio_blk_timed_out,
    .raw = virtio_blk_raw,
    .describe = describe,
    .dump = dump,
    .counts = counts,
    .recovery = recovery,
    .is_idle = is_idle,
};

/* ---- Probing ---------------------------------------------------------------------------------------- */

static void log_queue(const struct virtio_blk *disk, uint32_t index)
{
    const struct virtqueue *ring = disk->queues[index].ring;
    char text[64];
    disk->device->transport->interrupt_text(ring, text, sizeof(text));
    log_info(block_device_name(disk->block), "queue %u: %u entries, %s, %s", index, ring->size,
             ring->ops->name, text);
}

static void log_disk(const struct virtio_blk *disk)
{
    const char *name = block_device_name(disk->block);
    uint64_t sectors = block_device_sectors(disk->block);
    log_info(name, "%s on %s, %u of %u queues", disk->device->name, disk->device->where, disk->queue_count,
             disk->device_queues);
    for (uint32_t i = 0; i < disk->queue_count; i++)
        log_queue(disk, i);
    log_info(name, "%llu sectors (%llu MiB), blocks of %u bytes, at most %u segments and %u in flight%s%s",
             (unsigned long long)sectors, (unsigned long long)(sectors >> 11),
             disk->limits.logical_block_bytes, disk->limits.max_segments, disk->limits.depth,
             disk->is_read_only ? ", read-only" : "", disk->is_writeback ? ", with flush" : "");
}

static int register_disk(struct virtio_blk *disk, const struct config_copy *copy)
{
    struct block_device_config config = {
        .prefix = "vd",
        .where = disk->device->where,
        .ops = &ops,
        .driver = disk,
        .sectors = usable_sectors(disk, copy),
        .limits = disk->limits,
        .is_read_only = disk->is_read_only,
        .has_flush = disk->is_writeback,
    };
    struct block_device *block;
    int error = block_device_register(&config, &block);
    if (error)
        return error;
    __atomic_store_n(&disk->block, block, __ATOMIC_RELEASE);
    log_disk(disk);
    work_queue(&disk->config_work); /* a change since the copy was taken had nobody to tell (R5) */
    if (!virtio_blk_is_up(disk))
        work_queue(&disk->reset_work); /* nor had a lie */
    return 0;
}

/* What the device says of itself, as far as it can be used. */
static int configure(struct virtio_blk *disk, struct config_copy *copy, uint32_t queue_size)
{
    struct virtio_device *device = disk->device;
    virtio_config_snapshot(device, read_config, copy, sizeof(*copy));
    disk->is_read_only = virtio_has_feature(device, VIRTIO_BLK_F_RO);
    virtio_blk_cache_init(disk);
    disk->device_queues = virtio_has_feature(device, VIRTIO_BLK_F_MQ) ? MAX(copy->num_queues, 1u) : 1;
    disk->queue_count = virtio_blk_count_queues(device, disk->device_queues, queue_size);
    return set_limits(disk, copy, queue_size);
}

static int start(struct virtio_blk *disk)
{
    struct config_copy copy;
    uint32_t queue_size = virtio_queue_size(disk->device, 0);
    if (queue_size == 0)
        return -EOPNOTSUPP;
    int error = configure(disk, &copy, queue_size);
    if (error == 0)
        error = virtio_blk_create_queues(disk, queue_size);
    if (error)
        return error;
    virtio_device_ready(disk->device);
    error = register_disk(disk, &copy);
    if (error)
        virtio_device_destroy_queues(disk->device);
    return error;
}

/* Its queues are gone, or never were: no interrupt comes, so no work is queued. */
static void free_disk(struct virtio_blk *disk)
{
    work_flush();
    disk->device->driver_data = NULL;
    virtio_blk_free_queues(disk);
    heap_free(disk);
}

static int probe(struct virtio_device *device)
{
    struct virtio_blk *disk = heap_alloc_zeroed(sizeof(*disk));
    if (!disk)
        return -ENOMEM;
    disk->device = device;
    disk->config_work.run = config_work;
    disk->reset_work.run = virtio_blk_reset_work;
    mutex_init(&disk->mutex, "virtio_blk");
    device->driver_data = disk;
    int error = start(disk);
    if (error)
        free_disk(disk);
    return error;
}

/* From the top down: whoever comes from above finds the device GONE, then finds another device; whoever comes
 * from below is cut off between the two. */
static void remove_disk(struct virtio_device *device)
{
    struct virtio_blk *disk = device->driver_data;
    virtio_blk_shut_down(disk);
    virtio_device_silence(device);
    work_flush(); /* config_work, which may have queued reset_work, which free_disk waits for */
    block_device_unregister(disk->block);
    virtio_device_destroy_queues(device);
    free_disk(disk);
}

static const struct virtio_driver virtio_blk_driver = {
    .name = "block device",
    .type = VIRTIO_ID_BLOCK,
    .features = features,
    .feature_count = ARRAY_SIZE(features),
    .probe = probe,
    .remove = remove_disk,
    .config_changed = config_changed,
};
VIRTIO_DRIVER(virtio_blk_driver);
