/* SPDX-License-Identifier: MIT */
/* A ring of two descriptors: header, data and status are three, so two of them share a buffer of the driver's
 * (the device does not care where one ends and the next begins, virtio 1.2, 2.7.4):
 *
 *     read    slot header -> device      | bounce: data, then status <- device
 *     write   bounce: header, then data  | slot status <- device    (data: or a range)
 *     flush   slot header -> device      | slot status <- device
 *
 * One bounce buffer an id. All with the ring locked; any context. Slow, and meant to be: it makes the
 * smallest queue that a device may have work, no more. */
#include <kernel/string.h>

#include "virtio_blk_internal.h"

_Static_assert(VIRTIO_BLK_BOUNCE_STRIDE >= sizeof(struct virtio_blk_req_header) + VIRTIO_BLK_BOUNCE_BYTES + 1,
               "data, and a header or a status");

static uint8_t *bounce_of(const struct virtio_blk_queue *queue, uint32_t id)
{
    return queue->bounce + id * VIRTIO_BLK_BOUNCE_STRIDE;
}

/* Copies between the request's segments and `flat`; how many bytes. */
static uint32_t copy(const struct block_request *request, uint8_t *flat, bool is_to_device)
{
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint32_t bytes = 0;
    block_segments_begin(&iterator, request);
    while (block_segments_next(&iterator, &segment)) {
        assert(bytes + segment.bytes <= VIRTIO_BLK_BOUNCE_BYTES); /* limits.max_sectors */
        if (is_to_device)
            memcpy(flat + bytes, segment.data, segment.bytes);
        else
            memcpy(segment.data, flat + bytes, segment.bytes);
        bytes += segment.bytes;
    }
    return bytes;
}

static bool is_input(const struct block_request *request)
{
    return request->operation == BLOCK_READ || request->operation == BLOCK_GET_ID ||
           request->operation == BLOCK_GET_LIFETIME;
}

/* What the device reads behind the header; its bytes. */
static uint32_t put_output(uint8_t *flat, const struct block_request *request)
{
    if (!block_is_range(request->operation))
        return copy(request, flat, true);
    virtio_blk_fill_range((struct virtio_blk_range *)(void *)flat, request);
    return sizeof(struct virtio_blk_range);
}

int virtio_blk_bounce_send(struct virtio_blk_queue *queue, struct block_request *request)
{
    if (!virtqueue_can_add(queue->ring, 2))
        return -EBUSY;
    uint32_t id = virtqueue_next_id(queue->ring);
    struct virtqueue_buffer *buffers = virtqueue_buffers(queue->ring);
    struct virtio_blk_slot *slot = &queue->slots[id];
    uint64_t slot_dma = queue->slots_dma + id * sizeof(*slot);
    uint8_t *bounce = bounce_of(queue, id);
    virtio_blk_fill_slot(slot, request);
    buffers[0].address = slot_dma;
    buffers[0].bytes = sizeof(slot->header);
    buffers[1].address = slot_dma + offsetof(struct virtio_blk_slot, status);
    buffers[1].bytes = 1;
    if (is_input(request)) {
        uint32_t bytes = block_request_device_bytes(request);
        bounce[bytes] = VIRTIO_BLK_STATUS_PRESET;
        buffers[1].address = dma_address(bounce);
        buffers[1].bytes = bytes + 1;
    } else if (request->operation != BLOCK_FLUSH) {
        memcpy(bounce, &slot->header, sizeof(slot->header));
        buffers[0].address = dma_address(bounce);
        buffers[0].bytes =
            (uint32_t)sizeof(slot->header) + put_output(bounce + sizeof(slot->header), request);
    }
    return virtqueue_add(queue->ring, 1, 1, buffers[1].bytes, request);
}

uint8_t virtio_blk_bounce_finish(struct virtio_blk_queue *queue, uint32_t id,
                                 const struct block_request *request, uint8_t status)
{
    uint8_t *bounce = bounce_of(queue, id);
    if (!is_input(request))
        return status;
    status = read_once(bounce[block_request_device_bytes(request)]);
    if (status == VIRTIO_BLK_S_OK)
        copy(request, bounce, false);
    return status;
}
