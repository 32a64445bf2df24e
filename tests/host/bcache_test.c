/* SPDX-License-Identifier: MIT */
/* The buffer cache over the real block layer and a scripted disk: what is written gets to the disk before the
 * flush that is to keep it, errors reach who asked and nobody else, eviction loses nothing. */
#include <fs/bcache.h>

#include "block_machine.h"

#define BLOCKS        (DISK_SECTORS * BLOCK_SECTOR_BYTES / BCACHE_BLOCK_BYTES)
#define BLOCK_SECTORS (BCACHE_BLOCK_BYTES / BLOCK_SECTOR_BYTES)

static uint32_t writes_at_flush;

/* The disk's view of a flush: nothing that it is for may still be on its way. */
static void inspect(const struct block_request *request)
{
    if (request->operation != BLOCK_FLUSH)
        return;
    check_equal(disk.held_count, 0);
    writes_at_flush = disk.writes;
}

static void begin(void)
{
    disk_start(8, 64, 1u << 20, 2048);
    disk.inspect = inspect;
    check(bcache_configure(0)); /* the least: BCACHE_BUFFERS_MIN buffers */
}

static void end(void)
{
    struct bcache_stats stats;
    bcache_stats(&stats);
    check(stats.dirty == 0 && stats.referenced == 0 && stats.buffers <= BCACHE_BUFFERS_MIN);
    bcache_shutdown();
    disk_expect_idle();
}

static void fill(uint64_t block, uint8_t value)
{
    struct buffer *buffer;
    check_equal(bcache_get_new(disk.device, block, &buffer), 0);
    memset(buffer_data(buffer), value, BCACHE_BLOCK_BYTES);
    bcache_mark_dirty(buffer);
    bcache_put(buffer);
}

static bool is_on_disk(uint64_t block, uint8_t value)
{
    const uint8_t *data = disk.data + block * BCACHE_BLOCK_BYTES;
    return data[0] == value && memcmp(data, data + 1, BCACHE_BLOCK_BYTES - 1) == 0;
}

/* Reads a block through the cache; its first byte, or a negative errno. */
static int first_byte(uint64_t block)
{
    struct buffer *buffer;
    int result = bcache_get(disk.device, block, &buffer);
    if (result)
        return result;
    result = *(uint8_t *)buffer_data(buffer);
    bcache_put(buffer);
    return result;
}

/* Hazard 37: first all writes, then the flush, and both before sync returns. */
static void test_flush_comes_last(void)
{
    begin();
    for (uint32_t count = 0; count <= 9; count += 3) {
        uint32_t writes = disk.writes, flushes = disk.flushes;
        for (uint32_t i = 0; i < count; i++)
            fill(7 * i, (uint8_t)(count + i)); /* not neighbours: a request each */
        check_equal(bcache_sync(disk.device), 0);
        check_equal(disk.flushes, flushes + 1);
        check_equal(writes_at_flush, writes + count);
        for (uint32_t i = 0; i < count; i++)
            check(is_on_disk(7 * i, (uint8_t)(count + i)));
    }
    end();
}

/* Hazard 41: more dirty blocks than buffers. */
static void test_eviction_loses_nothing(void)
{
    begin();
    for (uint32_t block = 0; block < BLOCKS; block++)
        fill(block, (uint8_t)block);
    check_equal(bcache_sync(disk.device), 0);
    for (uint32_t block = 0; block < BLOCKS; block++) {
        check(is_on_disk(block, (uint8_t)block));
        check_equal(first_byte(block), (uint8_t)block);
    }
    end();
}

/* Hazard 41: a write that fails is reported by this sync, is not taken for done by the next one, and gets to
 * the disk when that can be written again. */
static void test_failed_write_stays_dirty(void)
{
    begin();
    fill(3, 0x33);
    fill(60, 0x60);
    disk.bad_sector = 3 * BLOCK_SECTORS + 5;
    for (unsigned i = 0; i < 2; i++)
        check_equal(-bcache_sync(disk.device), EIO);
    check(is_on_disk(60, 0x60) && !is_on_disk(3, 0x33));
    check_equal(first_byte(3), 0x33);
    disk.bad_sector = NO_SECTOR;
    check_equal(bcache_sync(disk.device), 0);
    check(is_on_disk(3, 0x33));
    end();
}

/* A read that fails is no cached block, not even of zeros. */
static void test_failed_read_is_not_kept(void)
{
    begin();
    disk.bad_sector = 5 * BLOCK_SECTORS;
    check_equal(-first_byte(5), EIO);
    check_equal(-first_byte(5), EIO);
    disk.bad_sector = NO_SECTOR;
    check_equal(first_byte(5), disk.data[5 * BCACHE_BLOCK_BYTES]);
    disk.bad_sector = 9 * BLOCK_SECTORS; /* read ahead, in one request with good neighbours */
    bcache_prefetch(disk.device, 8, 3);
    disk_complete(disk.held_count);
    while (disk.held_count > 0)
        disk_complete(1);
    check_equal(-first_byte(9), EIO);
    check_equal(first_byte(8), disk.data[8 * BCACHE_BLOCK_BYTES]);
    check_equal(first_byte(10), disk.data[10 * BCACHE_BLOCK_BYTES]);
    end();
}

/* Hazard 41: what was written past the cache is seen after bcache_drop, also where a read ahead was on its
 * way meanwhile. */
static void test_drop(void)
{
    begin();
    check_equal(first_byte(2), disk.data[2 * BCACHE_BLOCK_BYTES]);
    memset(disk.data + 2 * BCACHE_BLOCK_BYTES, 0x5a, BCACHE_BLOCK_BYTES);
    bcache_drop(disk.device);
    check_equal(first_byte(2), 0x5a);
    bcache_prefetch(disk.device, 20, 1);
    check_equal(disk.held_count, 1);
    bcache_drop(disk.device);
    memset(disk.data + 20 * BCACHE_BLOCK_BYTES, 0x11, BCACHE_BLOCK_BYTES);
    disk_complete(1);
    memset(disk.data + 20 * BCACHE_BLOCK_BYTES, 0xa5, BCACHE_BLOCK_BYTES);
    check_equal(first_byte(20), 0xa5);
    end();
}

/* Hazard 53: the cache forgets a device with its last reference: what it could not write is lost, and nothing
 * is left that another device at the same address could be given. */
static void test_device_that_goes(void)
{
    struct bcache_stats stats;
    struct buffer *buffer;
    begin();
    check_equal(first_byte(2), disk.data[2 * BCACHE_BLOCK_BYTES]);
    check_equal(bcache_get(disk.device, 7, &buffer), 0);
    bcache_mark_dirty(buffer);
    bcache_put(buffer);
    block_device_get(disk.device);
    disk.is_gone = true;
    block_device_unregister(disk.device);
    check_equal(-bcache_sync(disk.device), ENODEV);
    check_equal(first_byte(2),
                disk.data[2 * BCACHE_BLOCK_BYTES]); /* for who has it open, it is still there */
    check_equal(-first_byte(3), ENODEV);
    bcache_stats(&stats);
    check_equal(stats.dirty, 1);
    uint32_t submits = disk.submits;
    block_device_put(disk.device);
    bcache_stats(&stats);
    check(stats.dirty == 0 && stats.referenced == 0);
    check_equal(disk.submits, submits);
    bcache_shutdown();
}

int main(void)
{
    test_flush_comes_last();
    test_eviction_loses_nothing();
    test_failed_write_stays_dirty();
    test_failed_read_is_not_kept();
    test_drop();
    test_device_that_goes();
    return check_finish();
}
