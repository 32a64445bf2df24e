/* SPDX-License-Identifier: MIT */
/* The buffer cache and a disk with bad blocks: what was read ahead, what was asked for, what was written.
 * Every request completes at once, and the device counts them. */
#include "check.h"
#include "../../tools/host/block_file.h"

#include <fs/bcache.h>

#include <errno.h>
#include <string.h>

#define BLOCKS     64u
#define BAD        5u
#define FIRST_BYTE 0x40 /* a block is full of this plus its number */

static uint8_t disk[BLOCKS * BCACHE_BLOCK_BYTES];
static struct block_device *device;

static void begin(void)
{
    for (uint32_t block = 0; block < BLOCKS; block++)
        memset(disk + block * BCACHE_BLOCK_BYTES, (int)(FIRST_BYTE + block), BCACHE_BLOCK_BYTES);
    device = block_memory_create("disk", disk, sizeof(disk));
    check(device && bcache_configure(2 * sizeof(disk)));
}

static void end(void)
{
    bcache_shutdown();
    block_file_close(device);
}

static void break_block(uint64_t block)
{
    block_file_fail(device, block * 8 + 3, 1, BLOCK_FAILED);
}

static void heal(void)
{
    block_file_fail(device, 0, 0, BLOCK_OK);
}

/* Gets a block and looks at it; the error, with `reads` requests on the way. */
static int get(uint64_t block, uint64_t reads)
{
    struct buffer *buffer;
    uint64_t before = block_file_requests(device, BLOCK_READ);
    int error = bcache_get(device, block, &buffer);
    check_equal(block_file_requests(device, BLOCK_READ) - before, reads);
    if (!error) {
        const uint8_t *data = buffer_data(buffer);
        check(data[0] == FIRST_BYTE + block && memcmp(data, data + 1, BCACHE_BLOCK_BYTES - 1) == 0);
        bcache_put(buffer);
    }
    return error;
}

static uint64_t reads_failed(void)
{
    struct bcache_stats stats;
    bcache_stats(&stats);
    check_equal(stats.referenced, 0);
    return stats.reads_failed;
}

/* It is nobody's error as long as nobody asks, and is asked for again by each who does. */
static void read_ahead_over_a_bad_block(void)
{
    begin();
    break_block(BAD);
    bcache_prefetch(device, 0, 8);
    check_equal(block_file_requests(device, BLOCK_READ), 8);
    check_equal(reads_failed(), 1);
    for (uint64_t block = 0; block < 8; block++)
        if (block != BAD)
            check_equal(get(block, 0), 0);
    check_equal(bcache_sync(device), 0);
    for (unsigned i = 0; i < 2; i++)
        check_equal(-get(BAD, 1), EIO);
    bcache_prefetch(device, 0, 8); /* only what is not there */
    check_equal(block_file_requests(device, BLOCK_READ), 8 + 2 + 1);
    check_equal(reads_failed(), 4);
    heal();
    check_equal(get(BAD, 1), 0);
    check_equal(get(BAD, 0), 0);
    end();
}

static void read_ahead_stops_at_the_end(void)
{
    begin();
    bcache_prefetch(device, BLOCKS - 2, 8);
    check_equal(block_file_requests(device, BLOCK_READ), 2);
    check_equal(get(BLOCKS - 1, 0), 0);
    check_equal(-get(BLOCKS, 0), EINVAL);
    end();
}

/* Who overwrites a block does not need to read it. */
static void new_block_over_a_bad_one(void)
{
    struct buffer *buffer = NULL;
    begin();
    break_block(BAD);
    check_equal(-get(BAD, 1), EIO);
    check_equal(bcache_get_new(device, BAD, &buffer), 0);
    check_equal(block_file_requests(device, BLOCK_READ), 1);
    if (buffer) {
        memset(buffer_data(buffer), (int)(FIRST_BYTE + BAD), BCACHE_BLOCK_BYTES);
        bcache_put(buffer);
    }
    check_equal(get(BAD, 0), 0);
    end();
}

static void change(uint64_t block, int byte)
{
    struct buffer *buffer;
    check_equal(bcache_get(device, block, &buffer), 0);
    memset(buffer_data(buffer), byte, BCACHE_BLOCK_BYTES);
    bcache_mark_dirty(buffer);
    bcache_put(buffer);
}

/* B4: the sync that fails says so and keeps the data; it does not keep others from the disk. */
static void write_to_a_bad_block(void)
{
    struct bcache_stats stats;
    begin();
    change(BAD, 1);
    change(BAD + 1, 2);
    break_block(BAD);
    for (unsigned i = 0; i < 2; i++)
        check_equal(-bcache_sync(device), EIO);
    bcache_drop(device);
    bcache_stats(&stats);
    check_equal(stats.dirty, 1);
    check(disk[BAD * BCACHE_BLOCK_BYTES] == FIRST_BYTE + BAD && disk[(BAD + 1) * BCACHE_BLOCK_BYTES] == 2);
    heal();
    check_equal(bcache_sync(device), 0);
    check_equal(disk[BAD * BCACHE_BLOCK_BYTES], 1);
    check_equal(block_file_requests(device, BLOCK_WRITE), 4);
    end();
}

int main(void)
{
    read_ahead_over_a_bad_block();
    read_ahead_stops_at_the_end();
    new_block_over_a_bad_one();
    write_to_a_bad_block();
    return check_finish();
}
