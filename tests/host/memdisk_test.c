/* SPDX-License-Identifier: MIT */
/* The RAM disk, over pages full of garbage: what was never written, or was given up, reads as zeroes,
 * whatever sizes and places the writes and the segments have; want of memory. */
#include <kernel/page.h>

static void *garbage_page_alloc(unsigned order);
static void counted_page_free(void *block, unsigned order);
#define page_alloc garbage_page_alloc
#define page_free  counted_page_free
#include "../../src/drivers/block/memdisk.c"
#undef page_alloc
#undef page_free

#include <kernel/random.h>
#include <pthread.h>
#include <stdlib.h>

#include "check.h"

#define GARBAGE 0xa5

static struct random random_state;
static struct block_device device;
static unsigned pages_held, order_limit = CHUNK_ORDER_MAX, blocks_limit = UINT32_MAX;
static bool registration_fails;

static void *garbage_page_alloc(unsigned order)
{
    void *block = order <= order_limit && pages_held >> order < blocks_limit ? page_alloc(order) : NULL;
    if (!block)
        return NULL;
    pages_held += 1u << order;
    return memset(block, GARBAGE, PAGE_BYTES << order);
}

static void counted_page_free(void *block, unsigned order)
{
    pages_held -= 1u << order;
    page_free(block, order);
}

/* ---- The block layer as far as the driver sees it ---- */

int block_device_register(const struct block_device_config *config, struct block_device **registered)
{
    if (registration_fails)
        return -ENOSPC;
    device = (struct block_device){
        .ops = config->ops, .sectors = config->sectors, .driver = config->driver, .limits = config->limits};
    *registered = &device;
    return 0;
}

void *block_device_driver(struct block_device *one)
{
    return one->driver;
}

void block_complete(struct block_device *one, struct fifo *batch)
{
    struct fifo_node *node;
    check(one == &device);
    while ((node = fifo_pop(batch)) != NULL)
        check_equal(request_of(node)->status, BLOCK_OK);
}

/* ---- Tests ---- */

/* One request of `bytes`, cut into segments of random lengths. */
static void transfer(struct memdisk *disk, bool is_write, uint64_t sector, uint8_t *data, uint32_t bytes)
{
    struct block_segment segments[64];
    struct block_request request = {.device = &device,
                                    .operation = is_write ? BLOCK_WRITE : BLOCK_READ,
                                    .sector = sector,
                                    .sectors = bytes >> BLOCK_SECTOR_SHIFT,
                                    .segments = segments};
    while (bytes > 0) {
        uint32_t part = (uint32_t)random_below(&random_state, 3000) + 1;
        part = request.segment_count + 1u == ARRAY_SIZE(segments) ? bytes : MIN(part, bytes);
        segments[request.segment_count++] = (struct block_segment){.data = data, .bytes = part};
        data += part;
        bytes -= part;
    }
    block_segments_measure(&request);
    serve(disk, &request);
    check_equal(request.status, BLOCK_OK);
}

/* One request without data; a secure erase leaves its RAM clear. */
static void give_up(struct memdisk *disk, uint8_t operation, uint64_t sector, uint32_t sectors)
{
    struct block_request request = {
        .device = &device, .operation = operation, .sector = sector, .sectors = sectors};
    check(sectors <= block_range_limit(&device, operation)->max_sectors);
    block_range_measure(&request);
    serve(disk, &request);
    check_equal(request.status, BLOCK_OK);
    for (uint64_t i = sector; i < sector + sectors && operation == BLOCK_SECURE_ERASE; i++) {
        const uint8_t *ram = data_at(disk, i << BLOCK_SECTOR_SHIFT);
        check(ram[0] == 0 && memcmp(ram, ram + 1, BLOCK_SECTOR_BYTES - 1) == 0);
    }
}

static struct memdisk *make(uint64_t bytes)
{
    struct block_device *made = NULL;
    check_equal(block_memdisk_create("ram", bytes, &made), 0);
    check(made == &device && device.sectors == bytes >> BLOCK_SECTOR_SHIFT);
    return device.driver;
}

static void agrees_with_an_array(uint64_t bytes)
{
    struct memdisk *disk = make(bytes);
    uint8_t *expected = calloc(1, bytes), *data = malloc(bytes);
    for (int round = 0; round < 600; round++) {
        uint64_t sector = random_below(&random_state, device.sectors);
        uint32_t count = (uint32_t)random_below(&random_state, MIN(device.sectors - sector, 40ull)) + 1;
        uint64_t offset = sector << BLOCK_SECTOR_SHIFT;
        uint32_t length = count << BLOCK_SECTOR_SHIFT;
        if (random_below(&random_state, 8) == 0) {
            uint32_t most = (uint32_t)MIN(device.sectors - sector, 300ull);
            count = (uint32_t)random_below(&random_state, most) + 1;
            memset(expected + offset, 0, count << BLOCK_SECTOR_SHIFT);
            give_up(disk, (uint8_t)(BLOCK_DISCARD + random_below(&random_state, 3)), sector, count);
        } else if (random_below(&random_state, 4) == 0) {
            memset(expected + offset, round | 1, length);
            transfer(disk, true, sector, expected + offset, length);
        } else {
            transfer(disk, false, sector, data, length);
            check(memcmp(data, expected + offset, length) == 0);
        }
    }
    free(expected);
    free(data);
    destroy(disk);
    check_equal(pages_held, 0);
}

static void falls_back_to_smaller_blocks(void)
{
    for (order_limit = 0; order_limit < CHUNK_ORDER_MAX; order_limit += 3) {
        struct memdisk *disk = make(MIB(5));
        check_equal(disk->order, order_limit);
        check_equal(disk->chunks << order_limit, align_up(MIB(5), PAGE_BYTES << order_limit) >> PAGE_SHIFT);
        destroy(disk);
    }
    order_limit = CHUNK_ORDER_MAX;
}

static void want_of_memory_leaks_nothing(void)
{
    struct block_device *made;
    blocks_limit = 1;
    check_equal(block_memdisk_create("ram", MIB(5), &made), -ENOMEM);
    check_equal(pages_held, 0);
    blocks_limit = UINT32_MAX;
    registration_fails = true;
    check_equal(block_memdisk_create("ram", MIB(5), &made), -ENOSPC);
    check_equal(pages_held, 0);
    registration_fails = false;
}

#define NEIGHBOUR_ROUNDS 64u
static pthread_barrier_t both_ready;

/* Every second sector, from the one that the thread is given. */
static void *write_every_second(void *first)
{
    uint8_t ones[BLOCK_SECTOR_BYTES];
    struct memdisk *disk = device.driver;
    memset(ones, 1, sizeof(ones));
    pthread_barrier_wait(&both_ready);
    for (uint64_t sector = (uintptr_t)first; sector < device.sectors; sector += 2) {
        copy_piece(disk, sector << BLOCK_SECTOR_SHIFT, ones, sizeof(ones), true);
        mark_written(disk, sector, 1);
    }
    return NULL;
}

/* Two writers of neighbouring sectors: neither may undo the other's. */
static void neighbours_do_not_disturb(void)
{
    uint8_t sector[BLOCK_SECTOR_BYTES];
    pthread_barrier_init(&both_ready, NULL, 2);
    for (unsigned round = 0; round < NEIGHBOUR_ROUNDS; round++) {
        pthread_t other;
        struct memdisk *disk = make(MIB(1));
        check(pthread_create(&other, NULL, write_every_second, (void *)1) == 0);
        write_every_second(NULL);
        pthread_join(other, NULL);
        for (uint64_t i = 0; i < device.sectors; i++) {
            copy_piece(disk, i << BLOCK_SECTOR_SHIFT, sector, sizeof(sector), false);
            check(sector[0] == 1 && sector[BLOCK_SECTOR_BYTES - 1] == 1);
        }
        destroy(disk);
    }
}

int main(void)
{
    random_init(&random_state, 9);
    agrees_with_an_array(PAGE_BYTES);
    agrees_with_an_array(KIB(100));
    agrees_with_an_array(MIB(5));
    falls_back_to_smaller_blocks();
    want_of_memory_leaks_nothing();
    neighbours_do_not_disturb();
    return check_finish();
}
