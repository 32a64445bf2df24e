/* SPDX-License-Identifier: MIT */
/* libFuzzer over the memory that a virtio disk shares with its device. The input is a script: what the disk
 * is like, then steps of its users (vring_users.h) and of a device that lies (vring_liar.h).
 *
 * While the device has not lied since the last reset, it is the one of fake_device.h, and all that it would
 * notice counts. Once it has, only this counts: no assertion fails, no stray access is made, nothing
 * completes twice. In the end it is reset and honest, and interrupts only as it is asked to, and then: R1
 * each request has completed, with its data if it says so; R2 all descriptors are free; R6 none completed
 * while a reset went on.
 *
 * Included by one file a ring format, after its fake device, RING_FEATURES, and RING_SIZE of 0 to 3. */
#ifndef TESTS_FUZZ_VRING_FUZZ_H
#define TESTS_FUZZ_VRING_FUZZ_H

#include <arch/io.h>
#include <host.h>

#include "vring_liar.h"

/* The ring's verbs as such. */
static void use_ring(void)
{
    struct virtqueue *ring = disk->queues[0].ring;
    uint32_t what = script_take();
    bool must_notify = false;
    {
        SPIN_SCOPED_IRQ(&ring->lock);
        if (what & 1)
            virtqueue_callbacks_disable(ring);
        if (what & 2)
            (void)!virtqueue_callbacks_enable(ring);
        if (what & 4)
            must_notify = virtqueue_kick_prepare(ring);
    }
    if (must_notify && device_works())
        virtqueue_notify(ring);
    if (what & 8)
        block.config.ops->dump(&block);
}

/* As those do who do not wait for an interrupt. */
static void watch(void)
{
    switch (script_take() % 4) {
    case 0:
        block.config.ops->late(&block);
        break;
    case 1:
        block.config.ops->timed_out(&block);
        break;
    default:
        block.config.ops->poll(&block);
    }
}

static void reset_disk(void)
{
    uint32_t what = script_take();
    if (what & 1)
        intrusion = what / 2;
    if (what % 4 == 0)
        misbehave();
    else
        (void)!block.config.ops->reset(&block);
}

static void step(void)
{
    switch (script_take() % 16) {
    case 0:
    case 1:
    case 2:
        submit_some();
        break;
    case 3:
    case 4:
    case 5:
        complete_some();
        break;
    case 6:
    case 7:
        call_interrupt();
        break;
    case 8:
    case 9:
        lie_now();
        break;
    case 10:
        plan_something();
        break;
    case 11:
        run_works();
        break;
    case 12:
        use_ring();
        break;
    case 13:
        block.config.ops->set_polling(&block, script_take() & 1);
        break;
    case 14:
        watch();
        break;
    default:
        reset_disk();
    }
    reap();
    submit_waiting();
    check(virtqueue_is_consistent(disk->queues[0].ring));
}

/* Nobody looks unless interrupted. */
static void work(void)
{
    submit_waiting();
    if (device_works()) {
        device_take();
        races_left = m.held_count / 2;
        while (m.held_count > races_left)
            complete_one(0, VIRTIO_BLK_S_OK);
        if (is_interrupt_pending)
            call_interrupt();
    }
    reap();
}

static void finish(uint64_t offered)
{
    behave(offered);
    run_works();
    check(disk->queues[0].state != VIRTIO_BLK_DOWN); /* a lie that was noticed is over */
    int error = block.config.ops->reset(&block);
    check(error == 0 || disk->queues[0].state == VIRTIO_BLK_GONE);
    reap();
    is_trusted = true;
    work(); /* perhaps for nobody, who polls */
    block.config.ops->set_polling(&block, false);
    for (uint32_t rounds = 0; rounds < 4 * USERS && has_users(); rounds++)
        work();
    check(!has_users() && fifo_is_empty(&waiting)); /* R1 */
    check_equal(completed_before_reset_ended, 0);   /* R6 */
}

static void begin(uint32_t size, uint64_t offered, uint32_t seg_max)
{
    static struct virtio_transport_ops ops;
    ops = transport;
    ops.queue_enable = enable_honest;
    ops.status_read = status_read_among_others;
    prepare(size, offered);
    set_good_ranges();
    set_config(DISK_SECTORS, seg_max, 512);
    m.device.transport = &ops;
    behave(offered);
    fifo_init(&waiting);
    memset(disk_data, 0xd5, sizeof(disk_data));
    is_trusted = true;
    is_interrupt_pending = false;
    host_log_level = -1;
    check_equal(virtio_device_add(&m.device), 0);
    disk = block.config.driver;
    watch_ring(disk->queues[0].ring);
    run_works();
}

static void run_script(const uint8_t *data, size_t bytes)
{
    script.next = data;
    script.left = bytes;
    uint32_t kind = script_take();
    uint64_t offered = ALL_OF_QEMU | RING_FEATURES | ALL_RANGES;
    offered &= ~((kind & 1 ? BIT(VIRTIO_F_INDIRECT_DESC) : 0) | (kind & 2 ? BIT(VIRTIO_F_EVENT_IDX) : 0));
    offered |= (kind & 32 ? BIT(VIRTIO_F_IN_ORDER) : 0) | (kind & 64 ? BIT(VIRTIO_F_NOTIFICATION_DATA) : 0);
    begin(RING_SIZE(kind / 4 % 4), offered, kind & 16 ? 254 : 1);
    host_barrier = at_barrier;
    while (script.left > 0)
        step();
    finish(offered);
    host_barrier = NULL;
    stop(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    run_script(data, bytes);
    if (check_failures > 0)
        abort();
    return 0;
}

#endif
