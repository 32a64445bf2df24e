/* SPDX-License-Identifier: MIT */
/* A virtqueue: descriptors out, completions back. What drivers call; the ring's format (split or packed)
 * is behind virtqueue_ops, and the doorbell behind the transport.
 *
 *     lock
 *         while there is something to send and virtqueue_can_add:
 *             write addresses and lengths into virtqueue_buffers(); virtqueue_add
 *         must_notify = virtqueue_kick_prepare
 *     unlock
 *     if must_notify: virtqueue_notify              (the doorbell is slow: outside the lock)
 *
 *     in the interrupt, locked:
 *         do { virtqueue_callbacks_disable; while (virtqueue_get ...) ... } while
 * (virtqueue_callbacks_enable);
 *
 * Every verb but virtqueue_notify and virtqueue_has_more is called with queue->lock held; any context.
 *
 * Ids: each chain in flight has one, below `size`; virtqueue_next_id tells which one the next add takes. A
 * driver may so keep what belongs to a request (a header, a status byte) in an array by id. An id is in use
 * until the caller of virtqueue_get unlocks.
 *
 * R4: the device's answers are checked against private copies. At a lie the queue becomes broken: `broken`
 * is called once, nothing more comes out, and only a reset of the device helps.
 * R2: free_count + descriptors in flight == size. */
#ifndef DRIVERS_VIRTIO_VIRTQUEUE_H
#define DRIVERS_VIRTIO_VIRTQUEUE_H

#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/irq.h>
#include <kernel/spinlock.h>

#define VIRTQUEUE_SIZE_MIN 2u
#define VIRTQUEUE_SIZE_MAX 1024u
#define VIRTQUEUE_NO_ID    0xffffu

struct virtqueue;
struct virtio_device;

/* One piece of a chain, in a place that may be the descriptor itself: so addresses are written once. */
struct virtqueue_buffer {
    uint64_t address; /* DMA address: dma_address() */
    uint32_t bytes;
    uint32_t ring; /* the ring's own */
};

/* What virtqueue_get found; two registers. */
struct virtqueue_used {
    void *token; /* NULL: nothing more */
    union {
        struct {
            uint32_t id, bytes; /* bytes: written by the device, at most what it was allowed to */
        };
        uint64_t id_and_bytes;
    };
};

struct virtqueue_ops {
    const char *name; /* "split", "packed, indirect" */
    int (*add)(struct virtqueue *queue, uint32_t shape, uint32_t writable_bytes, void *token);
    bool (*kick_prepare)(struct virtqueue *queue);
    uint16_t (*position)(const struct virtqueue *queue);
    struct virtqueue_used (*get)(struct virtqueue *queue);
    bool (*has_more)(const struct virtqueue *queue);
    void (*callbacks_disable)(struct virtqueue *queue);
    bool (*callbacks_enable)(struct virtqueue *queue);
    void *(*detach)(struct virtqueue *queue);
    void (*restart)(struct virtqueue *queue);
    bool (*is_consistent)(const struct virtqueue *queue);
    void (*dump)(const struct virtqueue *queue);
    void (*destroy)(struct virtqueue *queue);
};

struct virtqueue_config {
    char name[32];      /* "virtio0-queue0": for the log and the interrupt */
    uint16_t index;     /* the device's number for it */
    uint16_t size;      /* entries, within VIRTQUEUE_SIZE_*; a power of two for a split ring */
    uint16_t chain_max; /* the most buffers of one add; at most `size` (2.7.5.3.1, 2.8.17) */
    bool has_indirect, has_event_idx, is_in_order; /* negotiated */
    /* The queue's interrupt; interrupt context, no lock held. True: always, as the device was asked. */
    irq_handler *interrupt;
    /* The device lied. Lock held: note it and let a thread do the rest. */
    void (*broken)(struct virtqueue *queue);
    void *context; /* the argument of `interrupt`, and the driver's */
};

/* Lock legend: I constant after creation; q this lock; t the transport's. */
struct virtqueue {
    const struct virtqueue_ops *ops;  /* I */
    struct spinlock lock;             /* order: a leaf; but for the log, nothing is taken inside */
    uint16_t size;                    /* q: entries in use; at most config.size, for which there is memory */
    uint16_t free_id;                 /* q: first of the free list */
    uint16_t free_count;              /* q: descriptors */
    struct virtqueue_buffer *buffers; /* I: where chains are built: a table an id, or one scratch array */
    uint32_t buffer_stride;           /* I: tables are so far apart; 0: one scratch array */
    bool is_broken;                   /* q */
    void (*notify)(struct virtqueue *queue); /* I: one of the transport's */
    volatile void *doorbell;                 /* t */
    struct virtio_device *device;            /* I: NULL in tests */
    uint64_t kicks;                          /* q: times that kick_prepare asked for the doorbell */
    uint64_t added, gotten;                  /* q: chains published, and seen completed, since creation */
    const char *broken_why;                  /* q: NULL unless broken */
    phys_addr_t descriptor_area, driver_area, device_area; /* I: for the transport (4.1.4.3) */
    struct irq *irq;                                       /* t: its own vector, or NULL */
    struct virtqueue_config config;                        /* I */
};

/* A queue without chains. -ENOMEM. Thread context. */
must_check int vring_split_create(const struct virtqueue_config *config, struct virtqueue **queue);
must_check int vring_packed_create(const struct virtqueue_config *config, struct virtqueue **queue);

/* Nothing is in flight (R2). */
static inline bool virtqueue_is_idle(const struct virtqueue *queue)
{
    return queue->free_count == queue->size;
}

/* ---- Adding ----------------------------------------------------------------------------------------- */

/* At least one chain of `buffers` buffers fits. */
static inline bool virtqueue_can_add(const struct virtqueue *queue, uint32_t buffers)
{
    return queue->free_count >= (queue->buffer_stride ? 1 : buffers);
}
/* The id of the next chain; only while at least one descriptor is free. */
static inline uint32_t virtqueue_next_id(const struct virtqueue *queue)
{
    debug_assert(queue->free_count > 0);
    return queue->free_id;
}
/* Where the next chain's buffers go: room for chain_max. Only while at least one descriptor is free. */
static inline struct virtqueue_buffer *virtqueue_buffers(const struct virtqueue *queue)
{
    return queue->buffers + queue->free_id * queue->buffer_stride;
}
/* Sends the chain in virtqueue_buffers(): first those that the device reads, then those that it writes, of
 * `writable_bytes` together; at least one. At least one descriptor must be free. `token` (not NULL) comes
 * back from get or detach. 0; -EBUSY: not enough room for all, and nothing was changed. The device may not
 * see it before kick_prepare. A broken queue takes chains too, for detach. */
must_check static inline int virtqueue_add(struct virtqueue *queue, uint32_t readable, uint32_t writable,
                                           uint32_t writable_bytes, void *token)
{
    assert_spin_locked(&queue->lock);
    /* As one word: a constant where the caller's are. */
    return queue->ops->add(queue, readable | writable << 16, writable_bytes, token);
}
/* Publishes what was added, all at once; true when the device wants the doorbell for it. */
static inline bool virtqueue_kick_prepare(struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    return queue->ops->kick_prepare(queue);
}
/* How far the driver has come: where it will make the next chain available. In bit 15 the packed ring's wrap
 * counter, or all 16 bits of a split ring's index (2.9). */
static inline uint16_t virtqueue_position(const struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    return queue->ops->position(queue);
}
/* Rings the doorbell, without the lock. A function, so that a breakpoint is in one place. */
void virtqueue_notify(struct virtqueue *queue);

/* ---- Completions ------------------------------------------------------------------------------------ */

/* One completed chain, whose descriptors are free again. */
static inline struct virtqueue_used virtqueue_get(struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    return queue->ops->get(queue);
}
/* A look without the lock, for polling: something may be there. */
static inline bool virtqueue_has_more(const struct virtqueue *queue)
{
    return queue->ops->has_more(queue);
}
/* Asks for no interrupts; some may still come. */
static inline void virtqueue_callbacks_disable(struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    queue->ops->callbacks_disable(queue);
}
/* Asks for an interrupt at the next completion. True: one is there already, perhaps without an interrupt;
 * look again (R5). */
must_check static inline bool virtqueue_callbacks_enable(struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    return queue->ops->callbacks_enable(queue);
}

/* ---- After a reset, and for people ------------------------------------------------------------------ */

/* Takes any one chain back without the device, which must have been reset (R6); NULL: none in flight. */
static inline void *virtqueue_detach(struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    return queue->ops->detach(queue);
}
/* As freshly created, and whole again. Nothing is in flight. */
static inline void virtqueue_restart(struct virtqueue *queue)
{
    assert_spin_locked(&queue->lock);
    assert(virtqueue_is_idle(queue));
    queue->ops->restart(queue);
}
/* The same, of another size. */
static inline void virtqueue_resize(struct virtqueue *queue, uint16_t size)
{
    assert_spin_locked(&queue->lock);
    assert(virtqueue_is_idle(queue) && size >= queue->config.chain_max && size <= queue->config.size);
    queue->size = queue->free_count = size;
    queue->ops->restart(queue);
}
/* R2, counted: walks the free list and all chains. For tests. */
static inline bool virtqueue_is_consistent(const struct virtqueue *queue)
{
    return queue->ops->is_consistent(queue);
}
/* Its state in the log. The lock need not be held: a panic may ask. */
static inline void virtqueue_dump(const struct virtqueue *queue)
{
    queue->ops->dump(queue);
}
/* Nothing is in flight, the device does not know it any more. */
static inline void virtqueue_destroy(struct virtqueue *queue)
{
    assert(virtqueue_is_idle(queue));
    queue->ops->destroy(queue);
}

/* ---- DMA -------------------------------------------------------------------------------------------- */

#ifdef __KERNEL__
#define DMA_ADDRESS_BITS 46 /* the direct map's extent: what follows it is stacks and device registers */
#else
#define DMA_ADDRESS_BITS 63
#endif

/* The DMA address of memory in the direct map, in line since it is on the request path. What lies elsewhere
 * (a stack, kernel data) is a bug of ours in every build. */
static always_inline uint64_t dma_address(const void *pointer)
{
    uint64_t address = (uint64_t)((uintptr_t)pointer - (uintptr_t)direct_map(0));
    assert(address >> DMA_ADDRESS_BITS == 0);
    return address;
}

#endif
