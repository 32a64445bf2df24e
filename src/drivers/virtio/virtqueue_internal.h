/* SPDX-License-Identifier: MIT */
/* What the ring formats share: private state by id, the notification formula, the end of trust. */
#ifndef VIRTQUEUE_INTERNAL_H
#define VIRTQUEUE_INTERNAL_H

#include <drivers/virtio/virtqueue.h>
#include <kernel/trace.h>

/* Of one descriptor, or of the chain that begins with it. In memory that no device sees. */
struct virtqueue_id {
    void *token;             /* NULL: no chain in flight begins here */
    uint32_t writable_bytes; /* of the chain */
    uint16_t next;           /* in the free list, or in the chain; VIRTQUEUE_NO_ID at the free list's end */
    uint16_t length;         /* descriptors of the chain, at its head; 0 while free; indirect: always 1 */
    uint32_t shape;          /* of the table that belongs to the id, as last written; 0: none yet */
    uint32_t padding[3];
};
_Static_assert(sizeof(struct virtqueue_id) == 32, "indexed by a shift on the request path");

/* VIRTIO_F_IN_ORDER: chains complete in the order in which they were added, so the ids of those in flight
 * follow each other around the circle. Of a batch the device tells only the last. */
struct virtqueue_order {
    uint32_t oldest; /* id of the chain that completes next; free_id when none is in flight */
    uint32_t left;   /* chains of the batch told of last that were not taken yet; written under the lock */
    uint32_t bytes;  /* told of the last of them; into the others the device wrote all (2.7.9, 2.8.8) */
};

/* What follows an id in a queue without chains: the free list, or in order the circle. */
static inline uint16_t virtqueue_id_behind(const struct virtqueue *queue, uint32_t id)
{
    if (id + 1 < queue->size)
        return (uint16_t)(id + 1);
    return queue->config.is_in_order ? 0 : VIRTQUEUE_NO_ID;
}

/* Is the trace on? On the host there is none. */
static always_inline bool virtqueue_is_traced(void)
{
#ifdef __KERNEL__
    return unlikely(trace_is_on);
#else
    return false;
#endif
}

/* virtio 1.2, 2.7.10: the other side asked to hear of the step past `event`. Has the last move of the index,
 * from `old` to `new`, made that step? In 16 bits, so that it holds across the wrap. */
static always_inline bool virtqueue_need_event(uint16_t event, uint16_t new, uint16_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* A position in a packed ring, as its event structures tell it (2.8.14): the offset of a descriptor, and in
 * bit 15 the wrap counter. */
#define VIRTQUEUE_OFFSET 0x7fffu
#define VIRTQUEUE_WRAP   0x8000u

/* 2.8.10: the other side asked to hear of the descriptor at `event`. Is it among the `count` from `first` on?
 * Where the wrap counters differ, it is on the other side of the ring's end. */
static always_inline bool virtqueue_packed_need_event(uint32_t event, uint32_t first, uint32_t count,
                                                      uint32_t size)
{
    uint32_t distance = (event & VIRTQUEUE_OFFSET) - (first & VIRTQUEUE_OFFSET);
    return distance + ((event ^ first) & VIRTQUEUE_WRAP ? size : 0) < count;
}

/* R4: the device said what cannot be. Once for each restart; lock held. */
cold void virtqueue_break(struct virtqueue *queue, const char *why, uint32_t value);

#endif
