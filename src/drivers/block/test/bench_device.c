/* SPDX-License-Identifier: MIT */
/* A small disk in memory that lies on demand, to see that iobench and stress notice. It completes within
 * ops->submit. Registered once, by the first test that wants it; one test at a time uses it. */
#include "bench_device_internal.h"

#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#define NO_SECTOR UINT64_MAX

static struct {
    struct block_device *device;
    uint8_t *bytes;
    enum bench_lie lie;  /* a: written by the test, read by submit */
    uint32_t every;      /* a: requests of the lie's kind from one lie to the next */
    uint32_t seen, told; /* a: such requests, lies */
    uint64_t bad_sector; /* a: reads of it fail, also when a merged request comes again in parts */
} disk;

static void copy(struct block_request *leader, bool is_write, uint64_t first_byte)
{
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint8_t *at = disk.bytes + first_byte;
    block_segments_begin(&iterator, leader);
    while (block_segments_next(&iterator, &segment)) {
        assert(at + segment.bytes <= disk.bytes + BENCH_DEVICE_BYTES);
        if (is_write)
            memcpy(at, segment.data, segment.bytes);
        else
            memcpy(segment.data, at, segment.bytes);
        at += segment.bytes;
    }
}

static bool is_time_for(enum bench_lie lie)
{
    if (read_once(disk.lie) != lie || __atomic_add_fetch(&disk.seen, 1, __ATOMIC_RELAXED) % disk.every != 0)
        return false;
    __atomic_add_fetch(&disk.told, 1, __ATOMIC_RELAXED);
    return true;
}

static bool is_bad(const struct block_request *leader, uint64_t first_sector)
{
    uint64_t bad;
    if (is_time_for(BENCH_LIE_READ_ERROR))
        __atomic_store_n(&disk.bad_sector, first_sector, __ATOMIC_RELAXED);
    bad = __atomic_load_n(&disk.bad_sector, __ATOMIC_RELAXED);
    return bad >= first_sector && bad - first_sector < leader->total_sectors;
}

/* After a discard all bits are set; or, as a lie, a neighbour's block is read. */
static void serve_range(const struct block_request *leader, uint64_t first_byte)
{
    uint32_t bytes = block_request_device_bytes(leader);
    bool is_zero = leader->operation == BLOCK_WRITE_ZEROES;
    if (is_zero && is_time_for(BENCH_LIE_NO_ZEROES))
        return;
    memset(disk.bytes + first_byte, is_zero ? 0 : 0xff, bytes);
    if (!is_zero && is_time_for(BENCH_LIE_FOREIGN_DISCARD))
        memmove(disk.bytes + first_byte,
                disk.bytes + (first_byte >= BENCH_DEVICE_BYTES / 2 ? 0 : BENCH_DEVICE_BYTES / 2), bytes);
    if (!is_zero && is_time_for(BENCH_LIE_LONG_DISCARD) && first_byte + bytes < BENCH_DEVICE_BYTES)
        memset(disk.bytes + first_byte + bytes, 0xff, BLOCK_SECTOR_BYTES);
}

static enum block_status serve(struct block_request *leader)
{
    uint64_t first_byte = block_request_device_sector(leader) << BLOCK_SECTOR_SHIFT;
    if (leader->operation == BLOCK_READ) {
        if (is_bad(leader, first_byte >> BLOCK_SECTOR_SHIFT))
            return BLOCK_FAILED;
        if (is_time_for(BENCH_LIE_NOTHING_READ))
            return BLOCK_OK;
        copy(leader, false, first_byte);
    } else if (leader->operation == BLOCK_WRITE) {
        if (is_time_for(BENCH_LIE_LOST_WRITE))
            return BLOCK_OK;
        copy(leader, true, first_byte);
        if (is_time_for(BENCH_LIE_FLIPPED_BIT))
            disk.bytes[first_byte + BLOCK_SECTOR_BYTES - 1] ^= 0x10;
        if (is_time_for(BENCH_LIE_MISDIRECTED_WRITE))
            copy(leader, true,
                 first_byte >= BENCH_DEVICE_BYTES / 2 ? 0 : first_byte + BENCH_DEVICE_BYTES / 2);
    } else if (block_is_range(leader->operation)) {
        serve_range(leader, first_byte);
    }
    return BLOCK_OK;
}

static void bench_device_submit(struct block_device *device, struct fifo *batch)
{
    struct fifo done = FIFO_INIT(done);
    struct fifo_node *node;
    while ((node = fifo_pop(batch)) != NULL) {
        struct block_request *leader = container_of(node, struct block_request, node);
        leader->status = serve(leader);
        fifo_push(&done, node);
    }
    block_complete(device, &done);
}

static const struct block_device_ops bench_device_ops = {.submit = bench_device_submit};

const char *bench_device_get(void)
{
    if (!disk.device) {
        struct block_device_config config = {.prefix = "lie",
                                             .ops = &bench_device_ops,
                                             .sectors = BENCH_DEVICE_BYTES >> BLOCK_SECTOR_SHIFT,
                                             .limits = {.logical_block_bytes = 512,
                                                        .physical_block_bytes = 512,
                                                        .depth = 8,
                                                        .max_segments = 4,
                                                        .max_segment_bytes = 65536,
                                                        .max_sectors = 64,
                                                        .discard = {24, 8},
                                                        .write_zeroes = {40, 1}},
                                             .has_flush = true};
        disk.bytes = heap_alloc_zeroed(BENCH_DEVICE_BYTES);
        if (!disk.bytes || block_device_register(&config, &disk.device))
            return NULL;
    }
    bench_device_lie(BENCH_LIE_NONE, 0);
    return block_device_name(disk.device);
}

void bench_device_lie(enum bench_lie lie, uint32_t every)
{
    write_once(disk.lie, BENCH_LIE_NONE);
    disk.every = MAX(every, 1u);
    disk.seen = disk.told = 0;
    disk.bad_sector = NO_SECTOR;
    __atomic_store_n(&disk.lie, lie, __ATOMIC_RELEASE);
}

bool bench_device_has_lied(void)
{
    return __atomic_load_n(&disk.told, __ATOMIC_RELAXED) > 0;
}
