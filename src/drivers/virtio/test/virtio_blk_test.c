/* SPDX-License-Identifier: MIT */
/* The virtio disks of this machine. Read-only, so that a disk with data may be there; without any disk these
 * pass and show nothing. Lies, statuses and replay order are tested on the host against a fake device. */
#include <drivers/block/block.h>
#include <kernel/heap.h>
#include <kernel/string.h>
#include <kernel/test.h>

#define REQUESTS      64u
#define REQUEST_BYTES 4096u

static bool is_virtio_disk(const struct block_device *device)
{
    return strncmp(block_device_name(device), "vd", 2) == 0;
}

/* Nothing in flight: all descriptors are free (R2). */
static void expect_idle(struct block_device *device)
{
    block_device_drain(device);
    ktest_expect(block_device_ops(device)->is_idle(device));
}

static uint64_t interrupts_of(struct block_device *device)
{
    uint64_t kicks, interrupts;
    block_device_ops(device)->counts(device, &kicks, &interrupts);
    return interrupts;
}

KTEST(virtio_blk_reads_by_interrupt, KTEST_FAST)
{
    uint8_t *data = heap_alloc_zeroed(2 * REQUEST_BYTES);
    for (struct block_device *device = NULL; data && (device = block_device_next(device)) != NULL;) {
        if (!is_virtio_disk(device) || block_device_sectors(device) < REQUEST_BYTES / BLOCK_SECTOR_BYTES)
            continue;
        uint64_t before = interrupts_of(device);
        memset(data, 0x5a, REQUEST_BYTES);
        memset(data + REQUEST_BYTES, 0xa5, REQUEST_BYTES);
        ktest_expect_equal(block_read(device, 0, data, REQUEST_BYTES), 0);
        ktest_expect_equal(block_read(device, 0, data + REQUEST_BYTES, REQUEST_BYTES), 0);
        ktest_expect(memcmp(data, data + REQUEST_BYTES, REQUEST_BYTES) == 0);
        ktest_expect(interrupts_of(device) > before);
        expect_idle(device);
    }
    ktest_expect(data != NULL);
    heap_free(data);
}

/* Requests in flight over a reset: each ends once, done or to be tried again. */
static void reset_under_load(struct block_device *device, struct block_request *requests, uint8_t *data)
{
    struct block_group group;
    struct block_plug plug;
    struct fifo finished;
    uint64_t blocks = block_device_sectors(device) / (REQUEST_BYTES / BLOCK_SECTOR_BYTES);
    uint32_t count = 0;
    block_group_init(&group);
    fifo_init(&finished);
    block_plug(&plug);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint64_t sector = ktest_random() % blocks * (REQUEST_BYTES / BLOCK_SECTOR_BYTES);
        block_request_init(&requests[i], device, BLOCK_READ, sector, data + i * REQUEST_BYTES, REQUEST_BYTES,
                           block_group_done);
        requests[i].owner = &group;
        block_submit(&requests[i]);
    }
    block_unplug(&plug);
    ktest_expect_equal(block_device_reset(device), 0);
    ktest_expect_equal(block_group_reap(&group, REQUESTS, &finished), REQUESTS);
    fifo_foreach (node, &finished) {
        uint8_t status = container_of(node, struct block_request, node)->status;
        ktest_expect(status == BLOCK_OK || status == BLOCK_RETRY);
        count++;
    }
    ktest_expect_equal(count, REQUESTS);
    expect_idle(device);
}

KTEST(virtio_blk_reset_under_load, KTEST_FAST)
{
    struct block_request *requests = heap_alloc_zeroed(REQUESTS * sizeof(*requests));
    uint8_t *data = heap_alloc(REQUESTS * REQUEST_BYTES);
    for (struct block_device *device = NULL;
         requests && data && (device = block_device_next(device)) != NULL;) {
        if (!is_virtio_disk(device) || block_device_sectors(device) < REQUEST_BYTES / BLOCK_SECTOR_BYTES)
            continue;
        for (unsigned round = 0; round < 20; round++)
            reset_under_load(device, requests, data);
    }
    ktest_expect(requests && data);
    heap_free(data);
    heap_free(requests);
}
