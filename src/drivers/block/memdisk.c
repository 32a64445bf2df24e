/* SPDX-License-Identifier: MIT */
/* A RAM disk of pages that are all taken when the disk is made, since a write must not allocate (R3), but not
 * cleared: that would cost more than the rest of the boot. A sector without its bit in `written` reads as
 * zeroes, whatever its RAM holds. So do a discard and zeroes: they take the bits away, and cost no more than
 * that; after a discard zeroes are read. A secure erase clears the RAM too.
 *
 * It completes within submit, in the submitter's context; the layer makes a loop of that. No lock: like a
 * disk's, the order of overlapping requests in flight is open. */
#include "block_internal.h"

#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/page.h>
#include <kernel/string.h>

#define ERASE_SECTORS_MAX 2048u /* one piece keeps a CPU no longer than a long write */
#define CHUNK_ORDER_MAX   9u    /* 2 MiB: what page.c can hand out without writing to it */

/* Legend: I constant; a atomic. */
struct memdisk {
    unsigned order;    /* I: of every chunk */
    uint64_t chunks;   /* I */
    uint64_t *written; /* I; a: the words */
    void *chunk[];     /* I */
};

static const char id_text[BLOCK_ID_BYTES] = "umbra-ram";

/* The acquire pairs with mark_written: the data is there. */
static bool is_written(const struct memdisk *disk, uint64_t sector)
{
    return __atomic_load_n(&disk->written[sector / 64], __ATOMIC_ACQUIRE) & BIT(sector % 64);
}

static void mark_written(struct memdisk *disk, uint64_t sector, uint64_t count)
{
    for (uint64_t end = sector + count; sector < end; sector++)
        if (!is_written(disk, sector))
            __atomic_fetch_or(&disk->written[sector / 64], BIT(sector % 64), __ATOMIC_RELEASE);
}

/* Bits [first, first + count) of a word, at most to its end. */
static uint64_t mask_of(uint64_t first, uint64_t count)
{
    return (count >= 64 ? UINT64_MAX : BIT(count) - 1) << first;
}

static void unmark(struct memdisk *disk, uint64_t sector, uint64_t count)
{
    for (uint64_t end = sector + count, next; sector < end; sector = next) {
        next = MIN(align_down(sector, 64) + 64, end);
        __atomic_fetch_and(&disk->written[sector / 64], ~mask_of(sector % 64, next - sector),
                           __ATOMIC_RELAXED);
    }
}

static uint8_t *data_at(const struct memdisk *disk, uint64_t offset)
{
    uint64_t chunk_bytes = PAGE_BYTES << disk->order;
    assert(offset / chunk_bytes < disk->chunks);
    return (uint8_t *)disk->chunk[offset / chunk_bytes] + offset % chunk_bytes;
}

/* A piece of one sector. */
static void copy_piece(const struct memdisk *disk, uint64_t offset, void *data, size_t bytes, bool is_write)
{
    debug_assert((offset & (BLOCK_SECTOR_BYTES - 1)) + bytes <= BLOCK_SECTOR_BYTES);
    if (is_write)
        memcpy(data_at(disk, offset), data, bytes);
    else if (is_written(disk, offset >> BLOCK_SECTOR_SHIFT))
        memcpy(data, data_at(disk, offset), bytes);
    else
        memset(data, 0, bytes);
}

static void copy(const struct memdisk *disk, uint64_t offset, struct block_segment segment, bool is_write)
{
    uint8_t *data = segment.data;
    while (segment.bytes) {
        uint32_t at = offset & (BLOCK_SECTOR_BYTES - 1), bytes = MIN(segment.bytes, BLOCK_SECTOR_BYTES - at);
        copy_piece(disk, offset, data, bytes, is_write);
        offset += bytes;
        data += bytes;
        segment.bytes -= bytes;
    }
}

static void erase(const struct memdisk *disk, uint64_t sector, uint64_t count)
{
    for (uint64_t end = sector + count; sector < end; sector++)
        memset(data_at(disk, sector << BLOCK_SECTOR_SHIFT), 0, BLOCK_SECTOR_BYTES);
}

static void serve_range(struct memdisk *disk, const struct block_request *request)
{
    uint64_t sector = block_request_device_sector(request);
    uint32_t count = block_request_device_bytes(request) >> BLOCK_SECTOR_SHIFT;
    if (request->operation == BLOCK_SECURE_ERASE)
        erase(disk, sector, count);
    unmark(disk, sector, count);
}

static void serve(struct memdisk *disk, struct block_request *request)
{
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint64_t start = block_request_device_sector(request) << BLOCK_SECTOR_SHIFT, offset = start;
    bool is_write = request->operation == BLOCK_WRITE;
    request->status = BLOCK_OK;
    if (request->operation == BLOCK_GET_ID) {
        memcpy(request->segments[0].data, id_text, BLOCK_ID_BYTES);
        return;
    }
    if (block_is_range(request->operation))
        serve_range(disk, request);
    if (request->operation > BLOCK_WRITE)
        return;
    block_segments_begin(&iterator, request);
    while (block_segments_next(&iterator, &segment)) {
        copy(disk, offset, segment, is_write);
        offset += segment.bytes;
    }
    if (is_write)
        mark_written(disk, start >> BLOCK_SECTOR_SHIFT, (offset - start) >> BLOCK_SECTOR_SHIFT);
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
    for (uint64_t i = 0; i < disk->chunks && disk->chunk[i]; i++)
        page_free(disk->chunk[i], disk->order);
    heap_free(disk->written);
    heap_free(disk);
}

/* NULL without memory in blocks of that order. */
static struct memdisk *create(uint64_t bytes, unsigned order)
{
    uint64_t chunks = div_round_up(bytes, PAGE_BYTES << order);
    assert(bytes > 0 && bytes % BLOCK_SECTOR_BYTES == 0);
    struct memdisk *disk = heap_alloc_zeroed(sizeof(*disk) + chunks * sizeof(disk->chunk[0]));
    if (!disk)
        return NULL;
    disk->order = order;
    disk->chunks = chunks;
    disk->written = heap_alloc_zeroed(div_round_up(bytes >> BLOCK_SECTOR_SHIFT, 64) * sizeof(uint64_t));
    bool is_whole = disk->written != NULL;
    for (uint64_t i = 0; i < chunks && is_whole; i++)
        is_whole = (disk->chunk[i] = page_alloc(order)) != NULL;
    if (is_whole)
        return disk;
    destroy(disk);
    return NULL;
}

int block_memdisk_create(const char *prefix, uint64_t bytes, struct block_device **device)
{
    struct memdisk *disk = NULL;
    for (unsigned order = MIN(page_order_for(bytes), CHUNK_ORDER_MAX) + 1; order-- > 0 && !disk;)
        disk = create(bytes, order);
    if (!disk)
        return -ENOMEM;
    const struct block_device_config config = {
        .prefix = prefix,
        .where = "memory",
        .ops = &memdisk_ops,
        .driver = disk,
        .sectors = bytes >> BLOCK_SECTOR_SHIFT,
        .limits = {.logical_block_bytes = BLOCK_SECTOR_BYTES,
                   .physical_block_bytes = (uint32_t)PAGE_BYTES,
                   .depth = 256,
                   .max_segments = 256,
                   .max_segment_bytes = 1u << 30,
                   .max_sectors = BLOCK_SECTORS_MAX,
                   .discard = {BLOCK_SECTORS_MAX, 1},
                   .write_zeroes = {BLOCK_SECTORS_MAX, 1},
                   .secure_erase = {ERASE_SECTORS_MAX, 1}},
    };
    int error = block_device_register(&config, device);
    if (error)
        destroy(disk);
    return error;
}
