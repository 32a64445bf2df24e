/* SPDX-License-Identifier: MIT */
/* The block layer over a scripted driver: limits, merging, full and stopped queues, refusals, errors; each
 * request done exactly once (R1), whatever the driver does. */
#include "block_machine.h"

/* ---- Traffic ---------------------------------------------------------------------------------------- */

#define CLIENTS           48u
#define CLIENT_SECTORS    16u /* each has its own part of the disk, so that what is read can be foretold */
#define SEGMENT_BYTES_MIN 300u
#define CLIENT_SEGMENTS   (CLIENT_SECTORS * BLOCK_SECTOR_BYTES / SEGMENT_BYTES_MIN)

static struct client {
    struct block_request request;
    struct block_segment segments[CLIENT_SEGMENTS];
    uint8_t data[CLIENT_SECTORS * BLOCK_SECTOR_BYTES];
    uint32_t dones;
    bool is_busy;
} clients[CLIENTS];
static uint64_t done_count;

static void client_done(struct block_request *request)
{
    struct client *client = container_of(request, struct client, request);
    check(client->is_busy && !spin_is_locked(&disk.device->lock));
    check_equal(request->status, BLOCK_OK);
    if (request->operation <= BLOCK_WRITE)
        check(memcmp(client->data, disk.data + request->sector * BLOCK_SECTOR_BYTES,
                     request->sectors * BLOCK_SECTOR_BYTES) == 0);
    client->is_busy = false;
    client->dones++;
    done_count++;
}

/* Cuts the client's data into segments of odd lengths, so long that any three hold a block. */
static void cut(struct client *client, uint32_t bytes)
{
    uint32_t at = 0, count = 0, longest = MIN(disk.device->limits.max_segment_bytes, 2000u);
    for (uint32_t take; at < bytes; at += take) {
        take = SEGMENT_BYTES_MIN + random_below_limit(longest - SEGMENT_BYTES_MIN + 1);
        if (at + take + SEGMENT_BYTES_MIN > bytes)
            take = bytes - at;
        client->segments[count++] = (struct block_segment){client->data + at, take};
    }
    client->request.segments = client->segments;
    client->request.segment_count = (uint16_t)count;
}

static void submit_client(struct client *client, bool is_cut)
{
    uint32_t index = (uint32_t)(client - clients), kind = random_below_limit(10);
    uint32_t first = random_below_limit(CLIENT_SECTORS),
             sectors = 1 + random_below_limit(CLIENT_SECTORS - first);
    uint32_t bytes = sectors * BLOCK_SECTOR_BYTES;
    client->is_busy = true;
    if (kind == 0) {
        block_request_init(&client->request, disk.device, BLOCK_FLUSH, 0, NULL, 0, client_done);
    } else {
        for (uint32_t i = 0; i < bytes; i++)
            client->data[i] = (uint8_t)random_below_limit(256);
        block_request_init(&client->request, disk.device, kind < 5 ? BLOCK_READ : BLOCK_WRITE,
                           index * CLIENT_SECTORS + first, client->data, bytes, client_done);
        if (is_cut)
            cut(client, bytes);
    }
    block_submit(&client->request);
}

/* Plugged batches, completions in any order, a driver that is now and then short of room. */
static void traffic_step(bool is_cut)
{
    struct block_plug plug;
    block_plug(&plug);
    for (uint32_t i = random_below_limit(12); i > 0; i--) {
        struct client *client = &clients[random_below_limit(CLIENTS)];
        if (!client->is_busy)
            submit_client(client, is_cut);
    }
    disk.room = 1 + random_below_limit(disk.device->limits.depth);
    block_unplug(&plug);
    disk_complete(random_below_limit(disk.held_count + 1));
    if (random_below_limit(16) == 0)
        check_equal(block_device_set_scheduler(disk.device, random_below_limit(2) ? "deadline" : "none"), 0);
}

/* Only completions from here on: nothing may be left behind in a queue that nobody starts (R5). */
static void finish_traffic(void)
{
    while (disk.held_count > 0)
        disk_complete(1);
    for (uint32_t i = 0; i < CLIENTS; i++)
        check(!clients[i].is_busy);
    disk_expect_idle();
}

static void test_traffic(void)
{
    static const struct {
        uint32_t depth;
        uint16_t max_segments;
        uint32_t max_segment_bytes, max_sectors;
    } cases[] = {{2, 64, 1u << 20, 2048}, {1, 1, 1024, 4}, {2, 3, 700, 8}, {7, 4, 4096, 24}, {32, 2, 512, 3}};
    for (size_t c = 0; c < 2 * ARRAY_SIZE(cases); c++) {
        uint16_t max_segments = cases[c / 2].max_segments;
        disk_start(cases[c / 2].depth, max_segments, cases[c / 2].max_segment_bytes,
                   cases[c / 2].max_sectors);
        disk.is_synchronous = c % 2;
        done_count = 0;
        for (uint32_t step = 0; step < 3000; step++)
            traffic_step(max_segments >= 3 && step % 2);
        finish_traffic();
        check(done_count > 500);
    }
}

/* ---- A queue that is full or stopped ------------------------------------------------------------------ */

#define MANY 100u
static struct block_request many[MANY];
static uint8_t many_data[MANY * BLOCK_SECTOR_BYTES];
static uint32_t many_done;

static void count_done(struct block_request *request)
{
    check(request->status == BLOCK_OK);
    many_done++;
}

/* Reads of every other sector, so that they do not merge. */
static void submit_many(uint32_t count)
{
    struct block_plug plug;
    many_done = 0;
    block_plug(&plug);
    for (uint32_t i = 0; i < count; i++) {
        block_request_init(&many[i], disk.device, BLOCK_READ, 2 * i, many_data + i * BLOCK_SECTOR_BYTES,
                           BLOCK_SECTOR_BYTES, count_done);
        block_submit(&many[i]);
    }
    block_unplug(&plug);
}

/* Hazards 16 and 47: what does not fit waits, is not refused, and goes on with the completions. */
static void test_full_queue(void)
{
    for (uint32_t room = 1; room <= 4; room++) {
        disk_start(4, 64, 1u << 20, 2048);
        disk.room = room; /* fewer than the depth: the driver leaves some in the batch */
        submit_many(MANY);
        check_equal(disk.held_count, room);
        check_equal(many_done, 0);
        for (uint32_t i = 0; i < MANY && disk.held_count > 0; i++)
            disk_complete(1);
        check_equal(many_done, MANY);
        disk_expect_idle();
    }
}

static void complete_all(void)
{
    disk.before = NULL;
    disk_complete(disk.held_count);
}

/* R5: the driver had no room when it looked, and all that it held completed before it gave the request back.
 * No completion will come to restart the queue. */
static void test_completions_before_put_back(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    disk.room = 1;
    submit_many(1);
    disk.before = complete_all;
    block_request_init(&many[1], disk.device, BLOCK_READ, 20, many_data, BLOCK_SECTOR_BYTES, count_done);
    block_submit(&many[1]);
    check_equal(disk.held_count, 1);
    disk_complete(disk.held_count);
    check_equal(many_done, 2);
    disk_expect_idle();
}

/* A thread that waits: its request goes down at once, or with others when the CPU has nothing else to do. */
static void test_submit_and_wait(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    for (unsigned defers = 0; defers < 2; defers++) {
        host_defers = defers;
        for (unsigned i = 0; i < 10; i++) {
            memset(many_data, 0, BLOCK_SECTOR_BYTES);
            block_request_init(&many[0], disk.device, BLOCK_READ, i, many_data, BLOCK_SECTOR_BYTES, NULL);
            check_equal(block_submit_and_wait(&many[0]), 0);
            check(memcmp(many_data, disk.data + i * BLOCK_SECTOR_BYTES, BLOCK_SECTOR_BYTES) == 0);
        }
        disk_expect_idle();
    }
}

/* A driver that takes nothing at all, as while it resets: block_restart brings the requests. */
static void test_restart(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    disk.room = 0;
    submit_many(3);
    check(disk.held_count == 0 && disk.submits <= 2);
    disk.room = 4;
    block_restart(disk.device);
    check_equal(disk.held_count, 3);
    disk_complete(3);
    check_equal(many_done, 3);
    disk_expect_idle();
}

/* Hazard 48: what is in flight for more than a tick is looked after; nothing is watched while idle. */
static void test_watchdog(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    armed_timer = NULL;
    submit_many(1);
    check(armed_timer == &disk.device->watchdog);
    for (unsigned tick = 0; tick < 3; tick++)
        armed_timer->expired(armed_timer);
    check(disk.late_looks >= 1 && disk.device->stats.late == disk.late_looks);
    disk_complete(1);
    uint32_t looks = disk.late_looks;
    struct timer *timer = armed_timer;
    armed_timer = NULL;
    timer->expired(timer);
    check(armed_timer == NULL && disk.late_looks == looks);
    submit_many(1);
    check(armed_timer == timer);
    disk_complete(1);
}

static void pass_ticks(uint32_t count)
{
    for (; count > 0; count--)
        disk.device->watchdog.expired(&disk.device->watchdog);
}

/* A request that stays: reset after the timeout, and after the next one, and not before. */
static void test_timeout(void)
{
    static const uint64_t timeouts_ns[] = {BLOCK_LATE_NS, 2 * NSEC_PER_SEC, 30 * NSEC_PER_SEC};
    for (size_t i = 0; i < ARRAY_SIZE(timeouts_ns); i++) {
        uint32_t ticks = (uint32_t)(timeouts_ns[i] / BLOCK_LATE_NS);
        disk_start(4, 64, 1u << 20, 2048);
        check_equal(block_device_timeout(disk.device), 30 * NSEC_PER_SEC);
        block_device_set_timeout(disk.device, timeouts_ns[i]);
        submit_many(1);
        pass_ticks(1); /* from here on it is old */
        for (uint32_t round = 0; round < 3; round++) {
            pass_ticks(ticks - 1);
            check_equal(disk.timeouts, round);
            pass_ticks(1);
            check_equal(disk.timeouts, round + 1);
        }
        check_equal(disk.device->stats.timeouts, 3);
        disk_complete(1);
        pass_ticks(3 * ticks);
        check_equal(disk.timeouts, 3);
        disk_expect_idle();
    }
}

/* The oldest request decides: that others come and go says nothing about it. */
static void test_timeout_of_one_among_many(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    submit_many(1);
    struct block_request *stuck = disk.held[0];
    for (uint32_t tick = 0; tick < 61; tick++) {
        check_equal(disk.timeouts, 0);
        disk.held_count = 0; /* the others' turn */
        block_request_init(&many[1], disk.device, BLOCK_READ, 1, many_data, BLOCK_SECTOR_BYTES, count_done);
        block_submit(&many[1]);
        disk_complete(1);
        pass_ticks(1);
    }
    check_equal(disk.timeouts, 1);
    disk.held[disk.held_count++] = stuck;
    disk_complete(1);
    disk_expect_idle();
}

/* Nor is a device reset that is mended by looking, or that may take its time, or that was not even asked. */
static void test_no_timeout(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    block_device_set_timeout(disk.device, BLOCK_LATE_NS);
    disk.is_mended_by_looking = true;
    submit_many(1);
    pass_ticks(2);
    check(many_done == 1 && disk.late_looks == 1 && disk.timeouts == 0);
    disk.is_mended_by_looking = false;

    block_device_set_timeout(disk.device, 0);
    submit_many(1);
    pass_ticks(10000);
    check(disk.late_looks > 9000 && disk.timeouts == 0);
    disk_complete(1);

    block_device_set_timeout(disk.device, BLOCK_LATE_NS);
    uint32_t looks = disk.late_looks;
    submit_many(1);
    struct fifo held = FIFO_INIT(held);
    fifo_push(&held, &disk.held[0]->node);
    block_watchdog_suspend(disk.device, &held);
    pass_ticks(100);
    check(disk.late_looks == looks && disk.timeouts == 0);
    block_watchdog_resume(disk.device, &held);
    pass_ticks(1);
    check_equal(disk.late_looks, looks);
    pass_ticks(1);
    check(disk.late_looks == looks + 1 && disk.timeouts == 1);
    disk_complete(1);
    disk_expect_idle();
}

/* ---- Completion within submit ------------------------------------------------------------------------- */

#define CHAIN 20000u
static uint32_t chain_left;

static void submit_next(struct block_request *request)
{
    many_done++;
    if (chain_left-- > 1)
        block_submit(request);
}

/* Hazard 43: done submits the next request, whose done submits the next: a loop, not a recursion. */
static void test_no_recursion(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    disk.is_synchronous = true;
    many_done = 0;
    chain_left = CHAIN;
    block_request_init(&many[0], disk.device, BLOCK_READ, 0, many_data, BLOCK_SECTOR_BYTES, submit_next);
    block_submit(&many[0]);
    check_equal(many_done, CHAIN);
    check(disk.stack_high - disk.stack_low < 2048);
    disk.stack_low = UINT64_MAX;
    disk.stack_high = 0;
    disk_start(1, 64, 1u << 20, 2048); /* a queue behind a driver that makes room within submit */
    disk.is_synchronous = true;
    submit_many(MANY);
    check_equal(many_done, MANY);
    check(disk.stack_high - disk.stack_low < 2048);
    disk_expect_idle();
}

/* ---- Groups ------------------------------------------------------------------------------------------- */

static void complete_two(void)
{
    host_before_sleep = NULL;
    disk_complete(2);
}

/* Hazard 17: what completes between the reaper's look and its sleep, and what completes while it sleeps. */
static void test_group(void)
{
    for (uint32_t at_least = 0; at_least <= 4; at_least++) {
        struct block_group group;
        struct fifo finished = FIFO_INIT(finished);
        uint32_t reaped;
        disk_start(4, 64, 1u << 20, 2048);
        block_group_init(&group);
        for (uint32_t i = 0; i < 4; i++) {
            block_request_init(&many[i], disk.device, BLOCK_READ, 2 * i, many_data, BLOCK_SECTOR_BYTES,
                               block_group_done);
            many[i].owner = &group;
            block_submit(&many[i]);
        }
        host_before_sleep = complete_two;
        reaped = block_group_reap(&group, at_least, &finished);
        check(reaped >= at_least && (at_least > 2 || reaped == (at_least ? 2 : 0)));
        host_before_sleep = NULL;
        reaped += block_group_reap(&group, 4 - reaped, &finished);
        fifo_foreach (node, &finished)
            check(request_of(node)->status == BLOCK_OK && reaped-- > 0);
        check_equal(reaped, 0);
        disk_expect_idle();
    }
}

/* ---- Requests that cannot be done ------------------------------------------------------------------- */

static uint32_t ended;
static uint8_t ended_as;

static void note_end(struct block_request *request)
{
    ended++;
    ended_as = request->status;
}

static struct block_request transfer(enum block_operation operation, uint64_t sector, uint32_t bytes)
{
    struct block_request request;
    block_request_init(&request, disk.device, operation, sector, many_data, bytes, note_end);
    return request;
}

/* Once through submit and once through submit and wait: done exactly once, never seen by the driver. Without
 * `segments` it has the one buffer. */
static void expect_refusal(struct block_request template, struct block_segment *segments, uint8_t status)
{
    struct block_request request = template;
    uint32_t submits = disk.submits;
    ended = 0;
    request.segments = segments ? segments : &request.one;
    block_submit(&request);
    check_equal(ended, 1);
    check_equal(ended_as, status);
    check_equal(-block_submit_and_wait(&request), -block_status_to_error(status));
    check_equal(disk.submits, submits);
    disk_expect_idle();
}

static void expect_refused(enum block_operation operation, uint64_t sector, uint32_t bytes, uint8_t status)
{
    expect_refusal(transfer(operation, sector, bytes), NULL, status);
}

/* Hazard 36: each has an end. */
static void test_refusals(void)
{
    struct block_segment tiny[8];
    struct block_request request;
    disk_start(4, 3, 4096, 2048);
    expect_refused(BLOCK_READ, DISK_SECTORS, 512, BLOCK_OUT_OF_RANGE);
    expect_refused(BLOCK_READ, DISK_SECTORS - 1, 1024, BLOCK_OUT_OF_RANGE);
    expect_refused(BLOCK_WRITE, UINT64_MAX, 1024, BLOCK_OUT_OF_RANGE);
    expect_refused(BLOCK_READ, 0, 0, BLOCK_OUT_OF_RANGE);
    expect_refused(BLOCK_GET_ID, 0, BLOCK_ID_BYTES - 1, BLOCK_OUT_OF_RANGE);
    expect_refused((enum block_operation)99, 0, 512, BLOCK_UNSUPPORTED);
    for (unsigned i = 0; i < 8; i++)
        tiny[i] = (struct block_segment){many_data + 64 * i, 64};
    request = transfer(BLOCK_READ, 0, 512);
    request.segment_count = 8;
    expect_refusal(request, tiny, BLOCK_UNSUPPORTED); /* three of them are no block */
    disk.device->is_read_only = true;
    expect_refused(BLOCK_WRITE, 0, 512, BLOCK_READ_ONLY);
    disk.device->is_read_only = false;
    disk.device->sector_mask = 7;
    expect_refused(BLOCK_READ, 4, 4096, BLOCK_OUT_OF_RANGE);
    expect_refused(BLOCK_READ, 8, 512, BLOCK_OUT_OF_RANGE);
}

/* Hazard 37: a flush goes down where the device has a cache, and only there; hazard 35: limits are for data.
 */
static void test_flush(void)
{
    struct block_request request;
    disk_start(4, 1, 512, 1);
    disk.is_synchronous = true;
    check_equal(block_flush(disk.device), 0);
    check_equal(disk.flushes, 1);
    block_request_init(&request, disk.device, BLOCK_FLUSH, 0, NULL, 0, note_end);
    ended = 0;
    block_submit(&request);
    check(disk.flushes == 2 && ended == 1 && ended_as == BLOCK_OK);
    disk.device->has_flush = false;
    block_submit(&request);
    check(disk.flushes == 2 && ended == 2 && ended_as == BLOCK_OK);
    check_equal(block_flush(disk.device), 0);
    check_equal(disk.flushes, 2);
}

/* One bad sector in a merged request: its owner fails, the neighbours do not. */
static void test_error_in_a_merge(void)
{
    static struct block_request parts[8];
    struct block_plug plug;
    disk_start(4, 64, 1u << 20, 2048);
    disk.bad_sector = 5;
    block_plug(&plug);
    for (uint32_t i = 0; i < 8; i++) {
        block_request_init(&parts[i], disk.device, BLOCK_READ, i, many_data + i * 512, 512, note_end);
        block_submit(&parts[i]);
    }
    block_unplug(&plug);
    check(disk.held_count == 1 && disk.held[0]->total_sectors == 8);
    ended = 0;
    while (disk.held_count > 0)
        disk_complete(1);
    check_equal(ended, 8);
    for (uint32_t i = 0; i < 8; i++)
        check_equal(parts[i].status, i == 5 ? BLOCK_FAILED : BLOCK_OK);
    disk_expect_idle();
}

/* ---- The detectors of R1 ------------------------------------------------------------------------------ */

static void complete_twice(void)
{
    struct fifo done = FIFO_INIT(done);
    submit_many(2);
    for (unsigned i = 0; i < 2; i++) {
        fifo_init(&done);
        many[0].status = BLOCK_OK;
        fifo_push(&done, &many[0].node);
        block_complete(disk.device, &done);
    }
}

static void complete_without_status(void)
{
    struct fifo done = FIFO_INIT(done);
    submit_many(1);
    fifo_push(&done, &many[0].node);
    block_complete(disk.device, &done);
}

static void submit_twice(void)
{
    submit_many(1);
    block_submit(&many[0]);
}

static void complete_what_is_not_here(void)
{
    struct fifo done = FIFO_INIT(done);
    submit_many(0);
    many[0].phase = 1; /* as if submitted, but not through the queue */
    many[0].status = BLOCK_OK;
    fifo_push(&done, &many[0].node);
    block_complete(disk.device, &done);
}

static void test_r1_is_asserted(void)
{
    disk_start(4, 64, 1u << 20, 2048);
    check(aborts(complete_twice));
    check(aborts(complete_without_status));
    check(aborts(submit_twice));
    check(aborts(complete_what_is_not_here));
}

int main(void)
{
    test_traffic();
    test_full_queue();
    test_completions_before_put_back();
    test_submit_and_wait();
    test_restart();
    test_watchdog();
    test_timeout();
    test_timeout_of_one_among_many();
    test_no_timeout();
    test_no_recursion();
    test_group();
    test_refusals();
    test_flush();
    test_error_in_a_merge();
    test_r1_is_asserted();
    return check_finish();
}
