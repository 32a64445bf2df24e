/* SPDX-License-Identifier: MIT */
/* A transport for tests of any virtio driver: a device of up to 16 queues, whose other side the test plays.
 * It has no device type of its own; virtio_machine.h is the one with a disk. Included by one file a program,
 * after the fake device of the ring's format. */
#ifndef TESTS_HOST_VIRTIO_PEER_H
#define TESTS_HOST_VIRTIO_PEER_H

#include <drivers/virtio/virtio.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>
#include <kernel/work.h>

#include <stdlib.h>

#include "fake_device.h"

#define RING_FEATURES_DEFAULT \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_INDIRECT_DESC))

static struct peer {
    struct virtio_device device;
    uint64_t offered;
    uint8_t status;
    uint8_t config[64];
    uint32_t generation;
    uint32_t queue_sizes[VIRTQUEUES_MAX]; /* 0: no such queue */
    uint32_t resets, notifies;
    int connect_error;
    void (*notified)(uint32_t queue); /* a device that is done before the doorbell returns */
    struct fake_device fds[VIRTQUEUES_MAX];
} peer;

static inline uint8_t peer_status_read(struct virtio_device *device)
{
    (void)device;
    return peer.status;
}

static inline void peer_status_write(struct virtio_device *device, uint8_t status)
{
    (void)device;
    peer.resets += status == 0;
    peer.status = status;
}

static inline uint64_t peer_features_read(struct virtio_device *device)
{
    (void)device;
    return peer.offered;
}

static inline void peer_features_write(struct virtio_device *device, uint64_t features)
{
    (void)device;
    check_equal(features & ~peer.offered, 0);
}

static inline uint32_t peer_config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    (void)device;
    uint32_t value = 0;
    check(offset + width <= sizeof(peer.config));
    memcpy(&value, peer.config + offset, width);
    return value;
}

static inline uint32_t peer_config_generation(struct virtio_device *device)
{
    (void)device;
    return peer.generation;
}

static inline uint32_t peer_queue_size(struct virtio_device *device, uint32_t index)
{
    (void)device;
    return index < VIRTQUEUES_MAX ? peer.queue_sizes[index] : 0;
}

static inline int peer_interrupts_connect(struct virtio_device *device)
{
    (void)device;
    return peer.connect_error;
}

static inline void peer_interrupts_disconnect(struct virtio_device *device)
{
    (void)device;
}

static inline int peer_queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    (void)device;
    check(!(peer.status & VIRTIO_STATUS_DRIVER_OK));
    fd_attach(&peer.fds[queue->config.index], queue);
    fd_sleep(&peer.fds[queue->config.index]);
    return 0;
}

static inline void peer_notify(struct virtqueue *queue)
{
    check(peer.status & VIRTIO_STATUS_DRIVER_OK); /* 3.1.1: not before */
    check(!spin_is_locked(&queue->lock));
    peer.notifies++;
    fd_notify(&peer.fds[queue->config.index]);
    if (peer.notified)
        peer.notified(queue->config.index);
}

static inline bool peer_isolate(struct virtio_device *device)
{
    (void)device;
    return true;
}

static inline void peer_interrupt_text(const struct virtqueue *queue, char *text, size_t bytes)
{
    (void)queue;
    snprintf(text, bytes, "by hand");
}

static struct virtio_transport_ops peer_transport = {
    .name = "test",
    .status_read = peer_status_read,
    .status_write = peer_status_write,
    .features_read = peer_features_read,
    .features_write = peer_features_write,
    .config_read = peer_config_read,
    .config_generation = peer_config_generation,
    .queue_size = peer_queue_size,
    .interrupts_connect = peer_interrupts_connect,
    .interrupts_disconnect = peer_interrupts_disconnect,
    .queue_enable = peer_queue_enable,
    .notify = peer_notify,
    .isolate = peer_isolate,
    .interrupt_text = peer_interrupt_text,
};

static inline void peer_prepare(uint32_t type, uint32_t queues, uint32_t queue_size, uint64_t offered)
{
    memset(&peer, 0, sizeof(peer));
    peer.device.transport = &peer_transport;
    peer.device.type = type;
    peer.offered = offered;
    for (uint32_t i = 0; i < queues; i++)
        peer.queue_sizes[i] = queue_size;
}

/* The next chain of the queue, if the device looks there; false: it sleeps or there is none. */
static inline bool peer_take(uint32_t queue, struct fd_chain *chain)
{
    struct fake_device *fd = &peer.fds[queue];
    while (fd->is_awake) {
        if (fd_pop(fd, chain))
            return true;
        fd_sleep(fd);
    }
    return false;
}

/* Interrupts if what was given back asks for it. */
static inline void peer_interrupt(uint32_t queue)
{
    struct virtqueue *ring = peer.device.queues[queue];
    if (fd_must_interrupt(&peer.fds[queue]))
        check(ring->config.interrupt(ring));
}

/* ---- The kernel around it ---------------------------------------------------------------------------- */

static struct fifo works = FIFO_INIT(works);

bool work_queue(struct work *work)
{
    if (work->is_queued)
        return false;
    work->is_queued = 1;
    fifo_push(&works, &work->node);
    return true;
}

static inline void run_works(void)
{
    struct fifo_node *node;
    while ((node = fifo_pop(&works)) != NULL) {
        struct work *work = container_of(node, struct work, node);
        work->is_queued = 0;
        work->run(work);
    }
}

void work_flush(void)
{
    run_works();
}

bool cmdline_u64(const char *key, uint64_t minimum, uint64_t maximum, uint64_t *value)
{
    (void)key, (void)minimum, (void)maximum, (void)value;
    return false;
}

bool cmdline_bool(const char *key, bool otherwise)
{
    (void)key;
    return otherwise;
}

#endif
