/* SPDX-License-Identifier: MIT */
/* The split ring's files:
 *     vring_split.c           creation, and the path of a chain, both ways
 *     vring_split_in_order.c  another way back, where chains complete in order */
#ifndef VRING_SPLIT_INTERNAL_H
#define VRING_SPLIT_INTERNAL_H

#include <drivers/virtio/vring_split_spec.h>

#include "virtqueue_internal.h"

/* All: the queue's lock, but for I. */
struct split_ring {
    struct virtqueue queue;
    struct virtqueue_id *ids; /* I */
    struct virtq_desc *desc;  /* I: shared with the device, as the next four */
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t *used_event;  /* ours to write, behind the available ring */
    uint16_t *avail_event; /* the device's to write, behind the used ring */
    uint32_t mask;         /* size - 1 */
    /* Indices run on in 32 bits; the ring has their lower 16. */
    uint32_t avail_next;          /* of the next available entry, published or not */
    uint32_t avail_published;     /* published so far */
    uint32_t used_next;           /* of the next element to take */
    uint32_t used_seen;           /* elements below it were seen */
    bool has_event_idx;           /* I */
    struct virtqueue_order order; /* of a queue in order */
};

/* An indirect table is built in struct virtqueue_buffer: the same 16 bytes. */
_Static_assert(sizeof(struct virtqueue_buffer) == sizeof(struct virtq_desc), "2.7.5.3");
_Static_assert(offsetof(struct virtqueue_buffer, bytes) == offsetof(struct virtq_desc, len), "2.7.5");
_Static_assert(offsetof(struct virtqueue_buffer, ring) == offsetof(struct virtq_desc, flags), "2.7.5");
_Static_assert(offsetof(struct virtq_desc, next) == offsetof(struct virtq_desc, flags) + 2, "2.7.5");

static always_inline struct split_ring *ring_of(struct virtqueue *queue)
{
    return container_of(queue, struct split_ring, queue);
}

static inline const struct split_ring *const_ring_of(const struct virtqueue *queue)
{
    return (const struct split_ring *)((const char *)queue - offsetof(struct split_ring, queue));
}

/* vring_split.c: ops, see virtqueue.h. */
int split_direct_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token);
int split_indirect_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token);
bool split_kick_prepare(struct virtqueue *queue);
uint16_t split_position(const struct virtqueue *queue);
bool split_has_more(const struct virtqueue *queue);
void split_callbacks_disable(struct virtqueue *queue);
bool split_callbacks_enable(struct virtqueue *queue);
void split_restart(struct virtqueue *queue);
void split_dump(const struct virtqueue *queue);
void split_destroy(struct virtqueue *queue);
/* Reads used.idx; true when it tells of an element not taken yet. */
bool split_look(struct split_ring *ring);
/* The element at used_next, as it was read, cannot be. */
struct virtqueue_used split_refuse(struct split_ring *ring, uint64_t id_and_bytes);

/* vring_split_in_order.c */
extern const struct virtqueue_ops split_in_order_direct_ops, split_in_order_indirect_ops;

#endif
