/* SPDX-License-Identifier: MIT */
/* The packed ring's files:
 *     vring_packed.c           the path of a chain, both ways
 *     vring_packed_in_order.c  another way back, where chains complete in order
 *     vring_packed_create.c    creation, restart, and what people see */
#ifndef VRING_PACKED_INTERNAL_H
#define VRING_PACKED_INTERNAL_H

#include <arch/io.h>
#include <drivers/virtio/vring_packed_spec.h>

#include "virtqueue_internal.h"

/* What a used descriptor tells, as struct virtqueue_used has it: its length above its id, and above the id
 * its flags, of which two are looked at. */
#define TOLD_ID    0xffffu
#define TOLD_FLAGS ((uint64_t)(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) << 16)
#define TOLD_MASK  (0xffffffffull << 32 | TOLD_FLAGS | TOLD_ID)

#define FLAGS(flags) ((uint64_t)(flags) << 48) /* in len_id_flags */
#define EVENT(flags) ((uint32_t)(flags) << 16) /* in desc_flags */

/* Of a chain, by its id. In memory that no device sees. */
struct packed_id {
    void *token;
    union {
        struct {
            uint32_t zero, end_bytes; /* one more than the writable bytes of the chain */
        };
        uint64_t told_end; /* what is told of the chain is below; 0: no chain in flight has the id */
    };
    uint64_t table;        /* indirect: DMA address of the table that belongs to the id */
    uint64_t len_id_flags; /* indirect: of a descriptor for that table, without AVAIL and USED */
    uint32_t shape;        /* indirect: of the table, as last written; 0: none yet */
    uint16_t length;       /* descriptors of the chain; indirect: always 1 */
    uint16_t next;         /* in the free list, VIRTQUEUE_NO_ID at its end; in order: around the circle */
    uint64_t padding[3];
};
_Static_assert(sizeof(struct packed_id) == 64, "indexed by a shift on the request path");

/* Lock legend: I constant after creation; the rest the queue's lock. */
struct packed_ring {
    struct virtqueue queue;
    struct packed_id *ids;          /* I */
    struct pvirtq_desc *desc, *end; /* I: shared with the device */
    struct pvirtq_desc *avail_at;   /* where the next descriptor is built */
    struct pvirtq_desc *avail_stop; /* but not there */
    struct pvirtq_desc first;       /* of the batch */
    struct pvirtq_desc *batch;      /* where `first` goes */
    uint64_t avail_flags;           /* of the next descriptor: the driver's wrap counter */
    uint32_t avail_event;           /* EVENT(RING_EVENT_FLAGS_DESC) and the same wrap counter */
    uint32_t batch_event;           /* the same of `first` */
    struct pvirtq_desc *used_at;    /* the next used descriptor */
    uint64_t used_flags;            /* TOLD_FLAGS of it: the device's wrap counter */
    uint32_t used_event;            /* EVENT() of how interrupts are asked for, and the same wrap counter */
    uint32_t id_end;                /* ids below it are believed: size, or 0 while broken */
    struct pvirtq_event_suppress *driver_event; /* I: ours to write */
    struct pvirtq_event_suppress *device_event; /* I: the device's to write */
    bool has_event_idx;                         /* I */
    struct virtqueue_order order;               /* of a queue in order */
};

_Static_assert(VIRTQUEUE_SIZE_MAX <= VIRTQ_PACKED_SIZE_MAX && VIRTQUEUE_SIZE_MAX <= TOLD_ID, "2.8");
/* An indirect table is built in struct virtqueue_buffer: the same 16 bytes. */
_Static_assert(sizeof(struct virtqueue_buffer) == sizeof(struct pvirtq_desc), "2.8.7");
_Static_assert(offsetof(struct virtqueue_buffer, bytes) == offsetof(struct pvirtq_desc, len), "2.8.13");
_Static_assert(offsetof(struct virtqueue_buffer, ring) == offsetof(struct pvirtq_desc, id), "2.8.13");

static always_inline struct packed_ring *ring_of(struct virtqueue *queue)
{
    return container_of(queue, struct packed_ring, queue);
}

static inline const struct packed_ring *const_ring_of(const struct virtqueue *queue)
{
    return (const struct packed_ring *)((const char *)queue - offsetof(struct packed_ring, queue));
}

/* How to ask for an interrupt at the next used descriptor: without EVENT_IDX the position does not count. */
static inline uint32_t next_event(const struct packed_ring *ring)
{
    return ring->used_event + (uint32_t)(ring->used_at - ring->desc);
}

/* What the descriptor at used_at tells, in one read: what is checked is what is used. With flags that are not
 * a used descriptor's, the lower half is a number past all ids. */
static always_inline uint64_t packed_look(const struct packed_ring *ring, const struct pvirtq_desc *used_at)
{
    uint64_t word = read_once(used_at->len_id_flags);
    uint64_t told = ((word << 32 | word >> 32) ^ ring->used_flags) & TOLD_MASK;
    /* The flags before what the chain was filled with; pairs with the device's barrier between that and the
     * flags (2.8.22). */
    barrier_load();
    return told;
}

/* The chain whose used descriptor is at `used_at` had `length` descriptors: the next one is behind them. */
static always_inline void packed_move_used(struct packed_ring *ring, struct pvirtq_desc *used_at,
                                           uint32_t length)
{
    struct pvirtq_desc *next = used_at + length;
    if (unlikely(next >= ring->end)) {
        next -= ring->queue.size;
        ring->used_flags ^= TOLD_FLAGS; /* 2.8.1 */
        ring->used_event ^= VIRTQUEUE_WRAP;
    }
    ring->used_at = next;
}

/* vring_packed.c */
extern const struct virtqueue_ops packed_direct_ops, packed_indirect_ops;
int packed_direct_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token);
int packed_indirect_add(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token);
bool packed_kick_prepare(struct virtqueue *queue);
uint16_t packed_position(const struct virtqueue *queue);
bool packed_has_more(const struct virtqueue *queue);
void packed_callbacks_disable(struct virtqueue *queue);
bool packed_callbacks_enable(struct virtqueue *queue);
/* The descriptor is not a used one, or its id is none. */
struct virtqueue_used packed_get_nothing(struct packed_ring *ring, uint64_t told);
/* The id is not in flight, or the length does not fit. True: the id is believed, but there is no length. */
bool packed_is_without_length(struct packed_ring *ring, uint64_t told);

/* vring_packed_in_order.c */
extern const struct virtqueue_ops packed_in_order_direct_ops, packed_in_order_indirect_ops;

/* vring_packed_create.c: ops, see virtqueue.h. */
void packed_restart(struct virtqueue *queue);
void packed_dump(const struct virtqueue *queue);
void packed_destroy(struct virtqueue *queue);

#endif
