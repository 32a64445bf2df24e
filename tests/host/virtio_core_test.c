/* SPDX-License-Identifier: MIT */
/* The virtio core: negotiation and its refusals, the configuration, the limits that follow from both. */
#include "virtio_machine.h"

/* ---- Negotiation -------------------------------------------------------------------------------------- */

static void test_negotiation(void)
{
    char text[512];
    static const uint8_t steps[] = {0, 1, 3, 0xb, 0xf};
    virtio_settings.has_packed = false;
    struct virtio_blk *disk = start(64, ~0ull);
    virtio_settings.has_packed = true;
    check_equal(m.written_features,
                BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1) |
                    BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_RESET) | BIT(VIRTIO_F_ORDER_PLATFORM) |
                    BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_F_NOTIFICATION_DATA) | BIT(VIRTIO_F_IN_ORDER) |
                    BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_RO) |
                    BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY) |
                    BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_DISCARD) |
                    BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_LIFETIME) |
                    BIT(VIRTIO_BLK_F_SECURE_ERASE));
    virtio_features_text(&m.device, text, sizeof(text));
    check(strstr(text, "+VERSION_1") && strstr(text, "-RING_PACKED") && strstr(text, "-BIT_50"));
    check(strstr(text, "+FLUSH") && strstr(text, "+MQ") && strstr(text, "-SCSI") && !strstr(text, "+BIT_"));
    check(memcmp(m.history, steps, sizeof(steps)) == 0 && m.writes == sizeof(steps));
    check(block.config.is_read_only);
    char small[8];
    virtio_features_text(&m.device, small, sizeof(small));
    check_equal(small[7], 0);
    stop(disk);

    virtio_settings.has_indirect = virtio_settings.has_event_idx = false;
    disk = start(64, ALL_OF_QEMU);
    check(!(m.written_features & (BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX))));
    stop(disk);
    virtio_settings.has_indirect = virtio_settings.has_event_idx = true;

    virtio_settings.has_in_order = virtio_settings.has_notification_data = false;
    disk = start(64, ALL_OF_QEMU | BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_F_NOTIFICATION_DATA));
    check_equal(m.written_features & (BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_F_NOTIFICATION_DATA)), 0);
    stop(disk);
    virtio_settings.has_in_order = virtio_settings.has_notification_data = true;
}

static void expect_refused(int error)
{
    check_equal(-virtio_device_add(&m.device), error);
    check(!is_registered);
    check(error == ETIMEDOUT || error == EBUSY || m.status & VIRTIO_STATUS_FAILED);
}

static void test_refusals(void)
{
    prepare(64, ALL_OF_QEMU & ~BIT(VIRTIO_F_VERSION_1));
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU);
    m.has_features_ok = false;
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU);
    m.reset_reads = -1;
    expect_refused(ETIMEDOUT);
    check(m.is_isolated && m.writes == 1);
    prepare(64, ALL_OF_QEMU);
    m.reset_reads = -1;
    m.cannot_be_isolated = true;
    expect_refused(EBUSY);
    check_equal(m.writes, 1);
    prepare(64, ALL_OF_QEMU);
    m.connect_error = -ENODEV;
    expect_refused(ENODEV);
    check(m.enabled == 0 && m.disconnects == 1);
    prepare(1, ALL_OF_QEMU); /* a queue of one entry */
    expect_refused(EOPNOTSUPP);
    prepare(0, ALL_OF_QEMU);
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU | BIT(VIRTIO_BLK_F_SIZE_MAX));
    store_le32(m.config + offsetof(struct virtio_blk_config, size_max), 511);
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU);
    m.device.type = 99;
    check_equal(-virtio_device_add(&m.device), ENODEV);
    prepare(64, ALL_OF_QEMU);
    register_error = -ENOMEM;
    expect_refused(ENOMEM);
    check_equal(m.disconnects, 1);
    prepare(64, ALL_OF_QEMU);
    m.reset_reads = 5; /* slow, but it comes */
    uint64_t before = host_clock_ns;
    check_equal(virtio_device_add(&m.device), 0);
    check(host_clock_ns > before);
    stop(block.config.driver);
}

static void test_limits(void)
{
    struct virtio_blk *disk = start(256, ALL_OF_QEMU);
    check_equal(block.config.limits.max_segments, 64);
    check_equal(block.config.limits.depth, 256);
    check(block.config.has_flush && !block.config.is_read_only);
    stop(disk);
    disk = start(4, ALL_OF_QEMU);
    check_equal(block.config.limits.max_segments, 2);
    stop(disk);
    disk = start(100, ALL_OF_QEMU & ~BIT(VIRTIO_F_INDIRECT_DESC)); /* no power of two */
    check_equal(disk->queues[0].ring->size, 64);
    check_equal(block.config.limits.depth, 21);
    stop(disk);
    disk = start(64, ALL_OF_QEMU & ~BIT(VIRTIO_BLK_F_SEG_MAX));
    check_equal(block.config.limits.max_segments, 1);
    stop(disk);

    disk = start(64, ALL_OF_QEMU | BIT(VIRTIO_BLK_F_SIZE_MAX));
    check_equal(block.config.limits.max_segment_bytes, 1u << 20);
    stop(disk);
    prepare(64, ALL_OF_QEMU | BIT(VIRTIO_BLK_F_SIZE_MAX));
    store_le32(m.config + offsetof(struct virtio_blk_config, size_max), 0); /* as if it were not offered */
    check_equal(virtio_device_add(&m.device), 0);
    check_equal(block.config.limits.max_segment_bytes, 4u << 20);
    stop(block.config.driver);

    /* Hazard 34: the capacity is in sectors of 512 bytes, whatever the block is. And it is read whole. */
    prepare(64, ALL_OF_QEMU);
    set_config(1000003, 10, 4096);
    m.config[offsetof(struct virtio_blk_config, physical_block_exp)] = 2;
    m.config_changes = 3;
    check_equal(virtio_device_add(&m.device), 0);
    run_works();
    check_equal(block.sectors, (1000003 + 3 * 0x100000001ull) & ~7ull);
    check_equal(block.config.limits.logical_block_bytes, 4096);
    check_equal(block.config.limits.physical_block_bytes, 16384);
    check_equal(block.config.limits.max_segments, 10);
    stop(block.config.driver);
    prepare(64, ALL_OF_QEMU);
    set_config(1000, 0, 12345);
    check_equal(virtio_device_add(&m.device), 0);
    check_equal(block.config.limits.logical_block_bytes, 512);
    check_equal(block.config.limits.max_segments, 1);
    stop(block.config.driver);
}

/* ---- Legacy: no VERSION_1, no FEATURES_OK, a ring of the device's size ----------------------------------
 */

static void test_legacy_negotiation(void)
{
    static const uint8_t steps[] = {0, 1, 3, 7};
    prepare_legacy(64, ALL_OF_QEMU | BIT(VIRTIO_F_ANY_LAYOUT));
    m.has_features_ok = false; /* it does not know that bit */
    struct virtio_blk *disk = start_prepared();
    check(memcmp(m.history, steps, sizeof(steps)) == 0 && m.writes == sizeof(steps));
    check(m.written_features & BIT(VIRTIO_F_ANY_LAYOUT) && m.written_features >> 32 == 0);
    check_equal(block.config.ops->reset(&block), 0);
    stop(disk);
}

static void test_legacy_queue_size(void)
{
    static const uint32_t useless[] = {0, 1, 100, 2048, 32768, 0xffff};
    prepare_legacy(256, ALL_OF_QEMU);
    transport.is_queue_size_fixed = true;
    virtio_settings.queue_size = 64;
    struct virtio_blk *disk = start_prepared();
    check_equal(disk->queues[0].ring->size, 256);
    check_equal(block.config.limits.depth, 64);
    stop(disk);
    prepare_legacy(256, ALL_OF_QEMU & ~BIT(VIRTIO_F_INDIRECT_DESC));
    transport.is_queue_size_fixed = true;
    virtio_settings.queue_size = 64;
    disk = start_prepared();
    check_equal(disk->queues[0].ring->size, 256);
    check_equal(block.config.limits.depth, 21);
    stop(disk);
    for (size_t i = 0; i < ARRAY_SIZE(useless); i++) {
        prepare_legacy(useless[i], ALL_OF_QEMU);
        transport.is_queue_size_fixed = true;
        expect_refused(EOPNOTSUPP);
    }
}

/* Without VERSION_1 and ANY_LAYOUT, header, data and status are buffers of their own: three do not fit. */
static void test_legacy_layout(void)
{
    prepare_legacy(2, ALL_OF_QEMU);
    expect_refused(EOPNOTSUPP);
    prepare_legacy(2, ALL_OF_QEMU | BIT(VIRTIO_F_ANY_LAYOUT));
    stop(start_prepared());
    prepare_legacy(4, ALL_OF_QEMU);
    struct virtio_blk *disk = start_prepared();
    struct block_request write = make_request(BLOCK_WRITE, 3, disk_data, 512);
    submit(&write, 1);
    device_take();
    check(m.held_count == 1 && m.held[0].chain.count == 3);
    check(m.held[0].chain.buffers[0].bytes == 16 && m.held[0].chain.buffers[2].bytes == 1);
    device_do_all(disk);
    stop(disk);
}

/* The capacity is read whole though there is no generation to tell. */
static void test_legacy_config(void)
{
    prepare_legacy(64, ALL_OF_QEMU);
    set_config(1000, 10, 512);
    m.config_changes = 5;
    struct virtio_blk *disk = start_prepared();
    check_equal(block.sectors, 1000 + 5 * 0x100000001ull);
    m.config_changes = 1u << 30; /* it never settles: an end, and a line */
    m.device.driver->config_changed(&m.device);
    run_works();
    stop(disk);
}

/* ---- A device that does not answer and that nothing can cut off from memory (R6) -------------------------
 */

static void test_slow_death(void)
{
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    struct block_request read = make_request(BLOCK_READ, 3, disk_data, 512);
    submit(&read, 1);
    m.cannot_be_isolated = true;
    m.reset_reads = 50000; /* longer than any patience, and it is waited for */
    check_equal(block.config.ops->reset(&block), 0);
    check_equal(completed_before_reset_ended, 0);
    check_equal(m.reset_reads, 0);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);

    /* Its queues are left to it. */
    struct virtqueue *ring = disk->queues[0].ring;
    m.reset_reads = -1;
    virtio_device_destroy_queues(&m.device);
    check_equal(m.device.queue_count, 0);
    check(virtqueue_is_consistent(ring)); /* the sanitizer knows whether it is still there */
    virtqueue_destroy(ring);
    virtio_blk_free_queues(disk);
    free(disk);
}

/* ---- How many queues ------------------------------------------------------------------------------------
 */

/* The device names `named` queues and has rings for `rings`, on `cpus` CPUs. */
static void expect_queues(uint32_t named, uint32_t rings, uint32_t cpus, uint32_t setting, uint32_t expected)
{
    prepare_queues(rings, 64, ALL_OF_QEMU);
    m.config[offsetof(struct virtio_blk_config, num_queues)] = (uint8_t)named;
    host_cpu_count = cpus;
    virtio_settings.queues = setting;
    struct virtio_blk *disk = start_prepared();
    check_equal(disk->queue_count, expected);
    check_equal(m.enabled, expected);
    check_equal(block.config.limits.depth, 64 * expected);
    for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++)
        check(disk->queue_of_cpu[cpu] == &disk->queues[cpu % expected]);
    stop(disk);
}

static void test_queue_counts(void)
{
    expect_queues(4, 4, 4, 16, 4);
    expect_queues(4, 4, 2, 16, 2);
    expect_queues(2, 2, 4, 16, 2);
    expect_queues(4, 4, 4, 3, 3);
    expect_queues(4, 4, 4, 1, 1);
    expect_queues(0, 4, 4, 16, 1);   /* it says none: one there must be */
    expect_queues(40, 2, 32, 16, 2); /* it names more than it has */
    prepare_queues(4, 64, ALL_OF_QEMU);
    m.offered &= ~BIT(VIRTIO_BLK_F_MQ);
    struct virtio_blk *disk = start_prepared();
    check_equal(disk->queue_count, 1);
    stop(disk);
    prepare_queues(3, 64, ALL_OF_QEMU);
    m.queue_sizes[2] = 8; /* of another size: not used */
    disk = start_prepared();
    check_equal(disk->queue_count, 2);
    stop(disk);
}

static void test_queues_without_interrupts(void)
{
    prepare_queues(4, 64, ALL_OF_QEMU);
    m.connect_error = -ENODEV;
    expect_refused(ENODEV);
    check_equal(m.enabled, 0);
}

int main(void)
{
    test_negotiation();
    test_refusals();
    test_limits();
    test_legacy_negotiation();
    test_legacy_queue_size();
    test_legacy_layout();
    test_legacy_config();
    test_slow_death();
    test_queue_counts();
    test_queues_without_interrupts();
    return check_finish();
}
