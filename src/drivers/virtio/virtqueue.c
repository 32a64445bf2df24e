/* SPDX-License-Identifier: MIT */
/* What does not depend on the ring's format: the doorbell, and a queue that was lied to. */
#include <kernel/log.h>

#include "virtqueue_internal.h"

void virtqueue_notify(struct virtqueue *queue)
{
    queue->notify(queue);
}

void virtqueue_break(struct virtqueue *queue, const char *why, uint32_t value)
{
    assert_spin_locked(&queue->lock);
    if (queue->is_broken)
        return;
    queue->is_broken = true;
    queue->broken_why = why;
    log_error(queue->config.name, "the device is not to be trusted: %s (%u)", why, value);
    if (queue->config.broken)
        queue->config.broken(queue);
}
