/* SPDX-License-Identifier: MIT */
/* The virtio disk's requests beside reading and writing: ranges and lifetime on the wire, the limits that the
 * device names, replays; and the write cache's mode. Included by one file a ring format, after its fake
 * device and with RING_FEATURES; its main calls test_all. */
#ifndef TESTS_HOST_VIRTIO_BLK_RANGE_TEST_H
#define TESTS_HOST_VIRTIO_BLK_RANGE_TEST_H

#include <host.h>

#include "virtio_machine.h"

#define ALL_RANGES \
    (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_SECURE_ERASE))
#define FEATURES (ALL_OF_QEMU | RING_FEATURES | ALL_RANGES | BIT(VIRTIO_BLK_F_LIFETIME))
#define WCE      m.config[offsetof(struct virtio_blk_config, writeback)]

static void set_field(size_t offset, uint32_t value)
{
    store_le32(m.config + offset, value);
}
#define SET(field, value) set_field(offsetof(struct virtio_blk_config, field), value)

static struct virtio_blk *start_good(uint32_t size, uint64_t offered)
{
    prepare(size, offered);
    set_good_ranges();
    return start_prepared();
}

static struct block_request make_range(enum block_operation operation, uint64_t sector, uint32_t sectors,
                                       bool may_unmap)
{
    struct block_request request = make_request(operation, sector, NULL, sectors * 512);
    request.may_unmap = may_unmap;
    return request;
}

/* ---- The wire ----------------------------------------------------------------------------------------- */

static const struct {
    enum block_operation operation;
    enum virtio_blk_type type;
    bool may_unmap;
} kinds[] = {{BLOCK_DISCARD, VIRTIO_BLK_T_DISCARD, false},
             {BLOCK_DISCARD, VIRTIO_BLK_T_DISCARD, true}, /* says nothing here: the flag must be 0 */
             {BLOCK_WRITE_ZEROES, VIRTIO_BLK_T_WRITE_ZEROES, false},
             {BLOCK_WRITE_ZEROES, VIRTIO_BLK_T_WRITE_ZEROES, true},
             {BLOCK_SECURE_ERASE, VIRTIO_BLK_T_SECURE_ERASE, true}};
#define KINDS ARRAY_SIZE(kinds)

static void check_range(uint32_t index, uint64_t sector, uint32_t sectors, size_t kind)
{
    const struct virtio_blk_range *range = &m.ranges[index];
    bool has_flag = kinds[kind].operation == BLOCK_WRITE_ZEROES && kinds[kind].may_unmap;
    check_equal(m.range_types[index], kinds[kind].type);
    check(range->sector == sector && range->num_sectors == sectors && range->flags == has_flag);
}

/* All kinds at once, as many as fit: each has memory of its own until it is done. */
static void run_kinds(struct virtio_blk *disk)
{
    static struct block_request requests[KINDS];
    uint32_t room = MIN(block.config.limits.depth, (uint32_t)KINDS), done = 0;
    m.range_count = 0;
    for (uint32_t first = 0; first < KINDS; first += room) {
        uint32_t count = MIN(room, (uint32_t)KINDS - first);
        for (uint32_t i = first; i < first + count; i++)
            requests[i] = make_range(kinds[i].operation, 10 * i + 1, i + 1, kinds[i].may_unmap);
        submit(requests + first, count);
        device_take();
        for (uint32_t left = count; left > 0; left--) {
            check_equal(total(&m.held[0].chain, false), 32);
            serve(&m.fds[m.held[0].queue], &m.held[0].chain);
            memmove(m.held, m.held + 1, --m.held_count * sizeof(m.held[0])); /* in order */
        }
        interrupt(disk);
        done += count_finished(BLOCK_OK);
    }
    check(done == KINDS && m.range_count == KINDS);
    for (uint32_t i = 0; i < KINDS; i++)
        check_range(i, 10 * i + 1, i + 1, i);
}

static void run_lifetime(struct virtio_blk *disk)
{
    struct block_lifetime *lifetime = calloc(1, sizeof(*lifetime));
    struct block_request request = make_request(BLOCK_GET_LIFETIME, 0, lifetime, sizeof(*lifetime));
    submit(&request, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    check(lifetime->pre_eol_info == 1 && lifetime->slc_used == 2 && lifetime->mlc_used == 11);
    free(lifetime);
}

static void test_wire(void)
{
    static const uint32_t sizes[] = {2, 4, 64};
    for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        uint64_t features = i % 2 ? FEATURES : FEATURES & ~BIT(VIRTIO_F_INDIRECT_DESC);
        struct virtio_blk *disk = start_good(sizes[i / 2], features);
        check(block.config.limits.has_lifetime);
        run_kinds(disk);
        run_kinds(disk);
        run_lifetime(disk);
        stop(disk);
    }
}

static void test_statuses(void)
{
    static const uint8_t expected[] = {BLOCK_OK, BLOCK_FAILED, BLOCK_UNSUPPORTED, BLOCK_FAILED};
    for (uint32_t size = 2; size <= 64; size += 62) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            struct virtio_blk *disk = start_good(size, FEATURES);
            for (uint8_t answer = 0; answer < ARRAY_SIZE(expected); answer++) {
                struct block_request request = make_range(kinds[kind].operation, 1, 1, false);
                submit(&request, 1);
                m.answer = answer;
                device_do_all(disk);
                check_equal(count_finished(expected[answer]), 1);
            }
            stop(disk);
        }
    }
}

/* ---- What the device takes ---------------------------------------------------------------------------- */

static void expect_limit(const struct block_range_limit *limit, uint32_t max_sectors, uint32_t alignment)
{
    check_equal(limit->max_sectors, max_sectors);
    check_equal(limit->alignment_sectors, alignment);
}

static void test_limits(void)
{
    const struct block_limits *limits = &block.config.limits;
    struct virtio_blk *disk = start_good(64, FEATURES);
    expect_limit(&limits->discard, 100, 8);
    expect_limit(&limits->write_zeroes, 0xffffffff, 1);
    expect_limit(&limits->secure_erase, 64, 16);
    stop(disk);

    disk = start_good(64,
                      FEATURES & ~ALL_RANGES & ~BIT(VIRTIO_BLK_F_LIFETIME)); /* the fields say nothing then */
    expect_limit(&limits->discard, 0, 0);
    expect_limit(&limits->write_zeroes, 0, 0);
    expect_limit(&limits->secure_erase, 0, 0);
    check(!limits->has_lifetime);
    stop(disk);

    prepare(64, FEATURES); /* whole blocks; no alignment is that of a block */
    set_good_ranges();
    set_config(DISK_SECTORS, 254, 4096);
    SET(discard_sector_alignment, 0);
    disk = start_prepared();
    expect_limit(&limits->discard, 96, 8);
    expect_limit(&limits->write_zeroes, 0xfffffff8, 8);
    expect_limit(&limits->secure_erase, 64, 16);
    stop(disk);
}

/* Each is not used, with one line, and the others are. */
static void test_bad_limits(void)
{
    static const struct {
        size_t offset;
        uint32_t value, discard, write_zeroes, secure_erase;
    } cases[] = {
        {offsetof(struct virtio_blk_config, max_discard_sectors), 0, 0, 0xfffffff8, 64},
        {offsetof(struct virtio_blk_config, max_discard_sectors), 7, 0, 0xfffffff8, 64},
        {offsetof(struct virtio_blk_config, max_discard_seg), 0, 0, 0xfffffff8, 64},
        {offsetof(struct virtio_blk_config, discard_sector_alignment), 9, 0, 0xfffffff8, 64},
        {offsetof(struct virtio_blk_config, discard_sector_alignment), 0xffffffff, 0, 0xfffffff8, 64},
        {offsetof(struct virtio_blk_config, max_write_zeroes_sectors), 0, 96, 0, 64},
        {offsetof(struct virtio_blk_config, max_write_zeroes_seg), 0, 96, 0, 64},
        {offsetof(struct virtio_blk_config, max_secure_erase_sectors), 0, 96, 0xfffffff8, 0},
        {offsetof(struct virtio_blk_config, max_secure_erase_seg), 0, 96, 0xfffffff8, 0},
        {offsetof(struct virtio_blk_config, secure_erase_sector_alignment), 4, 96, 0xfffffff8, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        prepare(64, FEATURES);
        set_good_ranges();
        set_config(DISK_SECTORS, 254, 4096);
        set_field(cases[i].offset, cases[i].value);
        unsigned lines = host_log_lines;
        struct virtio_blk *disk = start_prepared();
        check_equal(host_log_lines - lines, 1);
        check_equal(block.config.limits.discard.max_sectors, cases[i].discard);
        check_equal(block.config.limits.write_zeroes.max_sectors, cases[i].write_zeroes);
        check_equal(block.config.limits.secure_erase.max_sectors, cases[i].secure_erase);
        stop(disk);
    }
}

static void test_topology(void)
{
    static const struct {
        uint32_t opt_io_size, expected;
    } cases[] = {{0, 0}, {16, 65536}, {(64u << 20) / 4096, 64u << 20}, {(64u << 20) / 4096 + 1, 0}, {~0u, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        prepare(64, FEATURES & ~ALL_RANGES);
        set_config(DISK_SECTORS, 254, 4096);
        SET(opt_io_size, cases[i].opt_io_size);
        struct virtio_blk *disk = start_prepared();
        check_equal(block.config.limits.optimal_bytes, cases[i].expected);
        stop(disk);
    }
}

/* ---- Replays ------------------------------------------------------------------------------------------ */

static uint8_t replay_data[512];

static uint32_t held_type(uint32_t index)
{
    return ((struct virtio_blk_req_header *)m.held[index].chain.buffers[0].data)->type;
}

/* A range that was done is not sent again: it would destroy what was written to the same sectors since. One
 * that the device had done, and of which the interrupt was still to come, is done too. */
static void test_done_is_not_replayed(void)
{
    for (unsigned is_taken = 0; is_taken < 2; is_taken++) {
        struct virtio_blk *disk = start_good(64, FEATURES);
        struct block_request discard = make_range(BLOCK_DISCARD, 5, 1, false);
        struct block_request write = make_request(BLOCK_WRITE, 5, replay_data, 512);
        memset(replay_data, 0x77, sizeof(replay_data));
        submit(&discard, 1);
        device_take();
        device_complete(0);
        if (is_taken)
            interrupt(disk);
        check_equal(count_finished(BLOCK_OK), is_taken);
        if (is_taken)
            submit(&write, 1);
        check_equal(block.config.ops->reset(&block), 0);
        check_equal(count_finished(BLOCK_OK), !is_taken);
        if (!is_taken)
            submit(&write, 1);
        device_take();
        check(m.held_count == 1 && held_type(0) == VIRTIO_BLK_T_OUT);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 1);
        check(disk_data[5 * 512] == 0x77 && m.range_count == 1);
        stop(disk);
    }
}

/* What was in flight is sent again in its order, and unchanged. */
static void test_replay(void)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
                                     VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_SECURE_ERASE};
    for (uint32_t size = 2; size <= 64; size += 62) {
        struct virtio_blk *disk = start_good(size, FEATURES | BIT(VIRTIO_F_INDIRECT_DESC));
        uint32_t count = MIN(block.config.limits.depth, (uint32_t)ARRAY_SIZE(types));
        struct block_request requests[] = {
            make_range(BLOCK_DISCARD, 8, 4, false), make_request(BLOCK_WRITE, 8, replay_data, 512),
            make_range(BLOCK_WRITE_ZEROES, 9, 2, true), make_request(BLOCK_WRITE, 20, replay_data, 512),
            make_range(BLOCK_SECURE_ERASE, 30, 3, false)};
        submit(requests, count);
        device_take();
        check_equal(block.config.ops->reset(&block), 0);
        device_take();
        check_equal(m.held_count, count);
        for (uint32_t i = 0; i < count && !disk->queues[0].bounce; i++)
            check_equal(held_type(i), types[i]);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), count);
        for (uint32_t i = 0; i < m.range_count; i++) {
            const struct virtio_blk_range *range = &m.ranges[i];
            switch (m.range_types[i]) {
            case VIRTIO_BLK_T_DISCARD:
                check(range->sector == 8 && range->num_sectors == 4 && range->flags == 0);
                break;
            case VIRTIO_BLK_T_WRITE_ZEROES:
                check(range->sector == 9 && range->num_sectors == 2 && range->flags == 1);
                break;
            default:
                check(range->sector == 30 && range->num_sectors == 3 && range->flags == 0);
            }
        }
        stop(disk);
    }
}

/* ---- The write cache ---------------------------------------------------------------------------------- */

static void test_cache_at_start(void)
{
    static const struct {
        bool has_flush, has_field;
        uint8_t mode;
        bool is_writeback, can_switch;
        unsigned lines;
    } cases[] = {{false, false, 1, false, false, 0}, {true, false, 0, true, false, 0},
                 {true, true, 0, false, true, 0},    {true, true, 1, true, true, 0},
                 {true, true, 7, true, true, 0},     {false, true, 0, false, false, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t features = FEATURES & ~ALL_RANGES & ~BIT(VIRTIO_BLK_F_FLUSH) & ~BIT(VIRTIO_BLK_F_CONFIG_WCE);
        features |= cases[i].has_flush ? BIT(VIRTIO_BLK_F_FLUSH) : 0;
        features |= cases[i].has_field ? BIT(VIRTIO_BLK_F_CONFIG_WCE) : 0;
        prepare(64, features);
        m.wce_after_reset = cases[i].mode;
        unsigned lines = host_log_lines;
        struct virtio_blk *disk = start_prepared();
        check_equal(host_log_lines - lines, cases[i].lines);
        check_equal(block.config.has_flush, cases[i].is_writeback);
        int error = block.config.ops->set_writeback(&block, false);
        check_equal(-error, cases[i].can_switch ? 0 : EOPNOTSUPP);
        check_equal(m.config_writes != 0, cases[i].can_switch && cases[i].is_writeback);
        stop(disk);
    }
}

/* Switched with nothing in flight, and kept through resets, whatever the device likes after one. */
static void test_cache_switch(void)
{
    for (unsigned is_writeback = 0; is_writeback < 2; is_writeback++) {
        prepare(64, FEATURES & ~ALL_RANGES);
        m.wce_after_reset = !is_writeback;
        struct virtio_blk *disk = start_prepared();
        struct block_request write = make_request(BLOCK_WRITE, 3, replay_data, 512);
        submit(&write, 1);
        device_take();
        check_equal(block.config.ops->set_writeback(&block, is_writeback), 0); /* see config_write */
        check_equal(WCE, is_writeback);
        check_equal(disk->resets, 1);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 1); /* it was sent again */
        check_equal(block.config.ops->reset(&block), 0);
        check_equal(WCE, is_writeback);
        check_equal(block.config.ops->set_writeback(&block, is_writeback), 0); /* it is so: no reset */
        check_equal(disk->resets, 2);
        stop(disk);
    }
}

/* A device that keeps its mode is found out, and a cache that it has is flushed from then on. */
static void test_cache_refused(void)
{
    struct virtio_blk *disk = start(64, FEATURES & ~ALL_RANGES);
    m.wce_fixed = 1;
    check_equal(-block.config.ops->set_writeback(&block, false), EIO);
    check(disk->is_writeback);
    m.wce_fixed = 0xff;
    check_equal(block.config.ops->set_writeback(&block, false), 0);
    block.config.has_flush = false; /* the block layer's doing */
    m.wce_fixed = 1;
    check_equal(block.config.ops->reset(&block), 0);
    check(disk->is_writeback && block.config.has_flush);
    m.wce_fixed = 0xff;
    check_equal(block.config.ops->set_writeback(&block, false), 0);
    m.wce_fixed = 0;
    check_equal(-block.config.ops->set_writeback(&block, true), EIO);
    check(!disk->is_writeback);
    m.resets_left = 0; /* it answers no more */
    m.wce_fixed = 0xff;
    check_equal(-block.config.ops->set_writeback(&block, true), ETIMEDOUT);
    m.reset_reads = 0;
    m.resets_left = -1;
    stop(disk);
}

static int test_all(void)
{
    test_wire();
    test_statuses();
    test_limits();
    test_bad_limits();
    test_topology();
    test_done_is_not_replayed();
    test_replay();
    test_cache_at_start();
    test_cache_switch();
    test_cache_refused();
    return check_finish();
}

#endif
