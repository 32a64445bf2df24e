/* SPDX-License-Identifier: MIT */
/* A virtio disk goes away: taken out in good order, or torn out. Each request ends once, only after the
 * device can write no more (R6), and what the disk had is given back, which the leak checker sees. */
#include "virtio_machine.h"

#define FEATURES ALL_OF_QEMU
#define COUNT    8u

static uint8_t data[512];
static struct block_request requests[COUNT], late;

static void submit_all(void)
{
    for (uint32_t i = 0; i < COUNT; i++)
        requests[i] = make_request(BLOCK_READ, i, data, 512);
    submit(requests, COUNT);
}

static void expect_nothing_left(void)
{
    check(!is_registered && m.device.driver_data == NULL && m.device.queue_count == 0);
    check(fifo_is_empty(&works) && m.disconnects >= 1);
    check_equal(completed_before_reset_ended, 0); /* R6 */
}

static void test_in_good_order(void)
{
    start(64, FEATURES);
    submit_all();
    device_take();
    device_complete(2); /* in the used ring, its interrupt not taken */
    m.reset_reads = 3;
    virtio_device_remove(&m.device);
    check(requests[2].status == BLOCK_OK);
    uint32_t ok = 0, gone = 0;
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        ok += container_of(node, struct block_request, node)->status == BLOCK_OK;
        gone += container_of(node, struct block_request, node)->status == BLOCK_GONE;
    }
    check(ok == 1 && gone == COUNT - 1);
    check(!m.is_isolated && m.resets >= 2); /* the first was at the start */
    expect_nothing_left();
}

/* Nobody waits for a device whose registers read as all ones; it is cut off, should it come back. */
static void test_torn_out(void)
{
    start_queues(2, 64, FEATURES);
    submit_all();
    device_take();
    m.is_unplugged = true;
    uint64_t before_ns = host_clock_ns;
    virtio_device_remove(&m.device);
    check_equal(count_finished(BLOCK_GONE), COUNT);
    check(m.is_isolated && host_clock_ns == before_ns);
    expect_nothing_left();
}

static void submit_late(void)
{
    late = make_request(BLOCK_READ, 0, data, 512);
    submit(&late, 1);
    check_equal(count_finished(BLOCK_GONE), 1);
    check_equal(-block.config.ops->reset(&block), ENODEV);
    check(block.config.ops->is_idle(&block));
}

/* Between the device's end and the layer's turning to others, requests still come to the driver. */
static void test_late_requests(void)
{
    for (int is_unplugged = 0; is_unplugged < 2; is_unplugged++) {
        start(64, FEATURES);
        m.is_unplugged = is_unplugged;
        before_unregister = submit_late;
        virtio_device_remove(&m.device);
        before_unregister = NULL;
        check_equal(late.status, BLOCK_GONE);
        expect_nothing_left();
    }
}

/* What interrupts left for a thread is done, or found useless, before the memory goes. */
static void test_works(void)
{
    for (int is_unplugged = 0; is_unplugged < 2; is_unplugged++) {
        struct virtio_blk *disk = start(64, FEATURES);
        submit_all();
        device_take();
        m.status |= VIRTIO_STATUS_NEEDS_RESET;
        m.device.driver->config_changed(&m.device);
        work_queue(&disk->reset_work);
        m.is_unplugged = is_unplugged;
        virtio_device_remove(&m.device);
        check_equal(count_finished(BLOCK_GONE), COUNT);
        expect_nothing_left();
    }
}

/* One that was given up before has nothing in flight, but its memory. */
static void test_gone_before(void)
{
    start(64, FEATURES);
    submit_all();
    m.is_unplugged = true;
    check_equal(-block.config.ops->reset(&block), ETIMEDOUT);
    check_equal(count_finished(BLOCK_GONE), COUNT);
    virtio_device_remove(&m.device);
    check_equal(count_finished(BLOCK_GONE), 0);
    expect_nothing_left();
}

/* All ones are no wish for a reset, and no answer to one. */
static void test_all_ones(void)
{
    start(64, FEATURES);
    m.status |= VIRTIO_STATUS_NEEDS_RESET;
    check(virtio_device_needs_reset(&m.device));
    m.is_unplugged = true;
    check(!virtio_device_needs_reset(&m.device));
    check_equal(-virtio_device_stop(&m.device), ETIMEDOUT);
    m.is_unplugged = false;
    virtio_device_remove(&m.device);
}

/* A device that was never any good leaves nothing either. */
static void test_failed_probe(void)
{
    prepare(64, FEATURES);
    register_error = -ENOSPC;
    check_equal(-virtio_device_add(&m.device), ENOSPC);
    check(m.device.driver_data == NULL && m.device.queue_count == 0 && fifo_is_empty(&works));
}

int main(void)
{
    test_in_good_order();
    test_torn_out();
    test_late_requests();
    test_works();
    test_gone_before();
    test_all_ones();
    test_failed_probe();
    return check_finish();
}
