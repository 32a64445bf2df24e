/* SPDX-License-Identifier: MIT */
/* What the modern transports share: the doorbell with VIRTIO_F_NOTIFICATION_DATA. */
#ifndef TRANSPORT_MODERN_INTERNAL_H
#define TRANSPORT_MODERN_INTERNAL_H

#include <arch/io.h>
#include <drivers/virtio/virtqueue.h>

/* 2.9: the queue, and how far the driver has come: all that such a device need know of the ring. So what one
 * CPU tells may not be overtaken by what another tells later: this doorbell is rung under the ring's lock. */
static inline void virtio_notify_with_data(struct virtqueue *queue)
{
    SPIN_SCOPED_IRQ(&queue->lock);
    mmio_write32(queue->doorbell, queue->config.index | (uint32_t)virtqueue_position(queue) << 16);
}

#endif
