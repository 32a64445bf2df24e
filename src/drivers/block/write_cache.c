/* SPDX-License-Identifier: MIT */
/* The write cache's mode: whether a flush has anything to do. While that is uncertain flushes go to the
 * device: one too many does no harm.
 *
 *     has_flush -> true     before the device is told anything, or when it turns out to write back
 *     has_flush -> false    at registration; or when the device writes through, and a flush after that has
 *                           made durable what was written before, and nobody has had doubts meanwhile
 *
 * Lock: device->lock for has_flush and cache_doubts; device->reset_mutex for one switch at a time, but not
 * for its flush, which may need a reset to get done. */
#include "block_internal.h"

bool block_device_is_writeback(const struct block_device *device)
{
    return read_once(device->has_flush);
}

/* Which doubt it is. */
static uint32_t doubt(struct block_device *device)
{
    SPIN_SCOPED_IRQ(&device->lock);
    write_once(device->has_flush, true);
    return ++device->cache_doubts;
}

/* Unless there is a newer one. */
static void settle(struct block_device *device, uint32_t which)
{
    SPIN_SCOPED_IRQ(&device->lock);
    if (device->cache_doubts == which)
        write_once(device->has_flush, false);
}

void block_device_needs_flush(struct block_device *device)
{
    (void)doubt(device);
}

static int tell_device(struct block_device *device, bool is_writeback, uint32_t *which)
{
    MUTEX_SCOPED(&device->reset_mutex);
    const struct block_device_ops *ops = block_device_ops(device);
    if (!ops->set_writeback)
        return -EOPNOTSUPP;
    *which = doubt(device);
    return ops->set_writeback(device, is_writeback);
}

int block_device_set_writeback(struct block_device *device, bool is_writeback)
{
    uint32_t which;
    assert(!block_in_interrupt());
    int error = tell_device(device, is_writeback, &which);
    block_restart(device); /* R5: what the driver left meanwhile */
    if (error || is_writeback)
        return error;
    error = block_flush(device);
    if (error == 0)
        settle(device, which);
    return error;
}
