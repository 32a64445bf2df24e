/* SPDX-License-Identifier: MIT */
/* The whole disk driver under a device that lies: each lie of a table, at each moment of another, told by
 * each queue. Whatever it is: each request ends exactly once, with a status that the lie allows, its memory
 * is touched by nobody afterwards (it is freed: the sanitizer looks), resets are few, and unless the disk is
 * gone it works again once the device does.
 *
 * Only what the driver can know counts: a device that says that it has read what it has not read is believed.
 * Included by one file a ring format, after its fake device, RING_FEATURES and tell_jump. */
#ifndef TESTS_HOST_VIRTIO_BLK_LIES_H
#define TESTS_HOST_VIRTIO_BLK_LIES_H

#include "virtio_blk_liar.h"

/* ---- Moments ------------------------------------------------------------------------------------------ */

static void at_rest(void)
{
    tell_planned();
    submit_users(0, REQUESTS);
}

static void in_flight(void)
{
    submit_users(0, REQUESTS);
    device_take();
    tell_planned();
}

static void half_done(void)
{
    submit_users(0, REQUESTS);
    device_take();
    for (uint32_t half = m.held_count / 2; half > 0; half--)
        device_complete(0);
    tell_planned();
}

static void in_the_interrupt(uint32_t barriers)
{
    submit_users(0, REQUESTS);
    device_take();
    for (uint32_t half = m.held_count / 2; half > 0; half--)
        device_complete(0);
    planned.barriers = barriers;
    call_interrupts(false);
}

static void in_the_interrupt_1(void)
{
    in_the_interrupt(1);
}

static void in_the_interrupt_2(void)
{
    in_the_interrupt(2);
}

static void in_the_interrupt_3(void)
{
    in_the_interrupt(3);
}

static void in_the_submit(void)
{
    submit_users(0, REQUESTS - 1);
    planned.barriers = 2;
    submit_users(REQUESTS - 1, 1);
}

static void in_the_reset(void)
{
    submit_users(0, REQUESTS);
    device_take();
    planned.during_reset = true;
    m.reset_reads = 3;
    (void)!block.config.ops->reset(&block);
}

static void before_the_replay(void)
{
    submit_users(0, REQUESTS);
    device_take();
    planned.at_start = true;
    (void)!block.config.ops->reset(&block);
}

static void while_polling(void)
{
    is_polling = true;
    block.config.ops->set_polling(&block, true);
    submit_users(0, REQUESTS);
    device_take();
    tell_planned();
    block.config.ops->poll(&block);
}

static void after_all(void)
{
    submit_users(0, REQUESTS);
}

static const struct moment {
    const char *name;
    void (*run)(void);
    uint32_t resets;
} moments[] = {
    {"before there is a disk", after_all, 0},
    {"at rest", at_rest, 0},
    {"in flight", in_flight, 0},
    {"half done", half_done, 0},
    {"in the interrupt, 1st barrier", in_the_interrupt_1, 0},
    {"in the interrupt, 2nd barrier", in_the_interrupt_2, 0},
    {"in the interrupt, 3rd barrier", in_the_interrupt_3, 0},
    {"in the submit", in_the_submit, 0},
    {"in the reset", in_the_reset, 1},
    {"before the replay", before_the_replay, 1},
    {"while polling", while_polling, 0},
};

/* ---- Cases -------------------------------------------------------------------------------------------- */

static struct virtio_transport_ops lying_transport;

static void begin(uint32_t queues, uint64_t offered)
{
    lying_transport = transport;
    lying_transport.status_write = status_write_slowly;
    lying_transport.status_read = status_read_slowly;
    lying_transport.queue_enable = enable_and_lie;
    lying_transport.notify = notify_or_not;
    memset(&conduct, 0, sizeof(conduct));
    memset(&planned, 0, sizeof(planned));
    told_again = NULL;
    disk = NULL;
    is_polling = false;
    ends = 0;
    fifo_init(&waiting);
    prepare_queues(queues, RING_ENTRIES, offered);
    m.device.transport = &lying_transport;
}

static void behave(uint64_t offered)
{
    memset(&conduct, 0, sizeof(conduct));
    memset(&planned, 0, sizeof(planned));
    told_again = NULL;
    m.offered = offered | BIT(VIRTIO_BLK_F_MQ);
    m.has_features_ok = true;
    m.resets_left = -1;
    m.reset_reads = m.connect_error = 0;
    m.config_changes = 0;
    if (is_polling)
        block.config.ops->set_polling(&block, false);
    is_polling = false;
}

/* Once the device behaves, and has been reset: as if nothing had been, or gone for good. */
static void check_afterwards(uint64_t offered)
{
    bool is_gone = disk->queues[0].state == VIRTIO_BLK_GONE;
    behave(offered);
    check_equal(-block.config.ops->reset(&block), is_gone ? ENODEV : 0);
    ends = 0;
    submit_users(0, REQUESTS);
    settle();
    check_equal(ends, is_gone ? ENDS(GONE) : ENDS(OK));
    check_equal(completed_before_reset_ended, 0); /* R6 */
    if (is_gone)
        m.is_isolated = false;
    stop(disk);
}

static void check_case(const struct lie *lie, const struct moment *moment)
{
    struct block_recovery recovery;
    bool may_not_end = lie->flags & OF_STATUS && moment->run == in_the_reset;
    block.config.ops->recovery(&block, &recovery);
    check(ends != 0 && (ends & ~(lie->ends | (may_not_end ? ENDS(GONE) : 0))) == 0);
    check(may_not_end || recovery.resets >= lie->resets_min);
    check(recovery.resets <= lie->resets_max + moment->resets);
    check(!(ends & (ENDS(GONE) | ENDS(RETRY))) || recovery.given_up > 0 ||
          disk->queues[0].state == VIRTIO_BLK_GONE);
    check_equal(block.sectors, DISK_SECTORS);
}

static void run_case(const struct lie *lie, const struct moment *moment, uint64_t offered, uint32_t queues,
                     uint32_t liar)
{
    unsigned failures = check_failures;
    begin(queues, offered);
    planned.queue = liar;
    planned.before_registration = moment->run == after_all;
    planned.lie = planned.before_registration ? lie : NULL;
    disk = start_prepared();
    planned.lie = planned.before_registration ? NULL : lie;
    told_again = lie->flags & TOLD_AGAIN ? lie : NULL;
    host_barrier = at_barrier;
    moment->run();
    tell_planned(); /* if it did not come to it */
    if (!conduct.loses_interrupts)
        call_interrupts(false);
    settle();
    host_barrier = NULL;
    check_case(lie, moment);
    check_afterwards(offered);
    if (check_failures != failures)
        fprintf(stderr, "    ^ %s, %s, queue %u of %u, features 0x%llx\n", lie->name, moment->name, liar,
                queues, (unsigned long long)offered);
}

static void run_cases(uint64_t offered)
{
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(moments); j++) {
            run_case(&lies[i], &moments[j], offered, 1, 0);
            run_case(&lies[i], &moments[j], offered, 2, 0);
            run_case(&lies[i], &moments[j], offered, 2, 1);
        }
    }
}

/* ---- mode=raw ----------------------------------------------------------------------------------------- */

#define RAW_IOS 64u
static uint64_t raw_limit_ns; /* when even the most patient has given up */

/* The running thread sleeps: time for the device, and now and then for a lie. */
static void raw_idle(void)
{
    host_clock_ns += 100 * NSEC_PER_MSEC;
    assert(host_clock_ns < raw_limit_ns);
    if (planned.barriers > 0 && --planned.barriers == 0)
        tell_planned();
    device_step();
}

static void nothing(void)
{
}

static void run_raw(const struct lie *lie, uint64_t offered, uint32_t queues)
{
    unsigned failures = check_failures;
    raw_limit_ns = host_clock_ns + 60 * NSEC_PER_SEC;
    begin(queues, offered);
    disk = start_prepared();
    struct block_raw_job job = {.operation = BLOCK_READ,
                                .block_bytes = 512,
                                .depth = 8,
                                .batch = 4,
                                .ios = RAW_IOS,
                                .sectors = DISK_SECTORS,
                                .is_random = true,
                                .data = malloc(8 * 512),
                                .window_start = nothing,
                                .window_end = nothing};
    planned.lie = lie;
    planned.barriers = 3;
    told_again = lie->flags & TOLD_AGAIN ? lie : NULL;
    host_idle = raw_idle;
    int error = block.config.ops->raw(&block, &job);
    host_idle = NULL;
    check(error == 0 || error == -EIO || error == -ETIMEDOUT);
    check(error ? job.done < RAW_IOS : job.done == RAW_IOS);
    check(m.held_count == 0 || m.is_isolated); /* R6 */
    free(job.data);
    settle();
    check(disk->resets <= lie->resets_max);
    check_equal(completed_before_reset_ended, 0);
    check_afterwards(offered);
    if (check_failures != failures)
        fprintf(stderr, "    ^ %s, mode=raw, %u queues, features 0x%llx\n", lie->name, queues,
                (unsigned long long)offered);
}

static void test_raw(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        for (uint32_t queues = 1; queues <= 2; queues++) {
            run_raw(&lies[i], FEATURES, queues);
            run_raw(&lies[i], FEATURES & ~BIT(VIRTIO_F_INDIRECT_DESC), queues);
            run_raw(&lies[i], FEATURES & ~BIT(VIRTIO_F_EVENT_IDX), queues);
        }
    }
}

static void test_lies(void)
{
    for (uint32_t round = 0; round < 10; round++) { /* other requests each time */
        run_cases(FEATURES);
        run_cases(FEATURES & ~BIT(VIRTIO_F_INDIRECT_DESC));
        run_cases(FEATURES & ~BIT(VIRTIO_F_EVENT_IDX));
    }
}

static int test_all(void)
{
    host_log_level = -1;
    for (uint32_t i = 0; i < sizeof(disk_data); i++)
        disk_data[i] = (uint8_t)fd_random(256);
    test_lies();
    test_raw();
    return check_finish();
}

#endif
