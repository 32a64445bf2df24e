/* SPDX-License-Identifier: MIT */
/* A RAM disk of zeroed pages, all made when the disk is, since a write must not allocate (R3). It completes
 * within submit, in the submitter's context; the layer makes a loop of that. No lock: like a disk's, the
 * order of overlapping requests in flight is open. */
#include "block_internal.h"

#include <kernel/heap.h>
#include <kernel/page.h>
#include <kernel/string.h>

struct memdisk {
    uint64_t pages; /* I */
    void *page[];   /* I */
};

static const char id_text[BLOCK_ID_BYTES] = "umbra-ram";

static void copy(struct memdisk *disk, uint64_t offset, struct block_segment segment, bool is_write)
{
    uint8_t *data = segment.data;
    while (segment.bytes) {
        uint8_t *page = disk->page[offset >> PAGE_SHIFT];
        uint32_t at = offset & (PAGE_BYTES - 1), bytes = MIN(segment.bytes, (uint32_t)PAGE_BYTES - at);
        assert(offset >> PAGE_SHIFT < disk->pages);
        if (is_write)
            memcpy(page + at, data, bytes);
        else
            memcpy(data, page + at, bytes);
        offset += bytes;
        data += bytes;
        segment.bytes -= bytes;
    }
}

static void serve(struct memdisk *disk, struct block_request *request)
{
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint64_t offset = block_request_device_sector(request) << BLOCK_SECTOR_SHIFT;
    request->status = BLOCK_OK;
    if (request->operation == BLOCK_GET_ID) {
        memcpy(request->segments[0].data, id_text, BLOCK_ID_BYTES);
        return;
    }
    if (request->operation > BLOCK_WRITE)
        return;
    block_segments_begin(&iterator, request);
    while (block_segments_next(&iterator, &segment)) {
        copy(disk, offset, segment, request->operation == BLOCK_WRITE);
        offset += segment.bytes;
    }
}

static void memdisk_submit(struct block_device *device, struct fifo *batch)
{
    struct memdisk *disk = block_device_driver(device);
    struct fifo done = FIFO_INIT(done);
    struct fifo_node *node;
    while ((node = fifo_pop(batch)) != NULL) {
        serve(disk, request_of(node));
        fifo_push(&done, node);
    }
    block_complete(device, &done);
}

static const struct block_device_ops memdisk_ops = {.submit = memdisk_submit};

static void destroy(struct memdisk *disk)
{
    for (uint64_t i = 0; i < disk->pages && disk->page[i]; i++)
        page_free(disk->page[i], 0);
    heap_free(disk);
}

int block_memdisk_create(const char *prefix, uint64_t bytes, struct block_device **device)
{
    uint64_t pages = bytes >> PAGE_SHIFT;
    struct memdisk *disk = heap_alloc_zeroed(sizeof(*disk) + pages * sizeof(disk->page[0]));
    int error = disk ? 0 : -ENOMEM;
    if (error)
        return error;
    disk->pages = pages;
    for (uint64_t i = 0; i < pages && !error; i++) {
        disk->page[i] = page_alloc_zeroed(0);
        error = disk->page[i] ? 0 : -ENOMEM;
    }
    const struct block_device_config config = {
        .prefix = prefix,
        .ops = &memdisk_ops,
        .driver = disk,
        .sectors = bytes >> BLOCK_SECTOR_SHIFT,
        .limits = {BLOCK_SECTOR_BYTES, (uint32_t)PAGE_BYTES, 256, 256, 1u << 30, BLOCK_SECTORS_MAX},
    };
    if (!error)
        error = block_device_register(&config, device);
    if (error)
        destroy(disk);
    return error;
}
