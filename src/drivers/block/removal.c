/* SPDX-License-Identifier: MIT */
/* How a device goes away, in two steps.
 *
 *     block_device_unregister   the driver's memory is the driver's again: nobody is in its ops, nobody will
 *                               call them. The device stays, with ops of its own that end each request with
 *                               BLOCK_GONE, since somebody may have it open.
 *     block_device_release      nobody has it open: its memory and its name go back.
 *
 * Who may be inside the driver meanwhile: ops that sleep are called under reset_mutex; all others with
 * preemption off or in an interrupt, so that they are over once each CPU has run another thread. The same
 * holds for those who come out of this device's queue after its last reference has gone: an interrupt or a
 * CPU's deferred dispatch, which completed the last request for somebody else. Thread context. */
#include "block_internal.h"

#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/sched.h>

linker_set_declare(block_release_hooks, const struct block_release_hook);

static void submit_gone(struct block_device *device, struct fifo *batch)
{
    struct fifo gone = FIFO_INIT(gone);
    fifo_append(&gone, batch);
    fifo_foreach (node, &gone)
        request_of(node)->status = BLOCK_GONE;
    block_complete(device, &gone);
}

static int reset_gone(struct block_device *device)
{
    return -ENODEV;
}

static int set_writeback_gone(struct block_device *device, bool is_writeback)
{
    return -ENODEV;
}

static const struct block_device_ops gone_ops = {
    .submit = submit_gone, .reset = reset_gone, .set_writeback = set_writeback_gone};

/* The driver's last word; whoever takes the difference to an earlier one shall not see it fall. */
static void keep_counts(struct block_device *device)
{
    struct block_stats stats;
    block_device_stats(device, &stats);
    SPIN_SCOPED_IRQ(&device->lock);
    device->stats.kicks = stats.kicks;
    device->stats.interrupts = stats.interrupts;
    device->stats.recovery = stats.recovery;
}

void block_device_unregister(struct block_device *device)
{
    assert(!block_in_interrupt());
    block_table_hide(device);
    mutex_lock(&device->reset_mutex);
    keep_counts(device);
    block_fault_retire(device, &gone_ops);
    mutex_unlock(&device->reset_mutex);
    sched_wait_for_cpus();
    device->driver = NULL;
    block_restart(device); /* R5: what waited for the driver */
    log_info(device->name, "removed%s", read_once(device->references) > 1 ? ", but still in use" : "");
    block_device_put(device);
}

void block_device_release(struct block_device *device)
{
    assert(device->is_gone);
    linker_set_foreach (block_release_hooks, const struct block_release_hook, hook)
        hook->released(device);
    sched_wait_for_cpus();
    assert(device->in_flight == 0 && device->queued == 0 && device->drainers == 0); /* R1 */
    timer_cancel(&device->watchdog);
    block_fault_free(device);
    block_table_remove(device);
    heap_free(device);
}
