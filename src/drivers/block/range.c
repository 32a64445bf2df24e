/* SPDX-License-Identifier: MIT */
/* Discard, write zeroes and secure erase of whole ranges, and the device's lifetime, for callers that want to
 * sleep. One request at a time: the device is the one who works. Thread context, no lock. */
#include "block_internal.h"

#include <kernel/base/bits.h>
#include <kernel/heap.h>

/* Of one request; a multiple of any alignment that is a power of two. */
#define RANGE_SECTORS_MAX (1u << 31)

void block_request_init_range(struct block_request *request, struct block_device *device,
                              enum block_operation operation, uint64_t sector, uint32_t sectors,
                              void (*done)(struct block_request *))
{
    assert(block_is_range((uint8_t)operation));
    block_request_init(request, device, operation, sector, NULL, 0, done);
    request->sectors = sectors;
}

static int whole_range(struct block_device *device, enum block_operation operation, uint64_t sector,
                       uint64_t sectors, bool may_unmap)
{
    uint64_t capacity = block_device_sectors(device);
    int error = 0;
    if (sector > capacity || sectors > capacity - sector)
        return -EINVAL; /* before a part of it is done */
    while (sectors > 0 && error == 0) {
        struct block_request request;
        uint32_t count = (uint32_t)MIN(sectors, RANGE_SECTORS_MAX);
        block_request_init_range(&request, device, operation, sector, count, NULL);
        request.may_unmap = may_unmap;
        error = block_submit_and_wait(&request);
        sector += count;
        sectors -= count;
    }
    return error;
}

int block_discard(struct block_device *device, uint64_t sector, uint64_t sectors)
{
    return whole_range(device, BLOCK_DISCARD, sector, sectors, false);
}

int block_write_zeroes(struct block_device *device, uint64_t sector, uint64_t sectors, bool may_unmap)
{
    return whole_range(device, BLOCK_WRITE_ZEROES, sector, sectors, may_unmap);
}

int block_secure_erase(struct block_device *device, uint64_t sector, uint64_t sectors)
{
    return whole_range(device, BLOCK_SECURE_ERASE, sector, sectors, false);
}

int block_get_lifetime(struct block_device *device, struct block_lifetime *lifetime)
{
    struct block_request request;
    struct block_lifetime *data = heap_alloc_zeroed(sizeof(*data)); /* no stack: the device writes it */
    if (!data)
        return -ENOMEM;
    block_request_init(&request, device, BLOCK_GET_LIFETIME, 0, data, sizeof(*data), NULL);
    int error = block_submit_and_wait(&request);
    if (error == 0)
        *lifetime = *data;
    heap_free(data);
    return error;
}
