/* SPDX-License-Identifier: MIT */
/* The device of fake_device.h for a packed ring: the same verbs, virtio 1.2, 2.8 to the letter. */
#ifndef TESTS_HOST_FAKE_DEVICE_H
#define TESTS_HOST_FAKE_DEVICE_H

#include <drivers/virtio/vring_packed_spec.h>

#include <string.h>

#include "fake_chain.h"

#define FD_WRAP 0x8000u /* desc_event_wrap */

/* A place in the ring: an offset, and the wrap counter of whoever is there. */
struct fd_position {
    uint16_t offset;
    bool wrap;
};

struct fake_device {
    struct pvirtq_desc *desc;
    struct pvirtq_event_suppress *driver_event, *device_event;
    struct fd_position avail, used, signalled; /* the next to read, to write, to tell of */
    uint16_t size;
    bool has_indirect, has_event_idx, is_in_order;
    bool is_awake; /* looking at the ring; asleep it needs a notification */
    unsigned notifications, interrupts;
    uint64_t pushed;
    uint16_t lengths[VIRTQUEUE_SIZE_MAX]; /* of the chains that it has, by id; 0: not there */
};

/* As QEMU's: VIRTQ_DESC_F_WRITE is never set, the length tells all the same. */
static bool fd_is_silent_of_writes;

static inline void fd_attach(struct fake_device *fd, const struct virtqueue *queue)
{
    *fd = (struct fake_device){
        .desc = direct_map(queue->descriptor_area),
        .driver_event = direct_map(queue->driver_area),
        .device_event = direct_map(queue->device_area),
        .avail = {0, true},
        .used = {0, true},
        .signalled = {0, true},
        .size = queue->size,
        .has_indirect = queue->config.has_indirect,
        .has_event_idx = queue->config.has_event_idx,
        .is_in_order = queue->config.is_in_order,
    };
    /* 2.8.10.1 */
    check(queue->descriptor_area % 16 == 0 && queue->driver_area % 4 == 0 && queue->device_area % 4 == 0);
}

/* Nothing of either side is in the ring yet, and the first completion is asked for. */
static inline bool fd_is_fresh(const struct fake_device *fd)
{
    uint32_t flags = fd->has_event_idx ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE;
    bool is_fresh =
        fd->driver_event->desc_flags == (flags << 16 | FD_WRAP) && fd->device_event->desc_flags == 0;
    for (uint16_t i = 0; i < fd->size; i++)
        is_fresh &= fd->desc[i].addr == 0 && fd->desc[i].len_id_flags == 0;
    return is_fresh;
}

static inline struct fd_position fd_step(const struct fake_device *fd, struct fd_position at, uint32_t count)
{
    for (; count > 0; count--)
        at = at.offset + 1 == fd->size ? (struct fd_position){0, !at.wrap}
                                       : (struct fd_position){(uint16_t)(at.offset + 1), at.wrap};
    return at;
}

static inline bool fd_is(struct fd_position a, struct fd_position b)
{
    return a.offset == b.offset && a.wrap == b.wrap;
}

static inline bool fd_names(struct fd_position at, uint16_t event)
{
    return (event & (FD_WRAP - 1)) == at.offset && ((event & FD_WRAP) != 0) == at.wrap;
}

/* 2.8.1: AVAIL as the wrap counter, USED unlike it. */
static inline bool fd_is_available(const struct fake_device *fd, struct fd_position at)
{
    uint16_t flags = *(volatile uint16_t *)&fd->desc[at.offset].flags;
    return ((flags & VIRTQ_DESC_F_AVAIL) != 0) == at.wrap && ((flags & VIRTQ_DESC_F_USED) != 0) != at.wrap;
}

/* 2.8.7 and 2.8.19: as many entries as the length tells, WRITE is their only flag. */
static inline void fd_read_table(const struct fake_device *fd, struct fd_chain *chain,
                                 const struct pvirtq_desc *desc)
{
    const struct pvirtq_desc *table = direct_map(desc->addr);
    check(fd->has_indirect && !(desc->flags & VIRTQ_DESC_F_NEXT));
    check(desc->len > 0 && desc->len % sizeof(*table) == 0);
    for (uint32_t i = 0; i < desc->len / sizeof(*table); i++) {
        check(!(table[i].flags & ~VIRTQ_DESC_F_WRITE));
        fd_append(chain, table[i].addr, table[i].len, (table[i].flags & VIRTQ_DESC_F_WRITE) != 0);
    }
}

/* Takes the next available chain apart; false: there is none. */
static inline bool fd_pop(struct fake_device *fd, struct fd_chain *chain)
{
    uint16_t length = 0;
    bool has_next = true;
    if (!fd_is_available(fd, fd->avail))
        return false;
    chain->count = 0;
    while (has_next) {
        const struct pvirtq_desc *desc = &fd->desc[fd->avail.offset];
        check(fd_is_available(fd, fd->avail) && length < fd->size); /* 2.8.6: the flags of each */
        if (!fd_is_available(fd, fd->avail) || length >= fd->size)
            return false;
        if (desc->flags & VIRTQ_DESC_F_INDIRECT)
            fd_read_table(fd, chain, desc);
        else
            fd_append(chain, desc->addr, desc->len, (desc->flags & VIRTQ_DESC_F_WRITE) != 0);
        has_next = (desc->flags & VIRTQ_DESC_F_NEXT) != 0;
        chain->id = desc->id; /* the last one's */
        fd->avail = fd_step(fd, fd->avail, 1);
        length++;
    }
    check(chain->count <= fd->size && chain->id < fd->size && fd->lengths[chain->id] == 0);
    fd->lengths[chain->id % VIRTQUEUE_SIZE_MAX] = length;
    return true;
}

/* The flags last, as the driver may look at any time. */
static inline void fd_write_used(struct fake_device *fd, struct fd_position at, uint32_t id, uint32_t bytes)
{
    uint32_t flags = at.wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    flags |= bytes > 0 && !fd_is_silent_of_writes ? VIRTQ_DESC_F_WRITE : 0;
    fd->desc[at.offset].id = (uint16_t)id;
    fd->desc[at.offset].len = bytes;
    *(volatile uint16_t *)&fd->desc[at.offset].flags = (uint16_t)flags;
}

/* Gives a chain back; one that it does not have is a lie, of one descriptor. */
static inline void fd_push(struct fake_device *fd, uint32_t id, uint32_t bytes)
{
    uint32_t length = id < VIRTQUEUE_SIZE_MAX && fd->lengths[id] > 0 ? fd->lengths[id] : 1;
    fd_write_used(fd, fd->used, id, bytes);
    fd->used = fd_step(fd, fd->used, length);
    if (id < VIRTQUEUE_SIZE_MAX)
        fd->lengths[id] = 0;
    fd->pushed++;
}

/* Gives chains back with one descriptor, in the place of the first and with the id of the last (2.8.8). */
static inline void fd_push_batch(struct fake_device *fd, const uint16_t *ids, uint32_t count, uint32_t bytes)
{
    check(fd->is_in_order && count > 0);
    fd_write_used(fd, fd->used, ids[count - 1], bytes);
    for (uint32_t i = 0; i < count; i++) {
        check(fd->lengths[ids[i]] > 0);
        fd->used = fd_step(fd, fd->used, fd->lengths[ids[i]]);
        fd->lengths[ids[i]] = 0;
    }
    fd->pushed += count;
}

/* A position that a doorbell tells is where the available chains end (2.9). */
static inline bool fd_ends_at(const struct fake_device *fd, uint16_t position)
{
    struct fd_position at = fd->avail;
    for (uint32_t steps = 0; steps < fd->size && fd_is_available(fd, at); steps++)
        at = fd_step(fd, at, 1);
    return fd_names(at, position);
}

/* Goes to sleep unless something came meanwhile (2.8.10): asks for a notification, then looks once more. */
static inline bool fd_sleep(struct fake_device *fd)
{
    fd->device_event->desc = (uint16_t)(fd->avail.offset | (fd->avail.wrap ? FD_WRAP : 0));
    fd->device_event->flags = fd->has_event_idx ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE;
    fd->is_awake = fd_is_available(fd, fd->avail);
    return !fd->is_awake;
}

static inline void fd_notify(struct fake_device *fd)
{
    fd->notifications++;
    fd->is_awake = true;
    fd->device_event->flags = RING_EVENT_FLAGS_DISABLE;
}

/* True when what was pushed since the last call asks for an interrupt (2.8.10): walks the descriptors and
 * looks whether the one named by the driver is among them. DESC that was not negotiated asks for nothing. */
static inline bool fd_must_interrupt(struct fake_device *fd)
{
    uint16_t flags = fd->driver_event->flags;
    bool must = flags == RING_EVENT_FLAGS_ENABLE && !fd_is(fd->signalled, fd->used);
    bool is_event = flags == RING_EVENT_FLAGS_DESC && fd->has_event_idx;
    for (struct fd_position at = fd->signalled; is_event && !fd_is(at, fd->used); at = fd_step(fd, at, 1))
        must |= fd_names(at, fd->driver_event->desc);
    fd->signalled = fd->used;
    fd->interrupts += must;
    return must;
}

/* ---- Misbehaviour ------------------------------------------------------------------------------------- */

/* Corrects what was pushed last, too late. */
static inline void fd_correct(struct fake_device *fd, uint32_t id, uint32_t bytes)
{
    struct fd_position last = fd->used.offset > 0
                                  ? (struct fd_position){(uint16_t)(fd->used.offset - 1), fd->used.wrap}
                                  : (struct fd_position){(uint16_t)(fd->size - 1), !fd->used.wrap};
    fd_write_used(fd, last, id, bytes);
}

/* Writes over all that it has read. In both laps, these flags are of no used descriptor. */
static inline void fd_scribble(struct fake_device *fd, struct virtqueue *queue)
{
    uint16_t flags = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_USED;
    memset(fd->desc, 0xff, fd->size * sizeof(*fd->desc));
    for (uint16_t i = 0; i < fd->size; i++)
        fd->desc[i].flags = flags;
    fd->driver_event->desc_flags = 0xffffffff;
    if (fd->has_indirect)
        memset(queue->buffers, 0xff, fd->size * queue->config.chain_max * sizeof(*queue->buffers));
}

/* Random words where the driver looks. */
static inline void fd_fuzz(struct fake_device *fd)
{
    struct pvirtq_desc *desc = &fd->desc[fd_random(fd->size)];
    desc->id = fd_random(2) ? (uint16_t)fd_random(20) : (uint16_t)fd_random_state;
    desc->len = fd_random(8);
    desc->flags = fd_random(4) ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : (uint16_t)fd_random_state;
    fd->device_event->desc_flags = (uint32_t)fd_random_state;
}

#endif
