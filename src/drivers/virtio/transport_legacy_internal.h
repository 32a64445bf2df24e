/* SPDX-License-Identifier: MIT */
/* What the legacy transports share: how such a device is told where a queue is. */
#ifndef TRANSPORT_LEGACY_INTERNAL_H
#define TRANSPORT_LEGACY_INTERNAL_H

#include <drivers/virtio/virtqueue.h>
#include <drivers/virtio/vring_split_spec.h>
#include <kernel/base/error.h>
#include <kernel/log.h>

/* The number of the ring's first page, from which the device works out the rest (2.7.2). -EOPNOTSUPP after
 * one line: the memory lies past what 32 bits can name. */
must_check static inline int virtio_legacy_page(const struct virtqueue *queue, uint32_t *page)
{
    uint64_t number = queue->descriptor_area / VIRTQ_LEGACY_ALIGN;
    assert(is_aligned(queue->descriptor_area, VIRTQ_LEGACY_ALIGN));
    assert(queue->driver_area == queue->descriptor_area + virtq_legacy_avail_offset(queue->size));
    assert(queue->device_area == queue->descriptor_area + virtq_legacy_used_offset(queue->size));
    *page = (uint32_t)number;
    if (number == *page)
        return 0;
    log_error(queue->config.name, "its memory at 0x%llx is out of a legacy device's reach",
              (unsigned long long)queue->descriptor_area);
    return -EOPNOTSUPP;
}

#endif
