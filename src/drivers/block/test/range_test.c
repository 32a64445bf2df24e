/* SPDX-License-Identifier: MIT */
/* Ranges by the sleeping calls, in the kernel: cut, done, and nothing else touched. */
#include "bench_device_internal.h"

#include <kernel/heap.h>
#include <kernel/string.h>
#include <kernel/test.h>

#define BLOCKS 256u
#define BYTES  (BLOCKS * BLOCK_SECTOR_BYTES)

/* Sectors of `value` from `first` on, `count` of them. */
static bool is_filled(const uint8_t *data, uint32_t first, uint32_t count, uint8_t value)
{
    const uint8_t *at = data + first * BLOCK_SECTOR_BYTES;
    return at[0] == value && memcmp(at, at + 1, count * BLOCK_SECTOR_BYTES - 1) == 0;
}

/* The device says what is read after a discard: all bits are set. */
KTEST(block_ranges_are_cut_and_done, KTEST_FAST)
{
    struct block_device *device = block_device_find(bench_device_get());
    uint8_t *data = heap_alloc(BYTES);
    struct block_stats before, after;
    ktest_expect(device && data);
    if (device && data) {
        memset(data, 0x5a, BYTES);
        ktest_expect_equal(block_write(device, 0, data, BYTES), 0);
        block_device_stats(device, &before);
        ktest_expect_equal(block_discard(device, 3, 100), 0); /* 24 at once, aligned to 8: 21, 3 x 24, 7 */
        ktest_expect_equal(block_write_zeroes(device, 120, 81, true), 0); /* 40 at once */
        block_device_stats(device, &after);
        ktest_expect_equal(after.device_requests - before.device_requests, 5 + 3);
        ktest_expect_equal(after.sectors[BLOCK_DISCARD] - before.sectors[BLOCK_DISCARD], 100);
        ktest_expect_equal(block_read(device, 0, data, BYTES), 0);
        ktest_expect(is_filled(data, 0, 3, 0x5a) && is_filled(data, 3, 100, 0xff));
        ktest_expect(is_filled(data, 103, 17, 0x5a) && is_filled(data, 120, 81, 0));
        ktest_expect(is_filled(data, 201, BLOCKS - 201, 0x5a));
        ktest_expect_equal(block_secure_erase(device, 0, 8), -EOPNOTSUPP);
    }
    heap_free(data);
    if (device)
        block_device_put(device);
}
