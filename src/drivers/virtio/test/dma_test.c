/* SPDX-License-Identifier: MIT */
/* DMA addresses: memory of the direct map has one, nothing else does. What happens to the rest is checked
 * from outside (tests/test_hazards.py). */
#include <drivers/block/block.h>
#include <drivers/virtio/virtqueue.h>
#include <kernel/heap.h>
#include <kernel/string.h>
#include <kernel/test.h>

#define BUFFER_BYTES (4 * PAGE_BYTES)

/* The address that the page tables say, for every byte across page boundaries. */
KTEST(dma_address_is_the_physical_one, KTEST_FAST)
{
    uint8_t *buffer = heap_alloc(BUFFER_BYTES);
    ktest_expect(buffer != NULL);
    for (size_t at = 0; buffer && at < BUFFER_BYTES; at += 511) {
        phys_addr_t address = 0;
        ktest_expect(mmu_translate(buffer + at, &address));
        ktest_expect_equal(dma_address(buffer + at), address);
    }
    heap_free(buffer);
}

/* Hazard 23: a sector to an odd address, half of it in the next page, is the sector that an even one gets. */
static void expect_same_data(struct block_device *device, uint8_t *buffer, uint64_t sector)
{
    uint8_t *straddling = buffer + PAGE_BYTES - BLOCK_SECTOR_BYTES / 2 + 1, *plain = buffer + 3 * PAGE_BYTES;
    struct block_segment halves[2] = {{straddling, BLOCK_SECTOR_BYTES / 2},
                                      {straddling + PAGE_BYTES, BLOCK_SECTOR_BYTES / 2}};
    struct block_request request;
    memset(buffer, 0xee, BUFFER_BYTES);
    ktest_expect_equal(block_read(device, sector, plain, BLOCK_SECTOR_BYTES), 0);
    ktest_expect_equal(block_read(device, sector, straddling, BLOCK_SECTOR_BYTES), 0);
    ktest_expect(memcmp(plain, straddling, BLOCK_SECTOR_BYTES) == 0);
    ktest_expect(straddling[-1] == 0xee && straddling[BLOCK_SECTOR_BYTES] == 0xee);
    memset(buffer, 0xee, 3 * PAGE_BYTES);
    block_request_init(&request, device, BLOCK_READ, sector, straddling, BLOCK_SECTOR_BYTES, NULL);
    request.segments = halves;
    request.segment_count = 2;
    ktest_expect_equal(block_submit_and_wait(&request), 0);
    for (unsigned i = 0; i < 2; i++)
        ktest_expect(memcmp(plain + i * BLOCK_SECTOR_BYTES / 2, halves[i].data, BLOCK_SECTOR_BYTES / 2) == 0);
}

KTEST(dma_to_odd_places, KTEST_FAST)
{
    uint8_t *buffer = heap_alloc(BUFFER_BYTES);
    ktest_expect(buffer != NULL);
    for (struct block_device *device = NULL; buffer && (device = block_device_next(device)) != NULL;) {
        if (strncmp(block_device_name(device), "vd", 2) == 0 && block_device_sectors(device) > 1 &&
            block_device_limits(device)->logical_block_bytes == BLOCK_SECTOR_BYTES)
            expect_same_data(device, buffer, 1);
    }
    heap_free(buffer);
}

/* ---- What has no DMA address -------------------------------------------------------------------------- */

static volatile uint64_t address;

KTEST(provoke_dma_of_a_stack, KTEST_PROVOKE)
{
    uint8_t on_stack[16];
    address = dma_address(on_stack);
}

KTEST(provoke_dma_of_kernel_data, KTEST_PROVOKE)
{
    static uint8_t in_image[16];
    address = dma_address(in_image);
}

KTEST(provoke_dma_of_device_registers, KTEST_PROVOKE)
{
    volatile void *registers = mmu_map_device(0xfee00000, PAGE_BYTES);
    address = dma_address((const void *)registers);
}
