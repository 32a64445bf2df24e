/* SPDX-License-Identifier: MIT */
/* The virtio core: negotiation and its refusals, the configuration, the limits that follow from both. */
#include "virtio_machine.h"

/* ---- Negotiation -------------------------------------------------------------------------------------- */

static void test_negotiation(void)
{
    char text[512];
    static const uint8_t steps[] = {0, 1, 3, 0xb, 0xf};
    struct virtio_blk *disk = start(64, ~0ull);
    check_equal(m.written_features,
                BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1) |
                    BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_ORDER_PLATFORM) |
                    BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_RO) |
                    BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY));
    virtio_features_text(&m.device, text, sizeof(text));
    check(strstr(text, "+VERSION_1") && strstr(text, "-RING_PACKED") && strstr(text, "-BIT_50"));
    check(strstr(text, "+FLUSH") && strstr(text, "-MQ") && !strstr(text, "+BIT_"));
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
}

static void expect_refused(int error)
{
    check_equal(-virtio_device_add(&m.device), error);
    check(!is_registered);
    check(error == ETIMEDOUT || m.status & VIRTIO_STATUS_FAILED);
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
    m.connect_error = -ENODEV;
    expect_refused(ENODEV);
    check(m.enabled == 0 && m.disconnects == 1);
    prepare(1, ALL_OF_QEMU); /* a queue of one entry */
    expect_refused(EOPNOTSUPP);
    prepare(0, ALL_OF_QEMU);
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU | BIT(VIRTIO_BLK_F_SIZE_MAX));
    store_le32(m.config + offsetof(struct virtio_blk_config, size_max), 0);
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
    check_equal(disk->queue.ring->size, 64);
    check_equal(block.config.limits.depth, 21);
    stop(disk);
    disk = start(64, ALL_OF_QEMU & ~BIT(VIRTIO_BLK_F_SEG_MAX));
    check_equal(block.config.limits.max_segments, 1);
    stop(disk);

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

int main(void)
{
    test_negotiation();
    test_refusals();
    test_limits();
    return check_finish();
}
