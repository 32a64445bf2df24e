/* SPDX-License-Identifier: MIT */
/* The path of a request through one of the disk's queues.
 *
 *     down  virtio_blk_submit     ring locked once a batch: header, data, status of each; published together,
 *                                 the doorbell after the lock
 *     up    virtio_blk_interrupt  ring locked once: all completions into a list, callbacks on, a second look;
 *                                 then one block_complete
 *
 * A request is one chain (5.2.6): header, data, one status byte. Header and status lie in the slot that goes
 * with the chain's id, so slot and descriptors are taken and freed as one, under one lock. The status is
 * copied before the lock is let go, that is before anyone else can get the slot.
 *
 * R5 with several queues: what one has no room for goes to the others, so what is left for the block layer
 * was refused by each of them, full or down for a reset. The layer counts for the disk as a whole: the next
 * completion of any queue restarts it, and when the last one came before it got back what was left, it sends
 * that again (block_queue_put_back). After a reset there is block_restart.
 *
 * Interrupt or thread context; nothing here sleeps or allocates (R3). */
#include <kernel/log.h>

#include "virtio_blk_internal.h"

static const uint8_t types[] = {
    [BLOCK_READ] = VIRTIO_BLK_T_IN,
    [BLOCK_WRITE] = VIRTIO_BLK_T_OUT,
    [BLOCK_FLUSH] = VIRTIO_BLK_T_FLUSH,
    [BLOCK_GET_ID] = VIRTIO_BLK_T_GET_ID,
    [BLOCK_DISCARD] = VIRTIO_BLK_T_DISCARD,
    [BLOCK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
    [BLOCK_SECURE_ERASE] = VIRTIO_BLK_T_SECURE_ERASE,
    [BLOCK_GET_LIFETIME] = VIRTIO_BLK_T_GET_LIFETIME,
};
_Static_assert(ARRAY_SIZE(types) == BLOCK_OPERATIONS, "a type for each");

void virtio_blk_fill_slot(struct virtio_blk_slot *slot, const struct block_request *request)
{
    bool has_sector = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
    slot->header.type = types[request->operation];
    /* 5.2.6.1: a flush has sector 0; 5.2.6: so have all but reads and writes. */
    slot->header.sector = has_sector ? block_request_device_sector(request) : 0;
    slot->status = VIRTIO_BLK_STATUS_PRESET;
}

/* ---- Down ------------------------------------------------------------------------------------------- */

/* The data of a request that is more than one buffer, or less; how many buffers, and their bytes. */
static uint32_t map_segments(const struct virtqueue *ring, const struct block_request *request,
                             struct virtqueue_buffer *buffers, uint32_t *bytes)
{
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint32_t count = 0;
    *bytes = 0;
    block_segments_begin(&iterator, request);
    while (block_segments_next(&iterator, &segment)) {
        assert(count + 2 < ring->config.chain_max); /* limits.max_segments */
        virtio_blk_set_buffer(&buffers[count++], dma_address(segment.data), segment.bytes);
        *bytes += segment.bytes;
    }
    return count;
}

/* The same for any request, the `id`th. */
static uint32_t map_data(struct virtio_blk_queue *queue, uint32_t id, const struct block_request *request,
                         struct virtqueue_buffer *buffers, uint32_t *bytes)
{
    if (!block_is_range(request->operation))
        return map_segments(queue->ring, request, buffers, bytes);
    *bytes = sizeof(struct virtio_blk_range);
    virtio_blk_set_buffer(buffers, virtio_blk_put_range(queue, id, request), *bytes);
    return 1;
}

/* 0, or -EBUSY: all descriptors or none, so without room nothing has happened. */
static noinline int send_shaped(struct virtio_blk_queue *queue, struct block_request *request)
{
    struct virtqueue *ring = queue->ring;
    struct virtqueue_buffer *buffers = virtqueue_buffers(ring);
    uint32_t id = virtqueue_next_id(ring), bytes;
    uint64_t slot_dma = queue->slots_dma + id * sizeof(struct virtio_blk_slot);
    uint32_t data = map_data(queue, id, request, buffers + 1, &bytes);
    virtio_blk_fill_slot(&queue->slots[id], request);
    virtio_blk_set_buffer(&buffers[0], slot_dma, sizeof(struct virtio_blk_req_header));
    virtio_blk_set_buffer(&buffers[1 + data], slot_dma + offsetof(struct virtio_blk_slot, status), 1);
    if (request->operation == BLOCK_WRITE || block_is_range(request->operation))
        return virtqueue_add(ring, 1 + data, 1, 1, request);
    return virtqueue_add(ring, 1, 1 + data, bytes + 1, request);
}

int virtio_blk_send(struct virtio_blk_queue *queue, struct block_request *request)
{
    if (queue->ring->free_count == 0)
        return -EBUSY;
    return queue->bounce ? virtio_blk_bounce_send(queue, request) : send_shaped(queue, request);
}

static always_inline void set_tag(struct block_request *request, uint32_t order)
{
    ((struct virtio_blk_tag *)request->driver)->order_and_replays = order;
}

/* Sends from `node` on what fits; the first that does not, or NULL. Ring locked. */
static always_inline struct fifo_node *send_all(struct virtio_blk_queue *queue, struct fifo_node *node)
{
    struct virtqueue *ring = queue->ring;
    const struct virtio_blk_place place = virtio_blk_place_of(queue);
    uint32_t order = queue->order;
    for (; node; order++) {
        struct block_request *request = container_of(node, struct block_request, node);
        int error = -EBUSY;
        node = node->next;
        set_tag(request, order);
        if (unlikely(!block_request_is_plain(request))) {
            error = virtio_blk_send(queue, request);
        } else if (likely(ring->free_count > 0)) {
            const struct block_segment *segment = request->segments;
            error = virtio_blk_send_plain(ring, place, request->operation, request->sector,
                                          dma_address(segment->data), segment->bytes, request);
        }
        if (unlikely(error)) {
            node = &request->node;
            break;
        }
    }
    queue->order = order;
    return node;
}

/* The same for a ring of two descriptors. */
static noinline struct fifo_node *send_all_bounced(struct virtio_blk_queue *queue, struct fifo_node *node)
{
    while (node) {
        struct block_request *request = container_of(node, struct block_request, node);
        struct fifo_node *next = node->next;
        set_tag(request, queue->order++);
        if (virtio_blk_send(queue, request) != 0)
            break;
        node = next;
    }
    return node;
}

/* A device that is gone for good answers here; one that is resetting takes nothing. */
static cold void submit_down(struct virtio_blk_queue *queue, enum virtio_blk_state state, struct fifo *batch)
{
    struct fifo refused;
    if (state != VIRTIO_BLK_GONE)
        return;
    fifo_init(&refused);
    fifo_append(&refused, batch);
    fifo_foreach (node, &refused)
        container_of(node, struct block_request, node)->status = BLOCK_GONE;
    block_complete(queue->disk->block, &refused);
}

/* Sends what fits into one queue and leaves the rest in `batch`. True: its doorbell must be rung. */
static always_inline bool send_batch(struct virtio_blk_queue *queue, struct fifo *batch)
{
    struct virtqueue *ring = queue->ring;
    uint64_t flags = spin_lock_irq(&ring->lock);
    enum virtio_blk_state state = queue->state;
    if (unlikely(state != VIRTIO_BLK_UP)) {
        spin_unlock_irq(&ring->lock, flags);
        submit_down(queue, state, batch);
        return false;
    }
    struct fifo_node *left =
        likely(!queue->bounce) ? send_all(queue, batch->head) : send_all_bounced(queue, batch->head);
    bool must_notify = virtqueue_kick_prepare(ring);
    spin_unlock_irq(&ring->lock, flags);
    /* What was sent may be done and gone by now: only what is left is still ours. */
    batch->head = left;
    if (likely(!left))
        batch->tail = &batch->head;
    return must_notify;
}

/* What this CPU's queue, `full`, had no room for: to the others, in turn. */
static noinline void send_elsewhere(struct virtio_blk_queue *full, struct fifo *batch)
{
    struct virtio_blk *disk = full->disk;
    uint32_t first = (uint32_t)(full - disk->queues);
    for (uint32_t i = 1; i < disk->queue_count && !fifo_is_empty(batch); i++) {
        struct virtio_blk_queue *queue = &disk->queues[(first + i) % disk->queue_count];
        if (send_batch(queue, batch))
            virtqueue_notify(queue->ring);
    }
}

void virtio_blk_submit(struct block_device *device, struct fifo *batch)
{
    struct virtio_blk *disk = block_device_driver(device);
    struct virtio_blk_queue *queue = disk->queue_of_cpu[cpu_id()];
    bool must_notify = send_batch(queue, batch);
    if (unlikely(!fifo_is_empty(batch)))
        send_elsewhere(queue, batch);
    if (must_notify)
        virtqueue_notify(queue->ring);
}

/* ---- Up --------------------------------------------------------------------------------------------- */

_Static_assert((int)BLOCK_OK == VIRTIO_BLK_S_OK, "virtio_blk_drain takes the one for the other");

/* What became of a request whose slot does not say ok. */
static noinline uint8_t odd_status(struct virtio_blk_queue *queue, uint32_t id,
                                   const struct block_request *request)
{
    uint8_t status = read_once(queue->slots[id].status);
    if (queue->bounce)
        status = virtio_blk_bounce_finish(queue, id, request, status);
    switch (status) {
    case VIRTIO_BLK_S_OK:
        return BLOCK_OK;
    case VIRTIO_BLK_S_IOERR:
        return BLOCK_FAILED;
    case VIRTIO_BLK_S_UNSUPP:
        return BLOCK_UNSUPPORTED;
    default:
        if (queue->bad_statuses++ == 0)
            log_error(queue->ring->config.name,
                      "completed a request with status 0x%02x, which is none: failed", status);
        return BLOCK_FAILED;
    }
}

static always_inline void drain(struct virtio_blk_queue *queue, struct fifo *done)
{
    struct virtqueue *ring = queue->ring;
    const struct virtio_blk_slot *slots = queue->slots;
    struct fifo_node **tail = done->tail;
    struct virtqueue_used used;
    while ((used = virtqueue_get(ring)).token != NULL) {
        struct block_request *request = used.token;
        uint8_t status = read_once(slots[used.id].status);
        /* A bounced read's status is elsewhere, and the slot's still as it was preset: not ok. */
        if (unlikely(status != VIRTIO_BLK_S_OK))
            status = odd_status(queue, used.id, request);
        request->status = status;
        *tail = &request->node;
        tail = &request->node.next;
    }
    *tail = NULL;
    done->tail = tail;
}

void virtio_blk_drain(struct virtio_blk_queue *queue, struct fifo *done)
{
    drain(queue, done);
}

/* Until there is nothing more, and callbacks are on (R5). */
static always_inline void drain_and_enable(struct virtio_blk_queue *queue, struct fifo *done)
{
    struct virtqueue *ring = queue->ring;
    do {
        virtqueue_callbacks_disable(ring);
        drain(queue, done);
    } while (!queue->is_polling && virtqueue_callbacks_enable(ring));
}

bool virtio_blk_interrupt(void *context)
{
    struct virtio_blk_queue *queue = ((struct virtqueue *)context)->config.context;
    struct virtqueue *ring = context;
    struct fifo done;
    fifo_init(&done);
    spin_lock_interrupts_off(&ring->lock);
    queue->interrupts++;
    if (likely(queue->state == VIRTIO_BLK_UP))
        drain_and_enable(queue, &done);
    else if (queue->state == VIRTIO_BLK_RAW)
        virtio_blk_raw_interrupt(queue);
    spin_unlock_interrupts_off(&ring->lock);
    if (!fifo_is_empty(&done))
        block_complete(queue->disk->block, &done);
    return true;
}

/* Looks for completions without an interrupt. */
static void look(struct virtio_blk_queue *queue)
{
    struct fifo done;
    fifo_init(&done);
    uint64_t flags = spin_lock_irq(&queue->ring->lock);
    if (queue->state == VIRTIO_BLK_UP)
        drain_and_enable(queue, &done);
    spin_unlock_irq(&queue->ring->lock, flags);
    if (!fifo_is_empty(&done))
        block_complete(queue->disk->block, &done);
}

void virtio_blk_poll(struct block_device *device)
{
    struct virtio_blk *disk = block_device_driver(device);
    virtio_blk_foreach_queue (disk, queue) {
        if (virtqueue_has_more(queue->ring))
            look(queue);
    }
}

static void set_is_polling(struct virtio_blk_queue *queue, bool is_polling)
{
    SPIN_SCOPED_IRQ(&queue->ring->lock);
    queue->is_polling = is_polling;
}

void virtio_blk_set_polling(struct block_device *device, bool is_polling)
{
    struct virtio_blk *disk = block_device_driver(device);
    virtio_blk_foreach_queue (disk, queue) {
        set_is_polling(queue, is_polling);
        look(queue); /* R5: also asks for interrupts again, or for none */
    }
}

/* A lost interrupt leaves completions in the ring; a lost doorbell leaves requests there. A doorbell too many
 * is harmless, so a device that is only slow gets one now and then. */
static void look_late(struct virtio_blk_queue *queue)
{
    struct fifo done;
    bool must_notify = false;
    fifo_init(&done);
    uint64_t flags = spin_lock_irq(&queue->ring->lock);
    if (queue->state == VIRTIO_BLK_UP) {
        drain_and_enable(queue, &done);
        must_notify = fifo_is_empty(&done) && !virtqueue_is_idle(queue->ring);
        queue->late_found += !fifo_is_empty(&done);
        queue->late_bells += must_notify;
    }
    spin_unlock_irq(&queue->ring->lock, flags);
    if (must_notify)
        virtqueue_notify(queue->ring);
    if (!fifo_is_empty(&done)) {
        log_warning(queue->ring->config.name, "found completions without an interrupt");
        block_complete(queue->disk->block, &done);
    }
}

void virtio_blk_late(struct block_device *device)
{
    struct virtio_blk *disk = block_device_driver(device);
    virtio_blk_foreach_queue (disk, queue)
        look_late(queue);
}
