/* SPDX-License-Identifier: MIT */
/* Whole transfers for callers that want to sleep: one request where it fits into one, else a window of
 * requests kept full, so that the device never waits for us. Thread context, no lock. */
#include "block_internal.h"

#include <kernel/base/bits.h>
#include <kernel/string.h>

#define WINDOW          4u
#define CHUNK_BYTES_MAX KIB(512)

struct transfer {
    struct block_device *device;
    enum block_operation operation;
    uint64_t sector;
    uint8_t *data;
    uint64_t left_bytes;
    uint32_t chunk_bytes;
    struct block_group group;
};

static uint32_t chunk_bytes(const struct block_limits *limits)
{
    uint64_t bytes = MIN((uint64_t)limits->max_sectors << BLOCK_SECTOR_SHIFT,
                         (uint64_t)limits->max_segment_bytes * limits->max_segments);
    bytes = align_down(MIN(bytes, CHUNK_BYTES_MAX), limits->logical_block_bytes);
    if (limits->optimal_bytes && limits->optimal_bytes <= bytes)
        bytes -= bytes % limits->optimal_bytes;
    return (uint32_t)MAX(bytes, (uint64_t)limits->logical_block_bytes);
}

static void submit_next(struct transfer *transfer, struct block_request *request)
{
    uint32_t bytes = (uint32_t)MIN(transfer->left_bytes, transfer->chunk_bytes);
    assert(bytes > 0 && bytes % transfer->device->limits.logical_block_bytes == 0);
    block_request_init(request, transfer->device, transfer->operation, transfer->sector, transfer->data,
                       bytes, block_group_done);
    request->owner = &transfer->group;
    transfer->sector += bytes >> BLOCK_SECTOR_SHIFT;
    transfer->data += bytes;
    transfer->left_bytes -= bytes;
    block_submit(request);
}

static int transfer_in_window(struct transfer *transfer)
{
    struct block_request requests[WINDOW];
    struct block_plug plug;
    struct fifo finished = FIFO_INIT(finished);
    struct fifo_node *node;
    uint32_t in_flight = 0;
    int error = 0;

    block_group_init(&transfer->group);
    block_plug(&plug);
    for (; in_flight < WINDOW && transfer->left_bytes; in_flight++)
        submit_next(transfer, &requests[in_flight]);
    while (in_flight) {
        in_flight -= block_group_reap(&transfer->group, 1, &finished);
        while ((node = fifo_pop(&finished)) != NULL) {
            int result = block_status_to_error(request_of(node)->status);
            error = error ? error : result;
            if (!error && transfer->left_bytes) {
                submit_next(transfer, request_of(node));
                in_flight++;
            }
        }
    }
    block_unplug(&plug);
    assert(error || transfer->left_bytes == 0);
    return error;
}

int block_transfer(struct block_device *device, enum block_operation operation, uint64_t sector, void *data,
                   uint64_t bytes)
{
    struct transfer transfer = {device, operation, sector, data, bytes, chunk_bytes(&device->limits), {}};
    struct block_request request;
    if (operation > BLOCK_WRITE || bytes % device->limits.logical_block_bytes)
        return -EINVAL;
    if (bytes == 0)
        return 0;
    if (bytes > transfer.chunk_bytes) {
        uint64_t capacity = block_device_sectors(device);
        if (sector > capacity || bytes >> BLOCK_SECTOR_SHIFT > capacity - sector)
            return -EINVAL; /* before a part of it is done */
        return transfer_in_window(&transfer);
    }
    block_request_init(&request, device, operation, sector, data, (uint32_t)bytes, NULL);
    return block_submit_and_wait(&request);
}

int block_flush(struct block_device *device)
{
    struct block_request request;
    block_request_init(&request, device, BLOCK_FLUSH, 0, NULL, 0, NULL);
    return block_submit_and_wait(&request);
}

static int sync_one(struct block_device *device)
{
    int error = block_device_is_read_only(device) ? 0 : block_flush(device);
    return error == -EOPNOTSUPP ? 0 : error; /* a device without a write cache */
}

int block_sync(struct block_device *device)
{
    int error = 0;
    if (device)
        return sync_one(device);
    block_device_foreach (each) {
        int one = sync_one(each);
        error = error || block_device_is_gone(each) ? error : one;
    }
    return error;
}

void block_request_init(struct block_request *request, struct block_device *device,
                        enum block_operation operation, uint64_t sector, void *data, uint32_t bytes,
                        void (*done)(struct block_request *))
{
    memset(request, 0, sizeof(*request));
    request->device = device;
    request->operation = (uint8_t)operation;
    request->sector = sector;
    request->sectors = bytes >> BLOCK_SECTOR_SHIFT;
    request->segments = &request->one;
    request->segment_count = data != NULL;
    request->one.data = data;
    request->one.bytes = bytes;
    request->done = done;
}
