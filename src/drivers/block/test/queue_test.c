/* SPDX-License-Identifier: MIT */
/* R5 of the queue, exact: a driver that is full at the wrong moment, over a device of the test's own. */
#include <arch/clock.h>
#include <arch/cpu.h>
#include <drivers/block/block.h>
#include <kernel/heap.h>
#include <kernel/test.h>
#include <kernel/timer.h>

#define LIMIT_NS (5 * NSEC_PER_SEC)

static struct {
    struct block_device *device;
    struct block_request ours, others;
    struct completion ours_done;
    struct timer timer;
    bool are_others_done; /* a */
    uint32_t submits;
    uint8_t *data;
} test;

static void ours_done(struct block_request *request)
{
    (void)request;
    complete(&test.ours_done);
}

static void others_done(struct block_request *request)
{
    __atomic_store_n(&test.are_others_done, request->status == BLOCK_OK, __ATOMIC_RELEASE);
}

static void submit_others(struct timer *timer)
{
    block_submit(&test.others);
}

/* The first batch meets a driver that an interrupt has just filled; before it is back, all of that is done.
 */
static void submit(struct block_device *device, struct fifo *batch)
{
    struct fifo done = FIFO_INIT(done);
    if (test.submits++ == 0) {
        uint64_t limit_ns = clock_ns() + LIMIT_NS;
        timer_start(&test.timer, clock_ns());
        while (!__atomic_load_n(&test.are_others_done, __ATOMIC_ACQUIRE) && clock_ns() < limit_ns)
            cpu_relax();
        return;
    }
    fifo_append(&done, batch);
    fifo_foreach (node, &done)
        container_of(node, struct block_request, node)->status = BLOCK_OK;
    block_complete(device, &done);
}
static const struct block_device_ops ops = {.submit = submit};

static bool begin(void)
{
    const struct block_device_config config = {
        .prefix = "queue",
        .ops = &ops,
        .sectors = 64,
        .limits = {.logical_block_bytes = BLOCK_SECTOR_BYTES,
                   .physical_block_bytes = BLOCK_SECTOR_BYTES,
                   .depth = 4,
                   .max_segments = 1,
                   .max_segment_bytes = BLOCK_SECTOR_BYTES,
                   .max_sectors = 1},
    };
    if (!test.data)
        test.data = heap_alloc_zeroed(BLOCK_SECTOR_BYTES);
    if (test.data && (test.device || block_device_register(&config, &test.device) == 0))
        return true;
    ktest_fail(__FILE__, __LINE__, "no memory for a device");
    return false;
}

/* Nothing was in flight before the refused batch, and nothing is when it comes back to the queue; between
 * lies all that would have restarted it. */
KTEST(block_queue_refused_while_others_finish, KTEST_FAST)
{
    struct block_plug plug;
    if (!begin())
        return;
    test.submits = 0;
    test.are_others_done = false;
    test.timer.expired = submit_others;
    completion_init(&test.ours_done);
    block_request_init(&test.ours, test.device, BLOCK_READ, 0, test.data, BLOCK_SECTOR_BYTES, ours_done);
    block_request_init(&test.others, test.device, BLOCK_READ, 8, test.data, BLOCK_SECTOR_BYTES, others_done);
    block_plug(&plug);
    block_submit(&test.ours);
    block_unplug(&plug);
    ktest_expect_equal(completion_wait_until(&test.ours_done, clock_ns() + LIMIT_NS), 0);
    ktest_expect_equal(test.submits, 3); /* ours refused, the other's, ours */
    timer_cancel(&test.timer);
    block_restart(test.device);
    block_device_drain(test.device);
}
