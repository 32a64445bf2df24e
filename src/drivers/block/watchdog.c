/* SPDX-License-Identifier: MIT */
/* The watchdog of a queue: finds a request that has been in flight for too long.
 *
 *     BLOCK_LATE_NS    the driver looks at its ring, where a lost interrupt or doorbell is mended; again each
 *                      BLOCK_LATE_NS while the request stays, since a slow disk is not a broken one
 *     the timeout      looking does not help: the driver resets the device. blk.timeout=, or by device
 *
 * A timer a device runs only while something is in flight, and costs the request path one flag. Requests are
 * counted by the epoch (0 or 1) of their dispatch; a tick changes the epoch when the other one's count has
 * gone to 0. If it has not, the requests left there are older than a tick, and each such tick in a row makes
 * them one older. So the oldest request decides, whatever else completes: one dead queue among many is found.
 * Interrupt context; device->lock. */
#include "block_internal.h"

#include <arch/clock.h>
#include <kernel/cmdline.h>
#include <kernel/log.h>

#ifdef __KERNEL__
CMDLINE_KEY(blk_timeout, "blk.timeout", "SECONDS",
            "reset a device that keeps a request longer (default 30; 0: never)");
#endif

static uint64_t default_timeout_ns = 30 * NSEC_PER_SEC;

/* True: something is in flight for more than a tick. Otherwise what is in flight now is the next to grow old.
 */
static bool is_late(struct block_device *device)
{
    SPIN_SCOPED_IRQ(&device->lock);
    uint32_t old = device->epoch ^ 1;
    bool is_late = device->epoch_in_flight[old] > 0;
    if (!is_late)
        device->epoch = old;
    device->late_ticks = is_late ? device->late_ticks + 1 : 0;
    device->stats.late += is_late;
    return is_late;
}

static void look(struct block_device *device, const struct block_device_ops *ops)
{
    if (ops->late)
        ops->late(device);
    if (device->was_late_printed)
        return;
    device->was_late_printed = true;
    log_warning(device->name, "a request is in flight for more than %llu ms: looked at the ring",
                (unsigned long long)(BLOCK_LATE_NS / NSEC_PER_MSEC));
}

/* After the look. The reset makes what is in flight young again: it is sent anew. */
static bool has_timed_out(struct block_device *device)
{
    SPIN_SCOPED_IRQ(&device->lock);
    uint64_t timeout_ns = block_device_timeout(device);
    bool has_timed_out = device->epoch_in_flight[device->epoch ^ 1] > 0 && timeout_ns > 0 &&
                         device->late_ticks * BLOCK_LATE_NS >= timeout_ns;
    if (has_timed_out)
        device->late_ticks = 0;
    device->stats.timeouts += has_timed_out;
    return has_timed_out;
}

static bool goes_on(struct block_device *device)
{
    SPIN_SCOPED_IRQ(&device->lock);
    device->is_watchdog_armed = device->in_flight > 0;
    return device->is_watchdog_armed;
}

static void tick(struct timer *timer)
{
    struct block_device *device = container_of(timer, struct block_device, watchdog);
    const struct block_device_ops *ops = block_device_ops(device); /* once: see removal.c */
    if (is_late(device)) {
        look(device, ops);
        if (ops->timed_out && has_timed_out(device))
            ops->timed_out(device);
    }
    if (goes_on(device))
        block_watchdog_arm(device);
}

static void count_as(struct block_device *device, struct fifo *requests, uint32_t epoch)
{
    assert_spin_locked(&device->lock);
    fifo_foreach (node, requests) {
        struct block_request *request = request_of(node);
        assert(device->epoch_in_flight[request->epoch] > 0);
        device->epoch_in_flight[request->epoch]--;
        request->epoch = (uint8_t)epoch;
        device->epoch_in_flight[epoch]++;
    }
}

void block_watchdog_suspend(struct block_device *device, struct fifo *requests)
{
    SPIN_SCOPED_IRQ(&device->lock);
    count_as(device, requests, BLOCK_EPOCH_HELD);
}

void block_watchdog_resume(struct block_device *device, struct fifo *requests)
{
    SPIN_SCOPED_IRQ(&device->lock);
    count_as(device, requests, device->epoch);
}

void block_device_set_timeout(struct block_device *device, uint64_t ns)
{
    write_once(device->timeout_ns, ns);
}

uint64_t block_device_timeout(const struct block_device *device)
{
    return read_once(device->timeout_ns);
}

void block_watchdog_init(struct block_device *device)
{
    device->watchdog.expired = tick;
    device->timeout_ns = default_timeout_ns;
}

void block_watchdog_arm(struct block_device *device)
{
    timer_start(&device->watchdog, clock_ns() + BLOCK_LATE_NS);
}

#ifdef __KERNEL__
void block_watchdog_setup(void)
{
    uint64_t seconds;
    if (cmdline_u64("blk.timeout", 0, BLOCK_TIMEOUT_SECONDS_MAX, &seconds))
        default_timeout_ns = seconds * NSEC_PER_SEC;
}
#endif
