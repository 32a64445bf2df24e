/* SPDX-License-Identifier: MIT */
/* The virtio disk, shared by its files:
 *     virtio_blk.c        finding, configuration, registration, what people ask
 *     virtio_blk_queue.c  the path of a request, both ways
 *     virtio_blk_setup.c  how many queues, and their memory
 *     virtio_blk_range.c  requests with a range instead of data
 *     virtio_blk_cache.c  the write cache's mode
 *     virtio_blk_bounce.c requests on a ring of two descriptors
 *     virtio_blk_reset.c  reset and replay
 *     virtio_blk_raw.c    mode=raw
 *     virtio_blk_ring.c   the rings' size
 *
 * As many queues as the device has, up to one a CPU. A queue is a ring with slots, lock and interrupt of its
 * own: CPU n submits to queue n % count, whose vector is on CPU n, so that CPUs share nothing but the device.
 * Only what does not fit there goes to the others.
 *
 * Locks: a ring's (queue->ring->lock), taken by submitters and by the interrupt; never two of them, and never
 * held over a call of the block layer. disk->mutex: one reset or raw run at a time; taken before a ring's. */
#ifndef VIRTIO_BLK_INTERNAL_H
#define VIRTIO_BLK_INTERNAL_H

#include <arch/cpu.h>
#include <drivers/block/block.h>
#include <drivers/virtio/virtio.h>
#include <drivers/virtio/virtio_blk_spec.h>
#include <kernel/mutex.h>
#include <kernel/work.h>

#define VIRTIO_BLK_SEGMENTS_MAX 64u
#define VIRTIO_BLK_SECTORS_MAX  2048u
/* No device writes this status (hazard: a completion without one must not look like success). */
#define VIRTIO_BLK_STATUS_PRESET 0xffu

/* What a request in flight shares with the device, by the id of its chain. */
struct virtio_blk_slot {
    struct virtio_blk_req_header header;
    uint8_t status;
    uint8_t padding[15];
};
_Static_assert(sizeof(struct virtio_blk_slot) == 32, "indexed by a shift on the request path");

/* In struct block_request, field `driver`, while the request is here. */
struct virtio_blk_tag {
    union {
        struct {
            uint32_t order;   /* of submission to its queue, wrapping: replays keep it */
            uint32_t replays; /* so far */
        };
        uint64_t order_and_replays;
    };
};
_Static_assert(sizeof(struct virtio_blk_tag) <= BLOCK_DRIVER_BYTES, "it lives there");

/* UP -> DOWN     reset starts, or the ring was lied to     (virtio_blk_reset.c, virtio_blk_broken)
 * DOWN -> UP     reset done, replays sent                  (virtio_blk_reset.c)
 * DOWN -> GONE   it cannot be started again, or goes away  (virtio_blk_reset.c)
 * UP <-> RAW     the bare ring is driven by one thread     (virtio_blk_raw.c)
 * UP <-> DOWN    another queue is RAW, or rings are resized (virtio_blk_pause) */
enum virtio_blk_state { VIRTIO_BLK_UP, VIRTIO_BLK_DOWN, VIRTIO_BLK_RAW, VIRTIO_BLK_GONE };

struct virtio_blk_raw;

/* Lock legend: I constant after probe; q the ring's lock; m disk->mutex. Two cache lines each. */
struct virtio_blk_queue {
    struct virtqueue *ring;          /* I */
    struct virtio_blk_slot *slots;   /* I: one an id, then a range each; shared with the device */
    uint64_t slots_dma;              /* I */
    uint8_t *bounce;                 /* I: NULL unless the ring is too short for a request */
    struct virtio_blk *disk;         /* I */
    enum virtio_blk_state state;     /* q */
    bool is_polling;                 /* q */
    uint32_t order;                  /* q: the next request's */
    uint64_t interrupts;             /* q */
    struct virtio_blk_raw *raw;      /* q: while RAW */
    uint64_t bad_statuses;           /* q: completions with a status that is none */
    uint64_t late_found, late_bells; /* q: completions without interrupt; doorbells rung again */
    struct fifo replays;             /* m: what was in flight when a reset began */
    uint8_t padding[16];
};
_Static_assert(sizeof(struct virtio_blk_queue) == 2 * CACHE_LINE_BYTES, "queues share no cache line");

struct virtio_blk {
    struct virtio_device *device;                   /* I */
    struct block_device *block;                     /* I: NULL until registered */
    struct virtio_blk_queue *queue_of_cpu[CPU_MAX]; /* I: where each CPU submits */
    struct virtio_blk_queue *queues;                /* I: queue_count of them */
    uint32_t queue_count, device_queues;            /* I: used, of so many */
    struct block_limits limits;                     /* I */
    bool is_read_only, has_cache_mode;              /* I */
    bool is_writeback;                              /* m: the cache's mode, as it is or shall be */
    bool is_leaving;                                /* a: the device goes away */
    struct mutex mutex;
    struct work config_work, reset_work;
    bool has_timed_out;       /* a: why a reset is wanted */
    uint32_t resets;          /* m, as the next two; others only look */
    uint64_t replays;         /* requests sent again after a reset */
    uint64_t given_up;        /* requests not sent again */
    uint32_t resets_in_vain;  /* m: in a row, without a completion between */
    uint64_t gotten_at_reset; /* m */
};

#define virtio_blk_foreach_queue(disk, queue)                                                                \
    for (struct virtio_blk_queue * (queue) = (disk)->queues; (queue) < (disk)->queues + (disk)->queue_count; \
         (queue)++)

/* virtio_blk_setup.c: how many of the device's queues to use; all have as many entries as queue 0 has. */
uint32_t virtio_blk_count_queues(struct virtio_device *device, uint32_t device_queues, uint32_t queue_size);
/* Creates disk->queues, by its limits and queue_count. 0 or an errno. */
must_check int virtio_blk_create_queues(struct virtio_blk *disk, uint32_t queue_size);
/* The memory of queues whose rings are gone, or never were. */
void virtio_blk_free_queues(struct virtio_blk *disk);

/* virtio_blk.c: sets the device going after a restart. What changed in its configuration meanwhile was told
 * to nobody, so it is read again (R5). */
void virtio_blk_ready(struct virtio_blk *disk);

/* virtio_blk_queue.c: ops and callbacks, see block.h and virtqueue.h. */
void virtio_blk_submit(struct block_device *device, struct fifo *batch);
bool virtio_blk_interrupt(void *context);
void virtio_blk_poll(struct block_device *device);
void virtio_blk_set_polling(struct block_device *device, bool is_polling);
void virtio_blk_late(struct block_device *device);
/* Sends one request, its tag kept. Ring locked. 0 or -EBUSY. */
int virtio_blk_send(struct virtio_blk_queue *queue, struct block_request *request);
/* Takes what the device completed; ring locked. */
void virtio_blk_drain(struct virtio_blk_queue *queue, struct fifo *done);

/* virtio_blk_range.c: the limits of those that the device has and that make sense; after one line, none. */
void virtio_blk_range_limits(struct virtio_device *device, struct block_limits *limits);
void virtio_blk_fill_range(struct virtio_blk_range *range, const struct block_request *request);
/* The same into the memory of the chain `id`; its DMA address. Ring locked. */
uint64_t virtio_blk_put_range(struct virtio_blk_queue *queue, uint32_t id,
                              const struct block_request *request);

/* virtio_blk_cache.c: what the cache does, while probing; the same mode again, after a reset and before
 * DRIVER_OK (mutex held); and ops->set_writeback. */
void virtio_blk_cache_init(struct virtio_blk *disk);
void virtio_blk_cache_restore(struct virtio_blk *disk);
int virtio_blk_set_writeback(struct block_device *block, bool is_writeback);

/* virtio_blk_bounce.c */
#define VIRTIO_BLK_BOUNCE_BYTES  32768u /* of data */
#define VIRTIO_BLK_BOUNCE_STRIDE (VIRTIO_BLK_BOUNCE_BYTES + 64u)
int virtio_blk_bounce_send(struct virtio_blk_queue *queue, struct block_request *request);
/* The status of a completed request, given its slot's; data brought back; before the id is free for others.
 */
uint8_t virtio_blk_bounce_finish(struct virtio_blk_queue *queue, uint32_t id,
                                 const struct block_request *request, uint8_t status);

/* Type and sector into the slot, the status preset. */
void virtio_blk_fill_slot(struct virtio_blk_slot *slot, const struct block_request *request);

/* ---- The common request: one buffer, read or written ------------------------------------------------- */

_Static_assert((int)BLOCK_READ == VIRTIO_BLK_T_IN && (int)BLOCK_WRITE == VIRTIO_BLK_T_OUT,
               "virtio_blk_send_plain takes the one for the other");

/* Where a queue's slots are: kept in registers while a batch is sent. */
struct virtio_blk_place {
    uint8_t *slots;
    uint64_t slots_dma;
};
static inline struct virtio_blk_place virtio_blk_place_of(const struct virtio_blk_queue *queue)
{
    return (struct virtio_blk_place){(uint8_t *)queue->slots, queue->slots_dma};
}

static always_inline void virtio_blk_set_buffer(struct virtqueue_buffer *buffer, uint64_t address,
                                                uint32_t bytes)
{
    buffer->address = address;
    buffer->bytes = bytes;
}

/* In line for the request path and for mode=raw. Ring locked, at least one descriptor free. 0 or -EBUSY: all
 * descriptors or none, so without room nothing has happened. */
must_check static always_inline int virtio_blk_send_plain(struct virtqueue *ring,
                                                          struct virtio_blk_place place, uint8_t operation,
                                                          uint64_t sector, uint64_t data_dma, uint32_t bytes,
                                                          void *token)
{
    uint64_t offset = virtqueue_next_id(ring) * sizeof(struct virtio_blk_slot);
    struct virtio_blk_slot *slot = (struct virtio_blk_slot *)(place.slots + offset);
    struct virtqueue_buffer *buffers = virtqueue_buffers(ring);
    uint64_t slot_dma = place.slots_dma + offset;
    debug_assert(operation == BLOCK_READ || operation == BLOCK_WRITE);
    slot->header.type = operation; /* header.reserved stays 0: nobody writes it */
    slot->header.sector = sector;
    slot->status = VIRTIO_BLK_STATUS_PRESET;
    virtio_blk_set_buffer(&buffers[0], slot_dma, sizeof(slot->header));
    virtio_blk_set_buffer(&buffers[1], data_dma, bytes);
    virtio_blk_set_buffer(&buffers[2], slot_dma + offsetof(struct virtio_blk_slot, status), 1);
    if (operation == BLOCK_WRITE)
        return virtqueue_add(ring, 2, 1, 1, token);
    return virtqueue_add(ring, 1, 2, bytes + 1, token);
}

/* ---- Reset and raw ------------------------------------------------------------------------------------ */

/* virtio_blk_reset.c */
int virtio_blk_reset(struct block_device *device);
void virtio_blk_reset_work(struct work *work);
void virtio_blk_timed_out(struct block_device *device);
/* Takes all queues, if they have nothing to do, from the block layer: DOWN. 0 or -EBUSY. Mutex held. */
must_check int virtio_blk_pause(struct virtio_blk *disk);
/* UP again. Of what was submitted meanwhile, block_restart tells. */
void virtio_blk_unpause(struct virtio_blk *disk);
/* All its queues are. Any context. */
bool virtio_blk_is_up(struct virtio_blk *disk);
/* For the device that goes away: GONE for good, and what was in flight completed. Ends a raw run. */
void virtio_blk_shut_down(struct virtio_blk *disk);
/* The ring's `broken`. */
void virtio_blk_broken(struct virtqueue *ring);
/* Stops the device, lets `detached` have each token in flight, starts it again; not UP yet. What it had
 * completed goes to `done`, if that is not NULL. Mutex held. */
must_check int virtio_blk_restart(struct virtio_blk *disk, struct fifo *done,
                                  void (*detached)(struct virtio_blk_queue *queue, void *token));
/* Of all queues, none of which is GONE. Mutex held. */
void virtio_blk_set_state(struct virtio_blk *disk, enum virtio_blk_state state);

/* virtio_blk_ring.c: ops, see block.h. */
void virtio_blk_ring_entries(struct block_device *device, struct block_ring_entries *entries);
int virtio_blk_set_ring_entries(struct block_device *device, uint32_t entries);
/* As many requests as all rings can hold. */
uint32_t virtio_blk_depth(const struct virtio_blk *disk, uint32_t queue_size);

/* virtio_blk_raw.c */
int virtio_blk_raw(struct block_device *device, struct block_raw_job *job);
/* The interrupt while RAW; ring locked. */
void virtio_blk_raw_interrupt(struct virtio_blk_queue *queue);

#endif
