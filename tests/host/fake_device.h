/* SPDX-License-Identifier: MIT */
/* A split-ring device for tests: the other side of a virtqueue, in the same process, called step by step.
 * It keeps to virtio 1.2, 2.7 to the letter: it looks at the ring only when it was notified or is awake, and
 * interrupts only when it was asked to. So a driver that forgets to ask or to notify stands still. */
#ifndef TESTS_HOST_FAKE_DEVICE_H
#define TESTS_HOST_FAKE_DEVICE_H

#include <drivers/virtio/vring_split_spec.h>

#include <string.h>

#include "fake_chain.h"

struct fake_device {
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t size, last_avail, used_idx, used_signalled;
    bool has_event_idx, is_in_order;
    uint16_t next_desc; /* in order: where the next chain must begin */
    bool is_awake;      /* looking at the ring; asleep it needs a notification */
    unsigned notifications, interrupts;
    uint64_t pushed;
};

static inline volatile uint16_t *fd_used_event(struct fake_device *fd)
{
    return &fd->avail->ring[fd->size];
}
static inline volatile uint16_t *fd_avail_event(struct fake_device *fd)
{
    return (volatile uint16_t *)&fd->used->ring[fd->size];
}

static inline void fd_attach(struct fake_device *fd, const struct virtqueue *queue)
{
    *fd = (struct fake_device){
        .desc = direct_map(queue->descriptor_area),
        .avail = direct_map(queue->driver_area),
        .used = direct_map(queue->device_area),
        .size = queue->size,
        .has_event_idx = queue->config.has_event_idx,
        .is_in_order = queue->config.is_in_order,
    };
}

/* Nothing of either side is in the ring yet. */
static inline bool fd_is_fresh(const struct fake_device *fd)
{
    return fd->avail->idx == 0 && fd->used->idx == 0;
}

static inline void fd_add_buffer(struct fd_chain *chain, const struct virtq_desc *desc)
{
    fd_append(chain, desc->addr, desc->len, (desc->flags & VIRTQ_DESC_F_WRITE) != 0);
}

static inline void fd_read_table(const struct fake_device *fd, struct fd_chain *chain,
                                 const struct virtq_desc *desc)
{
    const struct virtq_desc *table = direct_map(desc->addr);
    uint32_t entries = desc->len / sizeof(*table), at = 0, steps = 0;
    check(desc->len % sizeof(*table) == 0 && entries > 0);
    /* 2.7.5.3.1: not INDIRECT and NEXT; no table in a table. */
    check_equal(desc->flags, VIRTQ_DESC_F_INDIRECT);
    for (; steps < entries; steps++) {
        check(at < entries && !(table[at].flags & VIRTQ_DESC_F_INDIRECT));
        fd_add_buffer(chain, &table[at]);
        if (!(table[at].flags & VIRTQ_DESC_F_NEXT))
            break;
        check(!fd->is_in_order || table[at].next == at + 1); /* 2.7.5.3.1 */
        at = table[at].next;
    }
    check_equal(steps + 1, entries);
}

/* Takes the next available chain apart; false: there is none. */
static inline bool fd_pop(struct fake_device *fd, struct fd_chain *chain)
{
    if (fd->last_avail == *(volatile uint16_t *)&fd->avail->idx)
        return false;
    uint16_t at = fd->avail->ring[fd->last_avail++ % fd->size];
    chain->id = at;
    chain->count = 0;
    for (uint32_t steps = 0;; steps++) {
        check(at < fd->size && steps < fd->size);
        if (at >= fd->size || steps >= fd->size)
            return false;
        const struct virtq_desc *desc = &fd->desc[at];
        if (desc->flags & VIRTQ_DESC_F_INDIRECT) {
            fd_read_table(fd, chain, desc);
            break;
        }
        fd_add_buffer(chain, desc);
        if (!(desc->flags & VIRTQ_DESC_F_NEXT))
            break;
        check(!fd->is_in_order || desc->next == (at + 1) % fd->size); /* 2.7.5 */
        at = desc->next;
    }
    check(chain->count <= fd->size);
    check(!fd->is_in_order || chain->id == fd->next_desc);
    fd->next_desc = (uint16_t)((at + 1) % fd->size);
    return true;
}

/* Gives an element back, index and all. */
static inline void fd_push(struct fake_device *fd, uint32_t id, uint32_t bytes)
{
    fd->used->ring[fd->used_idx % fd->size] = (struct virtq_used_elem){id, bytes};
    fd->used_idx++;
    fd->pushed++;
    *(volatile uint16_t *)&fd->used->idx = fd->used_idx;
}

/* Gives chains back with one element, the last one's (2.7.9); nothing is to be seen in the others' places. */
static inline void fd_push_batch(struct fake_device *fd, const uint16_t *ids, uint32_t count, uint32_t bytes)
{
    check(fd->is_in_order && count > 0);
    for (uint32_t i = 1; i < count; i++)
        fd->used->ring[(uint16_t)(fd->used_idx + i) % fd->size] =
            (struct virtq_used_elem){0xeeeeeeee, 0xeeeeeeee};
    fd->used->ring[fd->used_idx % fd->size] = (struct virtq_used_elem){ids[count - 1], bytes};
    fd->used_idx = (uint16_t)(fd->used_idx + count);
    fd->pushed += count;
    *(volatile uint16_t *)&fd->used->idx = fd->used_idx;
}

/* A position that a doorbell tells is where the available chains end (2.9). */
static inline bool fd_ends_at(const struct fake_device *fd, uint16_t position)
{
    return position == *(volatile uint16_t *)&fd->avail->idx;
}

/* Goes to sleep unless something came meanwhile (2.7.10): asks for a notification, then looks once more. */
static inline bool fd_sleep(struct fake_device *fd)
{
    if (fd->has_event_idx)
        *fd_avail_event(fd) = fd->last_avail;
    else
        fd->used->flags = 0;
    fd->is_awake = fd->last_avail != fd->avail->idx;
    return !fd->is_awake;
}

static inline void fd_notify(struct fake_device *fd)
{
    fd->notifications++;
    fd->is_awake = true;
    if (!fd->has_event_idx)
        fd->used->flags = VIRTQ_USED_F_NO_NOTIFY;
}

/* True when what was pushed since the last call asks for an interrupt (2.7.7, 2.7.10), by the definition and
 * not by the formula: has the index passed the event on its way? */
static inline bool fd_must_interrupt(struct fake_device *fd)
{
    bool must = false;
    if (!fd->has_event_idx)
        must = fd->used_signalled != fd->used_idx && !(fd->avail->flags & VIRTQ_AVAIL_F_NO_INTERRUPT);
    for (uint16_t i = fd->used_signalled; fd->has_event_idx && i != fd->used_idx; i++)
        must |= i == *fd_used_event(fd);
    fd->used_signalled = fd->used_idx;
    fd->interrupts += must;
    return must;
}

/* ---- Misbehaviour ------------------------------------------------------------------------------------- */

/* Corrects what was pushed last, too late. */
static inline void fd_correct(struct fake_device *fd, uint32_t id, uint32_t bytes)
{
    fd->used->ring[(uint16_t)(fd->used_idx - 1) % fd->size] = (struct virtq_used_elem){id, bytes};
}

/* Writes over all that it has read. */
static inline void fd_scribble(struct fake_device *fd, struct virtqueue *queue)
{
    memset(fd->desc, 0xff, fd->size * sizeof(*fd->desc));
    memset(fd->avail, 0xff, sizeof(*fd->avail) + fd->size * 2);
    if (queue->config.has_indirect)
        memset(queue->buffers, 0xff, fd->size * queue->config.chain_max * sizeof(*queue->buffers));
}

/* Random words where the driver looks. */
static inline void fd_fuzz(struct fake_device *fd)
{
    uint32_t at = fd_random(fd->size);
    fd->used->ring[at].id = fd_random(2) ? fd_random(20) : (uint32_t)fd_random_state;
    fd->used->ring[at].len = fd_random(8);
    fd->used->idx = fd_random(4) ? (uint16_t)(fd->used->idx + fd_random(3)) : (uint16_t)fd_random_state;
    *fd_avail_event(fd) = (uint16_t)fd_random_state;
}

#endif
