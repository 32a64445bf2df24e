/* SPDX-License-Identifier: MIT */
/* The watchdog of a queue: finds a request that has been in flight for BLOCK_LATE_NS and more.
 *
 * A timer a device runs only while something is in flight, and costs the request path one flag. Requests are
 * counted by the epoch (0 or 1) of their dispatch; each tick changes the epoch when the other one's count has
 * gone to 0. If it has not, the requests left there are older than a tick: the driver is asked to look at its
 * ring (a lost interrupt or doorbell is mended there), which is counted. Interrupt context; device->lock. */
#include "block_internal.h"

#include <arch/clock.h>
#include <kernel/log.h>

static void tick(struct timer *timer)
{
    struct block_device *device = container_of(timer, struct block_device, watchdog);
    uint64_t flags = spin_lock_irq(&device->lock);
    uint32_t old = device->epoch ^ 1, in_flight = device->in_flight;
    bool is_late = device->epoch_in_flight[old] > 0;
    if (!is_late)
        device->epoch = old;
    device->stats.late += is_late;
    device->is_watchdog_armed = in_flight > 0;
    spin_unlock_irq(&device->lock, flags);
    if (is_late && block_device_ops(device)->late)
        block_device_ops(device)->late(device);
    if (is_late && !device->was_late_printed) {
        device->was_late_printed = true;
        log_warning(device->name, "a request is in flight for more than %llu ms: looked at the ring",
                    (unsigned long long)(BLOCK_LATE_NS / NSEC_PER_MSEC));
    }
    if (in_flight > 0)
        timer_start(timer, clock_ns() + BLOCK_LATE_NS);
}

void block_watchdog_init(struct block_device *device)
{
    device->watchdog.expired = tick;
}

void block_watchdog_arm(struct block_device *device)
{
    timer_start(&device->watchdog, clock_ns() + BLOCK_LATE_NS);
}
