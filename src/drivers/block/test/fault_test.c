/* SPDX-License-Identifier: MIT */
/* Fault injection, exact: over a device of its own that completes within submit and takes as many requests at
 * a time as the test says, leaving the rest to the queue. It has no data; with data: stress, at the end. */
#include "bench_device_internal.h"

#include <arch/clock.h>
#include <drivers/block/fault.h>
#include <kernel/heap.h>
#include <kernel/printf.h>
#include <kernel/shell.h>
#include <kernel/test.h>
#include <kernel/thread.h>

#define DEPTH        8u
#define REQUESTS_MAX 64u
#define BYTES        4096u
#define SECTORS      (BYTES / BLOCK_SECTOR_BYTES)
#define PIECE        (4 * SECTORS) /* sectors that the device takes at once */
#define LIMIT_NS     (5 * NSEC_PER_SEC)
#define ALL          0xf

static struct {
    struct block_device *device;
    uint32_t room; /* a: requests that it takes a submit */
} fake;

/* One batch of requests, all of BYTES. */
static struct {
    struct block_request requests[REQUESTS_MAX];
    uint8_t *data;
    uint32_t order[REQUESTS_MAX]; /* of completion: indexes of requests */
    uint32_t finished;            /* a */
    uint64_t linger_ns;           /* how long done takes for a request that failed */
} run;

static void fake_submit(struct block_device *device, struct fifo *batch)
{
    struct fifo done = FIFO_INIT(done);
    struct fifo_node *node;
    uint32_t room = read_once(fake.room);
    while (room-- > 0 && (node = fifo_pop(batch)) != NULL) {
        struct block_request *request = container_of(node, struct block_request, node);
        ktest_expect(!(request->shape & BLOCK_SHAPE_JUDGED));
        request->status = BLOCK_OK;
        fifo_push(&done, node);
    }
    if (!fifo_is_empty(&done))
        block_complete(device, &done);
}
static const struct block_device_ops fake_ops = {.submit = fake_submit};

static bool begin(void)
{
    const struct block_device_config config = {
        .prefix = "fault",
        .ops = &fake_ops,
        .sectors = 1u << 20,
        .limits = {.logical_block_bytes = BLOCK_SECTOR_BYTES,
                   .physical_block_bytes = BLOCK_SECTOR_BYTES,
                   .depth = DEPTH,
                   .max_segments = 4,
                   .max_segment_bytes = PIECE * BLOCK_SECTOR_BYTES,
                   .max_sectors = PIECE},
        .has_flush = true,
    };
    if (!run.data)
        run.data = heap_alloc_zeroed(2 * PIECE * BLOCK_SECTOR_BYTES);
    if (!run.data || (!fake.device && block_device_register(&config, &fake.device) != 0)) {
        ktest_fail(__FILE__, __LINE__, "no memory for a device");
        return false;
    }
    block_fault_clear(fake.device);
    fake.room = UINT32_MAX;
    run.linger_ns = 0;
    return true;
}

static void add(enum block_fault_kind kind, struct block_fault_rule rule)
{
    rule.kind = kind;
    rule.operations = ALL;
    rule.every = MAX(rule.every, 1u);
    if (rule.sectors == 0)
        rule.sectors = UINT64_MAX;
    if (rule.status == BLOCK_OK)
        rule.status = BLOCK_FAILED;
    ktest_expect_equal(block_fault_add(fake.device, &rule), 0);
}

static struct block_fault_state state(void)
{
    struct block_fault_state now;
    block_fault_state(fake.device, &now);
    return now;
}

static void done(struct block_request *request)
{
    uint64_t until_ns = request->status == BLOCK_OK ? 0 : clock_ns() + run.linger_ns;
    while (clock_ns() < until_ns)
        cpu_relax();
    uint32_t at = __atomic_fetch_add(&run.finished, 1, __ATOMIC_ACQ_REL);
    run.order[at] = (uint32_t)(request - run.requests);
}

/* Reads, `stride` sectors from one to the next, in one batch (SECTORS: they merge). */
static void submit(uint32_t count, uint32_t stride)
{
    struct block_plug plug;
    write_once(run.finished, 0);
    block_plug(&plug);
    for (uint32_t i = 0; i < count; i++) {
        block_request_init(&run.requests[i], fake.device, BLOCK_READ, i * stride, run.data, BYTES, done);
        block_submit(&run.requests[i]);
    }
    block_unplug(&plug);
}

static bool has_finished(uint32_t count)
{
    uint64_t limit_ns = clock_ns() + LIMIT_NS;
    while (__atomic_load_n(&run.finished, __ATOMIC_ACQUIRE) < count && clock_ns() < limit_ns)
        thread_sleep_ns(NSEC_PER_MSEC);
    return run.finished == count;
}

static uint32_t count_status(uint32_t count, enum block_status status)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += run.requests[i].status == status;
    return found;
}

/* ---- Errors ----------------------------------------------------------------------------------------- */

KTEST(fault_error_is_its_requests_only, KTEST_FAST)
{
    static const enum block_status statuses[] = {BLOCK_FAILED, BLOCK_RETRY, BLOCK_GONE};
    for (size_t i = 0; begin() && i < ARRAY_SIZE(statuses); i++) {
        add(BLOCK_FAULT_ERROR,
            (struct block_fault_rule){.status = statuses[i], .sector = 21 * SECTORS + 3, .sectors = 1});
        submit(REQUESTS_MAX, SECTORS);
        ktest_expect(has_finished(REQUESTS_MAX));
        ktest_expect_equal(run.requests[21].status, statuses[i]);
        ktest_expect_equal(count_status(REQUESTS_MAX, BLOCK_OK), REQUESTS_MAX - 1);
        ktest_expect_equal(state().rules[0].hits, 1);
        ktest_expect_equal(state().rules[0].matches, 1);
    }
}

/* Merged requests are taken apart where one of them fails, and most of a batch comes again since the device
 * has no room: each is counted once all the same. */
KTEST(fault_counts_each_request_once, KTEST_FAST)
{
    for (uint32_t room = 1; begin() && room <= 4; room++) {
        fake.room = room;
        add(BLOCK_FAULT_ERROR, (struct block_fault_rule){.every = 5});
        submit(REQUESTS_MAX, SECTORS);
        ktest_expect(has_finished(REQUESTS_MAX));
        ktest_expect_equal(state().rules[0].matches, REQUESTS_MAX);
        ktest_expect_equal(state().rules[0].hits, REQUESTS_MAX / 5);
        ktest_expect_equal(count_status(REQUESTS_MAX, BLOCK_FAILED), REQUESTS_MAX / 5);
    }
}

KTEST(fault_stops_after_count, KTEST_FAST)
{
    if (!begin())
        return;
    add(BLOCK_FAULT_ERROR, (struct block_fault_rule){.count = 3});
    submit(REQUESTS_MAX, SECTORS);
    ktest_expect(has_finished(REQUESTS_MAX));
    ktest_expect_equal(count_status(REQUESTS_MAX, BLOCK_FAILED), 3);
    submit(REQUESTS_MAX, 2 * SECTORS);
    ktest_expect(has_finished(REQUESTS_MAX));
    ktest_expect_equal(count_status(REQUESTS_MAX, BLOCK_OK), REQUESTS_MAX);
}

static int read_in_two_pieces(uint64_t sector)
{
    struct block_request request;
    block_request_init(&request, fake.device, BLOCK_READ, sector, run.data, 2 * PIECE * BLOCK_SECTOR_BYTES,
                       NULL);
    return block_submit_and_wait(&request);
}

/* A request of two pieces fails by the piece that touches the sector, and counts once a piece. */
KTEST(fault_reaches_pieces, KTEST_FAST)
{
    if (!begin())
        return;
    add(BLOCK_FAULT_ERROR, (struct block_fault_rule){.sector = 2 * PIECE - 1, .sectors = 1});
    add(BLOCK_FAULT_DELAY, (struct block_fault_rule){.delay_ns = NSEC_PER_MSEC});
    ktest_expect_equal(read_in_two_pieces(0), -EIO);
    ktest_expect_equal(read_in_two_pieces(2 * PIECE), 0);
    ktest_expect_equal(state().rules[0].hits, 1);
    ktest_expect_equal(state().rules[1].hits, 3);
}

KTEST(fault_takes_flushes, KTEST_FAST)
{
    if (!begin())
        return;
    struct block_fault_rule rule = {.operations = 1u << BLOCK_FLUSH, .status = BLOCK_FAILED, .every = 1};
    rule.kind = BLOCK_FAULT_ERROR;
    rule.sectors = UINT64_MAX;
    ktest_expect_equal(block_fault_add(fake.device, &rule), 0);
    ktest_expect_equal(block_flush(fake.device), -EIO);
    ktest_expect_equal(block_read(fake.device, 0, run.data, BYTES), 0);
    ktest_expect_equal(state().rules[0].matches, 1);
    block_fault_clear(fake.device);
    ktest_expect_equal(block_flush(fake.device), 0);
    /* One that stands at a sector touches none. */
    struct block_request flush;
    add(BLOCK_FAULT_ERROR, (struct block_fault_rule){.sector = 80, .sectors = 8});
    block_request_init(&flush, fake.device, BLOCK_FLUSH, 84, NULL, 0, NULL);
    ktest_expect_equal(block_submit_and_wait(&flush), 0);
}

/* ---- Time and order --------------------------------------------------------------------------------- */

KTEST(fault_reverses_a_batch, KTEST_FAST)
{
    if (!begin())
        return;
    add(BLOCK_FAULT_REORDER, (struct block_fault_rule){.every = 1});
    submit(6, 2 * SECTORS);
    ktest_expect(has_finished(6));
    for (uint32_t i = 0; i < 6; i++)
        ktest_expect_equal(run.order[i], 5 - i);
}

/* What the device leaves is the first of the batch, which to the queue looks as if it had taken nothing; and
 * it is long on its way back to the queue, since the third request fails, whose done takes its time. */
KTEST(fault_looks_until_what_was_left_comes, KTEST_FAST)
{
    if (!begin())
        return;
    fake.room = 1;
    run.linger_ns = 5 * NSEC_PER_MSEC;
    add(BLOCK_FAULT_ERROR, (struct block_fault_rule){.sector = 4 * SECTORS, .sectors = 1});
    add(BLOCK_FAULT_REORDER, (struct block_fault_rule){.every = 1});
    submit(3, 2 * SECTORS);
    ktest_expect(has_finished(3));
    ktest_expect_equal(run.order[0], 1);
    ktest_expect_equal(run.order[1], 2);
    ktest_expect_equal(run.order[2], 0);
}

KTEST(fault_delays, KTEST_FAST)
{
    if (!begin())
        return;
    add(BLOCK_FAULT_DELAY, (struct block_fault_rule){.delay_ns = 20 * NSEC_PER_MSEC});
    uint64_t start_ns = clock_ns();
    ktest_expect_equal(block_read(fake.device, 0, run.data, BYTES), 0);
    ktest_expect(clock_ns() - start_ns >= 20 * NSEC_PER_MSEC);
}

KTEST(fault_holds_until_release, KTEST_FAST)
{
    struct block_stats stats;
    if (!begin())
        return;
    add(BLOCK_FAULT_HOLD, (struct block_fault_rule){.count = 2});
    submit(4, 2 * SECTORS);
    ktest_expect(has_finished(2));
    block_device_stats(fake.device, &stats);
    ktest_expect_equal(stats.in_flight, 2);
    ktest_expect_equal(state().parked, 2);
    block_fault_release(fake.device);
    ktest_expect(has_finished(4));
    ktest_expect_equal(run.order[2] + run.order[3], 0 + 1);
    block_device_stats(fake.device, &stats);
    ktest_expect_equal(stats.in_flight + stats.queued, 0);
}

/* The driver is idle though the queue has something in flight: what the driver left goes on all the same. */
KTEST(fault_hold_stops_nobody_else, KTEST_FAST)
{
    if (!begin())
        return;
    fake.room = 1;
    add(BLOCK_FAULT_HOLD, (struct block_fault_rule){.sector = 0, .sectors = 1});
    submit(DEPTH, 2 * SECTORS);
    ktest_expect(has_finished(DEPTH - 1));
    ktest_expect_equal(state().parked, 1);
    block_fault_clear(fake.device);
    ktest_expect(has_finished(DEPTH));
}

/* A queue that is full of held requests. */
KTEST(fault_holds_a_whole_queue, KTEST_FAST)
{
    struct block_stats stats;
    if (!begin())
        return;
    add(BLOCK_FAULT_HOLD, (struct block_fault_rule){.every = 1});
    submit(DEPTH + 2, 2 * SECTORS);
    block_device_stats(fake.device, &stats);
    ktest_expect_equal(stats.in_flight, DEPTH);
    ktest_expect_equal(stats.queued, 2);
    block_fault_release(fake.device);
    ktest_expect(has_finished(DEPTH));
    ktest_expect_equal(state().parked, 2); /* the rule is still there */
    block_fault_clear(fake.device);
    ktest_expect(has_finished(DEPTH + 2));
    ktest_expect(block_device_ops(fake.device) == &fake_ops);
}

/* What is held for long is not the driver's fault: the watchdog has nothing to look for. And it is not lost.
 */
KTEST(fault_hold_is_not_late, KTEST_SLOW)
{
    struct block_stats before, now;
    if (!begin())
        return;
    block_device_stats(fake.device, &before);
    add(BLOCK_FAULT_HOLD, (struct block_fault_rule){.count = 1});
    submit(1, SECTORS);
    thread_sleep_ns(3 * BLOCK_LATE_NS);
    block_device_stats(fake.device, &now);
    ktest_expect_equal(now.late, before.late);
    ktest_expect_equal(now.in_flight, 1);
    block_fault_clear(fake.device);
    ktest_expect(has_finished(1));
    ktest_expect_equal(run.requests[0].status, BLOCK_OK);
}

/* ---- With data -------------------------------------------------------------------------------------- */

static int run_on(const char *device, const char *format)
{
    char line[128];
    snprintf(line, sizeof(line), format, device);
    return shell_execute(line);
}

KTEST(fault_stress_passes_out_of_order, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(run_on(device, "fault %s delay every=7 delay=200us"), 0);
    ktest_expect_equal(run_on(device, "fault %s reorder every=2"), 0);
    ktest_expect_equal(run_on(device, "stress dev=%s ios=2000 threads=8"), 0);
    ktest_expect_equal(run_on(device, "fault %s clear"), 0);
}

KTEST(fault_stress_notices_an_error, KTEST_FAST)
{
    const char *device = bench_device_get();
    ktest_expect_equal(run_on(device, "fault %s error op=read every=500"), 0);
    ktest_expect_equal(run_on(device, "stress dev=%s ios=2000 threads=8"), -EIO);
    ktest_expect_equal(run_on(device, "fault %s clear"), 0);
    ktest_expect_equal(run_on(device, "stress dev=%s ios=500 threads=4"), 0);
}

KTEST(fault_command_refuses_bad_words, KTEST_FAST)
{
    static const char *const bad[] = {"fault %s frob",           "fault %s error op=read,",
                                      "fault %s error op=trim",  "fault %s error sector=5-4",
                                      "fault %s error sector=x", "fault %s error status=fine",
                                      "fault %s error count=0",  "fault %s delay",
                                      "fault %s delay delay=x",  "fault %s hold delay=1ms",
                                      "fault %s error every=0",  "fault %s reorder status=failed",
                                      "fault %s error each=4",   "fault %s clear now"};
    struct block_fault_state now;
    const char *device = bench_device_get();
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ktest_expect_equal(run_on(device, bad[i]), -EINVAL);
    ktest_expect_equal(shell_execute("fault nosuch0"), -ENODEV);
    struct block_device *found = block_device_find(device);
    block_fault_state(found, &now);
    block_device_put(found);
    ktest_expect_equal(now.rule_count, 0);
    for (uint32_t i = 0; i < BLOCK_FAULT_RULES; i++)
        ktest_expect_equal(run_on(device, "fault %s hold op=get-id sector=80-87"), 0);
    ktest_expect_equal(run_on(device, "fault %s hold"), -ENOSPC);
    ktest_expect_equal(run_on(device, "fault %s clear"), 0);
}
