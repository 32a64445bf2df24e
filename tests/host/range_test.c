/* SPDX-License-Identifier: MIT */
/* Discard, write zeroes and secure erase in the block layer: cut by the device's limits, merged with nothing,
 * refused where they must be; the optimal length of transfers; the write cache's mode. */
#include "block_machine.h"

static const struct block_limits all = {
    .discard = {48, 16}, .write_zeroes = {40, 1}, .secure_erase = {24, 16}, .has_lifetime = true};

static void start(const struct block_limits *extras)
{
    disk_extras = *extras;
    disk_start(8, 4, 4096, 64);
}

static uint64_t ios_of(uint8_t operation)
{
    struct block_stats stats;
    block_device_stats(disk.device, &stats);
    return stats.ios[operation];
}

/* ---- Pieces ------------------------------------------------------------------------------------------- */

#define PIECES_MAX 64u
static struct piece {
    uint64_t sector;
    uint32_t sectors;
    uint8_t operation;
    bool may_unmap;
} pieces[PIECES_MAX];
static uint32_t piece_count;

static void note_piece(const struct block_request *leader)
{
    check(piece_count < PIECES_MAX);
    pieces[piece_count++] = (struct piece){block_request_device_sector(leader),
                                           block_request_device_bytes(leader) >> BLOCK_SECTOR_SHIFT,
                                           leader->operation, leader->may_unmap};
}

/* Sectors outside [first, first + count) are as they were; inside they hold `value`. */
static void check_disk(const uint8_t *before, uint64_t first, uint64_t count, uint8_t value)
{
    for (uint64_t sector = 0; sector < DISK_SECTORS; sector++) {
        const uint8_t *now = disk.data + sector * BLOCK_SECTOR_BYTES;
        bool is_inside = sector >= first && sector < first + count;
        bool is_same = memcmp(now, before + sector * BLOCK_SECTOR_BYTES, BLOCK_SECTOR_BYTES) == 0;
        check(is_inside ? now[0] == value && memcmp(now, now + 1, BLOCK_SECTOR_BYTES - 1) == 0 : is_same);
    }
}

static int run(uint8_t operation, uint64_t sector, uint64_t sectors)
{
    switch (operation) {
    case BLOCK_DISCARD:
        return block_discard(disk.device, sector, sectors);
    case BLOCK_WRITE_ZEROES:
        return block_write_zeroes(disk.device, sector, sectors, sector % 2);
    default:
        return block_secure_erase(disk.device, sector, sectors);
    }
}

/* Gapless, in order, within the limit, and cut at the alignment wherever that is within reach. */
static void check_pieces(uint8_t operation, uint64_t sector, uint64_t sectors)
{
    const struct block_range_limit *limit = block_range_limit(disk.device, operation);
    uint64_t at = sector;
    for (uint32_t i = 0; i < piece_count; i++) {
        const struct piece *piece = &pieces[i];
        uint64_t end = piece->sector + piece->sectors;
        check(piece->operation == operation && piece->sector == at);
        check(piece->may_unmap == (operation == BLOCK_WRITE_ZEROES && sector % 2));
        check(piece->sectors > 0 && piece->sectors <= limit->max_sectors);
        if (i + 1 < piece_count && limit->alignment_sectors < limit->max_sectors) {
            check_equal(end % limit->alignment_sectors, 0);
            check(piece->sectors + limit->alignment_sectors >
                  limit->max_sectors); /* no shorter than need be */
        }
        at = end;
    }
    check_equal(at, sector + sectors);
}

static void test_pieces(void)
{
    static uint8_t before[DISK_SECTORS * BLOCK_SECTOR_BYTES];
    static const uint64_t cases[][2] = {{0, 1},  {0, 48},  {0, 49},   {16, 48},   {5, 48},          {5, 59},
                                        {5, 60}, {7, 301}, {1023, 1}, {500, 524}, {0, DISK_SECTORS}};
    for (uint8_t operation = BLOCK_DISCARD; operation <= BLOCK_SECURE_ERASE; operation++) {
        start(&all);
        disk.inspect = note_piece;
        for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
            const uint64_t *range = cases[i / 2];
            memset(disk.data, 0x11, sizeof(disk.data));
            disk.is_synchronous = i % 2;
            piece_count = 0;
            memcpy(before, disk.data, sizeof(before));
            check_equal(run(operation, range[0], range[1]), 0);
            check_pieces(operation, range[0], range[1]);
            check_disk(before, range[0], range[1], operation == BLOCK_WRITE_ZEROES ? 0 : DISCARDED);
            check_equal(ios_of(operation), i + 1);
            disk_expect_idle();
        }
    }
}

/* An alignment that no piece reaches, one past every piece, one that is no power of two. */
static void test_odd_limits(void)
{
    static const struct block_range_limit odd[] = {
        {8, 1000}, {48, 48}, {48, 36}, {1, 1}, {1u << 31, 1u << 30}};
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        start(&(struct block_limits){.discard = odd[i]});
        disk.inspect = note_piece;
        piece_count = 0;
        check_equal(block_discard(disk.device, 3, 60), 0);
        check_pieces(BLOCK_DISCARD, 3, 60);
        check(block_device_limits(disk.device)->discard.max_sectors <= BLOCK_SECTORS_MAX);
    }
}

/* A piece that fails is the last one, and its status is the whole range's. */
static void test_failing_piece(void)
{
    start(&all);
    disk.inspect = note_piece;
    piece_count = 0;
    disk.bad_sector = 100;
    check_equal(-block_discard(disk.device, 0, 400), EIO);
    check_equal(piece_count, 3);
    disk_expect_idle();
}

/* ---- Together with others ----------------------------------------------------------------------------- */

#define CROWD 24u
static struct block_request crowd[CROWD];
static uint8_t crowd_data[CROWD * BLOCK_SECTOR_BYTES];
static uint32_t crowd_done;

static void count_done(struct block_request *request)
{
    check_equal(request->status, BLOCK_OK);
    crowd_done++;
}

/* Neighbours of all kinds in one plug: only the writes among themselves are merged; both schedulers. */
static void test_no_merging(void)
{
    static const uint8_t kinds[] = {BLOCK_WRITE,   BLOCK_WRITE,        BLOCK_DISCARD,
                                    BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_SECURE_ERASE};
    for (unsigned is_full = 0; is_full < 2; is_full++) {
        struct block_plug plug;
        struct block_stats stats;
        start(&all);
        check_equal(block_device_set_scheduler(disk.device, "deadline"), 0);
        disk.room = is_full ? 1 : 8;
        crowd_done = 0;
        block_plug(&plug);
        for (uint32_t i = 0; i < CROWD; i++) {
            uint8_t kind = kinds[i % ARRAY_SIZE(kinds)];
            if (block_is_range(kind))
                block_request_init_range(&crowd[i], disk.device, kind, i, 1, count_done);
            else
                block_request_init(&crowd[i], disk.device, kind, i, crowd_data + i * BLOCK_SECTOR_BYTES,
                                   BLOCK_SECTOR_BYTES, count_done);
            block_submit(&crowd[i]);
        }
        block_unplug(&plug);
        while (disk.held_count > 0)
            disk_complete(disk.held_count);
        check_equal(crowd_done, CROWD);
        block_device_stats(disk.device, &stats);
        check_equal(stats.merges, CROWD / ARRAY_SIZE(kinds));
        check_equal(stats.ios[BLOCK_DISCARD], CROWD / 3);
        check_equal(stats.sectors[BLOCK_SECURE_ERASE], CROWD / 6);
        disk_expect_idle();
    }
}

static uint8_t taken[CROWD];
static uint32_t taken_count;

static void note_taken(const struct block_request *leader)
{
    taken[taken_count++] = leader->operation;
}

/* "deadline" takes ranges for writes: reads go first, and flushes before both. */
static void test_deadline(void)
{
    struct block_plug plug;
    start(&all);
    check_equal(block_device_set_scheduler(disk.device, "deadline"), 0);
    disk.room = 1;
    taken_count = crowd_done = 0;
    disk.inspect = note_taken;
    block_plug(&plug);
    for (uint32_t i = 0; i < 12; i++) {
        if (i < 6)
            block_request_init_range(&crowd[i], disk.device, BLOCK_DISCARD, 2 * i, 1, count_done);
        else if (i < 11)
            block_request_init(&crowd[i], disk.device, BLOCK_READ, 4 * i, crowd_data, BLOCK_SECTOR_BYTES,
                               count_done);
        else
            block_request_init(&crowd[i], disk.device, BLOCK_FLUSH, 0, NULL, 0, count_done);
        block_submit(&crowd[i]);
    }
    block_unplug(&plug);
    while (disk.held_count > 0)
        disk_complete(1);
    check_equal(crowd_done, 12);
    /* The driver left what it had no room for: so the first eight came past the scheduler's choice. */
    uint32_t first_read = 0, first_discard = 0;
    while (taken[first_read] != BLOCK_READ)
        first_read++;
    while (taken[first_discard] != BLOCK_DISCARD)
        first_discard++;
    check(taken[0] == BLOCK_FLUSH && first_read < first_discard);
}

/* ---- Refusals ----------------------------------------------------------------------------------------- */

static void expect_refused(uint8_t operation, uint64_t sector, uint32_t sectors, uint8_t status)
{
    struct block_request request;
    uint32_t submits = disk.submits;
    block_request_init_range(&request, disk.device, operation, sector, sectors, NULL);
    check_equal(-block_submit_and_wait(&request), -block_status_to_error(status));
    check_equal(request.status, status);
    check_equal(disk.submits, submits); /* the device was not asked */
    disk_expect_idle();
}

static void test_refusals(void)
{
    for (uint8_t operation = BLOCK_DISCARD; operation <= BLOCK_SECURE_ERASE; operation++) {
        struct block_limits others = all; /* all but this one */
        struct block_range_limit *own[] = {&others.discard, &others.write_zeroes, &others.secure_erase};
        own[operation - BLOCK_DISCARD]->max_sectors = 0;
        start(&others);
        expect_refused(operation, 0, 8, BLOCK_UNSUPPORTED);
        check_equal(-run(operation, 0, 8), EOPNOTSUPP);
        start(&all);
        expect_refused(operation, 0, 0, BLOCK_OUT_OF_RANGE);
        expect_refused(operation, DISK_SECTORS, 1, BLOCK_OUT_OF_RANGE);
        expect_refused(operation, DISK_SECTORS - 1, 2, BLOCK_OUT_OF_RANGE);
        expect_refused(operation, UINT64_MAX, 2, BLOCK_OUT_OF_RANGE);
        check_equal(-run(operation, DISK_SECTORS - 1, UINT64_MAX), EINVAL);
        check_equal(run(operation, 0, 0), 0);
        disk.device->sector_mask = 7; /* blocks of 4096 bytes */
        expect_refused(operation, 4, 8, BLOCK_OUT_OF_RANGE);
        expect_refused(operation, 8, 4, BLOCK_OUT_OF_RANGE);
        disk.device->is_read_only = true;
        expect_refused(operation, 8, 8, BLOCK_READ_ONLY);
    }
}

/* Whole transfers are cut at multiples of the optimum, where that fits into a request. */
static void test_optimal_transfers(void)
{
    static const uint32_t optima[][2] = {{0, 32}, {6144, 24}, {16384, 32}, {1u << 20, 32}};
    static uint8_t data[96 * BLOCK_SECTOR_BYTES];
    for (size_t i = 0; i < ARRAY_SIZE(optima); i++) {
        start(&(struct block_limits){.optimal_bytes = optima[i][0]});
        disk.inspect = note_piece;
        piece_count = 0;
        check_equal(block_read(disk.device, 0, data, sizeof(data)), 0);
        check_equal(piece_count, 96 / optima[i][1]);
        for (uint32_t piece = 0; piece < piece_count; piece++)
            check_equal(pieces[piece].sectors, optima[i][1]);
    }
}

static void test_lifetime(void)
{
    struct block_lifetime lifetime = {};
    start(&all);
    check_equal(block_get_lifetime(disk.device, &lifetime), 0);
    check(lifetime.pre_eol_info == 1 && lifetime.slc_used == 2 && lifetime.mlc_used == 11);
    start(&(struct block_limits){});
    check_equal(-block_get_lifetime(disk.device, &lifetime), EOPNOTSUPP);
    check_equal(disk.submits, 0);
}

/* ---- The write cache's mode --------------------------------------------------------------------------- */

static int switch_result;
static bool switched_to, had_flush_then;

/* A doubt from elsewhere, while the flush after a switch is under way. */
static void doubt_once(void)
{
    disk.before = NULL;
    block_device_needs_flush(disk.device);
}

static int set_writeback(struct block_device *device, bool is_writeback)
{
    check(!spin_is_locked(&device->lock));
    switched_to = is_writeback;
    had_flush_then = block_device_is_writeback(device);
    return switch_result;
}

/* Whatever happens between, a flush reaches the device until it is sure that none is needed. */
static void test_cache(void)
{
    start(&all);
    check_equal(-block_device_set_writeback(disk.device, false), EOPNOTSUPP);
    struct block_device_ops ops = *disk.device->ops;
    ops.set_writeback = set_writeback;
    disk.device->ops = &ops;

    switch_result = 0;
    check_equal(block_device_set_writeback(disk.device, false), 0);
    check(!switched_to && had_flush_then && !block_device_is_writeback(disk.device));
    check_equal(disk.flushes, 1); /* for what was written before */
    check_equal(block_flush(disk.device), 0);
    check_equal(disk.flushes, 1);

    check_equal(block_device_set_writeback(disk.device, true), 0);
    check(switched_to && had_flush_then && block_device_is_writeback(disk.device));
    check_equal(block_flush(disk.device), 0);
    check_equal(disk.flushes, 2);

    disk.before = doubt_once;
    check_equal(block_device_set_writeback(disk.device, false), 0);
    check(disk.before == NULL && block_device_is_writeback(disk.device));
    check_equal(block_device_set_writeback(disk.device, false), 0);
    check(!block_device_is_writeback(disk.device));
    disk.bad_flush = true;
    check_equal(-block_device_set_writeback(disk.device, false), EIO);
    check(block_device_is_writeback(disk.device));

    switch_result = -EIO;
    check_equal(-block_device_set_writeback(disk.device, false), EIO);
    check(block_device_is_writeback(disk.device));
    disk.device->has_flush = false;
    check_equal(-block_device_set_writeback(disk.device, true), EIO);
    check(block_device_is_writeback(disk.device)); /* who knows */
    disk.device->has_flush = false;
    block_device_needs_flush(disk.device);
    check(block_device_is_writeback(disk.device));
}

int main(void)
{
    test_pieces();
    test_odd_limits();
    test_failing_piece();
    test_no_merging();
    test_deadline();
    test_refusals();
    test_optimal_transfers();
    test_lifetime();
    test_cache();
    return check_finish();
}
