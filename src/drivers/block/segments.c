/* SPDX-License-Identifier: MIT */
/* What of a request's data goes to the device now: the iterator for drivers, and the arithmetic of requests
 * that the device cannot take whole.
 *
 * Such a request (BLOCK_SHAPE_PIECES) goes down piece by piece, the next when the one before is done, so
 * that nothing is allocated:
 *
 *     | done ............ | piece: piece_bytes from (piece_first_segment, piece_offset_bytes) | ... |
 *                         '------------------- total_sectors: what is left ------------------------'
 *
 * No lock: whoever holds the request (submitter, queue, driver) calls. */
#include "block_internal.h"

#include <kernel/base/bits.h>

/* A place in the segments of one request. */
struct cursor {
    uint32_t segment, offset_bytes;
};

/* How far up to `limit_bytes` the device's max_segments reach from `from`; moves `from` there and counts the
 * device's segments. */
static uint32_t walk(const struct block_request *request, struct cursor *from, uint32_t limit_bytes,
                     uint32_t *segments)
{
    const struct block_limits *limits = &request->device->limits;
    uint32_t bytes = 0, count = 0;
    while (bytes < limit_bytes && count < limits->max_segments) {
        assert(from->segment < request->segment_count);
        uint32_t rest = request->segments[from->segment].bytes - from->offset_bytes;
        uint32_t take = MIN(MIN(rest, limits->max_segment_bytes), limit_bytes - bytes);
        bytes += take;
        count++;
        from->offset_bytes += take;
        if (take == rest) {
            from->segment++;
            from->offset_bytes = 0;
        }
    }
    *segments = count;
    return bytes;
}

/* Makes the piece at (piece_first_segment, piece_offset_bytes) as long as the device allows; false when not
 * even one logical block fits into its segments. */
static bool measure_piece(struct block_request *request)
{
    const struct block_limits *limits = &request->device->limits;
    struct cursor at = {request->piece_first_segment, request->piece_offset_bytes}, again = at;
    uint32_t sectors = MIN(request->total_sectors, limits->max_sectors), segments;
    uint32_t bytes = walk(request, &at, sectors << BLOCK_SECTOR_SHIFT, &segments);
    uint32_t whole = (uint32_t)align_down(bytes, limits->logical_block_bytes);
    if (whole != bytes)
        walk(request, &again, whole, &segments);
    request->piece_bytes = whole;
    request->total_segments = (uint16_t)segments;
    return whole != 0;
}

/* The sum of its segments is the submitter's promise, so it is asserted and not refused. */
void block_segments_measure(struct block_request *request)
{
    const struct block_limits *limits = &request->device->limits;
    uint64_t bytes = 0, count = 0;
    for (uint32_t i = 0; i < request->segment_count; i++) {
        uint32_t segment_bytes = request->segments[i].bytes;
        assert(segment_bytes != 0 && request->segments[i].data != NULL);
        bytes += segment_bytes;
        count += segment_bytes <= limits->max_segment_bytes
                     ? 1
                     : div_round_up(segment_bytes, limits->max_segment_bytes);
    }
    assert(bytes == (uint64_t)request->sectors << BLOCK_SECTOR_SHIFT);
    request->total_sectors = request->sectors;
    request->total_segments = (uint16_t)count;
    if (request->sectors <= limits->max_sectors && count <= limits->max_segments)
        return;
    request->shape |= BLOCK_SHAPE_PIECES;
    if (!measure_piece(request)) {
        request->shape = BLOCK_SHAPE_REFUSED;
        request->status = BLOCK_UNSUPPORTED;
    }
}

/* ---- Ranges: there is nothing to map, only to cut -------------------------------------------------------
 */

const struct block_range_limit *block_range_limit(const struct block_device *device, uint8_t operation)
{
    assert(block_is_range(operation));
    switch (operation) {
    case BLOCK_DISCARD:
        return &device->limits.discard;
    case BLOCK_WRITE_ZEROES:
        return &device->limits.write_zeroes;
    default:
        return &device->limits.secure_erase;
    }
}

/* How many of the sectors that are left the next piece has: up to a multiple of the alignment, so that no
 * unit of the device's storage is cut in two, and so kept. */
static uint32_t piece_sectors(const struct block_request *request)
{
    const struct block_range_limit *limit = block_range_limit(request->device, request->operation);
    uint64_t start = request->sector + (request->sectors - request->total_sectors);
    if (request->total_sectors <= limit->max_sectors)
        return request->total_sectors;
    uint32_t over = (uint32_t)((start + limit->max_sectors) % limit->alignment_sectors);
    return over < limit->max_sectors ? limit->max_sectors - over : limit->max_sectors;
}

void block_range_measure(struct block_request *request)
{
    request->shape = BLOCK_SHAPE_NO_MERGE;
    request->total_segments = 0;
    request->total_sectors = request->sectors;
    if (request->sectors <= block_range_limit(request->device, request->operation)->max_sectors)
        return;
    request->shape |= BLOCK_SHAPE_PIECES;
    request->piece_bytes = piece_sectors(request) << BLOCK_SECTOR_SHIFT;
}

static bool range_advance(struct block_request *request)
{
    uint32_t done = request->piece_bytes >> BLOCK_SECTOR_SHIFT;
    assert(done > 0 && done <= request->total_sectors);
    request->total_sectors -= done;
    request->piece_bytes = piece_sectors(request) << BLOCK_SECTOR_SHIFT;
    return request->total_sectors != 0;
}

/* ---- What goes to the device now -------------------------------------------------------------------- */

bool block_piece_advance(struct block_request *request)
{
    if (block_is_range(request->operation))
        return range_advance(request);
    struct cursor at = {request->piece_first_segment, request->piece_offset_bytes};
    uint32_t segments;
    assert(request->piece_bytes != 0);
    uint32_t moved = walk(request, &at, request->piece_bytes, &segments);
    assert(moved == request->piece_bytes);
    request->total_sectors -= request->piece_bytes >> BLOCK_SECTOR_SHIFT;
    request->piece_first_segment = (uint16_t)at.segment;
    request->piece_offset_bytes = at.offset_bytes;
    if (request->total_sectors == 0)
        return false;
    if (measure_piece(request))
        return true;
    request->status = BLOCK_UNSUPPORTED;
    return false;
}

uint64_t block_request_device_sector(const struct block_request *leader)
{
    if (unlikely(leader->shape & BLOCK_SHAPE_PIECES))
        return leader->sector + (leader->sectors - leader->total_sectors);
    return leader->sector;
}

uint32_t block_request_device_bytes(const struct block_request *leader)
{
    if (unlikely(leader->operation == BLOCK_GET_ID))
        return BLOCK_ID_BYTES;
    if (unlikely(leader->operation == BLOCK_GET_LIFETIME))
        return sizeof(struct block_lifetime);
    if (unlikely(leader->shape & BLOCK_SHAPE_PIECES))
        return leader->piece_bytes;
    return leader->total_sectors << BLOCK_SECTOR_SHIFT;
}

void block_segments_begin(struct block_segment_iterator *iterator, const struct block_request *leader)
{
    iterator->request = leader;
    iterator->next_follower = leader->merged_head;
    iterator->segment = leader->piece_first_segment;
    iterator->offset_bytes = leader->piece_offset_bytes;
    iterator->left_bytes = block_is_range(leader->operation) ? 0 : block_request_device_bytes(leader);
    iterator->max_bytes = leader->device->limits.max_segment_bytes;
}

bool block_segments_next(struct block_segment_iterator *iterator, struct block_segment *segment)
{
    if (iterator->left_bytes == 0)
        return false;
    if (iterator->segment == iterator->request->segment_count) {
        assert(iterator->next_follower != NULL);
        iterator->request = request_of(iterator->next_follower);
        iterator->next_follower = iterator->next_follower->next;
        iterator->segment = 0;
    }
    const struct block_segment *from = &iterator->request->segments[iterator->segment];
    uint32_t rest = from->bytes - iterator->offset_bytes;
    uint32_t take = MIN(MIN(rest, iterator->max_bytes), iterator->left_bytes);
    segment->data = (uint8_t *)from->data + iterator->offset_bytes;
    segment->bytes = take;
    iterator->left_bytes -= take;
    iterator->offset_bytes += take;
    if (take == rest) {
        iterator->segment++;
        iterator->offset_bytes = 0;
    }
    return true;
}
