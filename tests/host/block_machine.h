/* SPDX-License-Identifier: MIT */
/* A disk under the real block layer, for tests: its driver is scripted here. It keeps what it was given until
 * the test completes it, in any order; it may take less than it is given, complete within submit, or fail a
 * sector. Every request that it gets is held against the device's limits, and no lock of the layer may be
 * held around it. Included by one file a program. */
#ifndef TESTS_HOST_BLOCK_MACHINE_H
#define TESTS_HOST_BLOCK_MACHINE_H

#include <kernel/base/bits.h>
#include <kernel/base/error.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/drivers/block/block_internal.h"
#include "check.h"

#define DISK_SECTORS 1024u
#define HELD_MAX     64u
#define NO_SECTOR    UINT64_MAX

static struct fake_disk {
    struct block_device *device;
    struct block_request *held[HELD_MAX];
    uint32_t held_count;
    uint32_t room;        /* takes no more than so many at once */
    bool is_synchronous;  /* completes within submit */
    bool is_gone;         /* ends what it is given with BLOCK_GONE */
    void (*before)(void); /* called at the start of submit: another CPU's doing */
    void (*inspect)(const struct block_request *leader); /* called for each that is taken */
    uint64_t bad_sector;                                 /* what touches it fails; NO_SECTOR: none */
    bool bad_flush;                                      /* flushes fail */
    bool is_mended_by_looking;
    uint32_t submits, taken, writes, flushes; /* writes, flushes: completed */
    uint32_t late_looks, timeouts;
    uint64_t stack_low, stack_high; /* addresses of submit's frames */
    uint8_t data[DISK_SECTORS * BLOCK_SECTOR_BYTES];
} disk;

/* What the next disk has of ranges, and how worn it says it is. */
static struct block_limits disk_extras;
#define DISCARDED 0xdd /* what is read after a discard or a secure erase */

static struct timer *armed_timer;

static inline uint32_t random_below_limit(uint32_t limit)
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % limit;
}

void timer_start(struct timer *timer, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
    armed_timer = timer;
}

bool timer_cancel(struct timer *timer)
{
    bool was_armed = armed_timer == timer;
    armed_timer = was_armed ? NULL : armed_timer;
    return was_armed;
}

/* ---- The driver ------------------------------------------------------------------------------------- */

/* As the layer promised (hazard 35): few and short enough segments, whole blocks, inside the device. */
static inline void check_limits(const struct block_request *leader)
{
    const struct block_limits *limits = &disk.device->limits;
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint32_t bytes = 0, count = 0;
    block_segments_begin(&iterator, leader);
    while (leader->operation <= BLOCK_WRITE && block_segments_next(&iterator, &segment)) {
        check(segment.bytes > 0 && segment.bytes <= limits->max_segment_bytes);
        bytes += segment.bytes;
        count++;
    }
    if (block_is_range(leader->operation)) {
        const struct block_range_limit *limit = block_range_limit(disk.device, leader->operation);
        bytes = block_request_device_bytes(leader);
        check(bytes > 0 && bytes >> BLOCK_SECTOR_SHIFT <= limit->max_sectors);
        check(leader->total_segments == 0 && !(leader->shape & BLOCK_SHAPE_MERGED));
    }
    check_equal(bytes, leader->operation <= BLOCK_WRITE || block_is_range(leader->operation)
                           ? block_request_device_bytes(leader)
                           : 0);
    check(count <= limits->max_segments);
    if (leader->operation <= BLOCK_WRITE)
        check(bytes >> BLOCK_SECTOR_SHIFT <= limits->max_sectors);
    check(bytes % limits->logical_block_bytes == 0);
    check((block_request_device_sector(leader) << BLOCK_SECTOR_SHIFT) + bytes <= sizeof(disk.data));
    if (leader->operation <= BLOCK_WRITE)
        check_equal(count, leader->total_segments);
}

static inline uint8_t serve(const struct block_request *leader)
{
    struct block_segment_iterator iterator;
    struct block_segment segment;
    uint64_t sector = block_request_device_sector(leader);
    uint32_t sectors = block_request_device_bytes(leader) >> BLOCK_SECTOR_SHIFT;
    uint8_t *at = disk.data + (sector << BLOCK_SECTOR_SHIFT);
    disk.flushes += leader->operation == BLOCK_FLUSH;
    disk.writes += leader->operation == BLOCK_WRITE;
    if (leader->operation == BLOCK_GET_LIFETIME)
        *(struct block_lifetime *)leader->segments[0].data = (struct block_lifetime){1, 2, 11};
    if (leader->operation == BLOCK_FLUSH && disk.bad_flush)
        return BLOCK_FAILED;
    if (leader->operation > BLOCK_WRITE && !block_is_range(leader->operation))
        return BLOCK_OK;
    if (disk.bad_sector >= sector && disk.bad_sector < sector + sectors)
        return BLOCK_FAILED;
    if (block_is_range(leader->operation))
        memset(at, leader->operation == BLOCK_WRITE_ZEROES ? 0 : DISCARDED, sectors << BLOCK_SECTOR_SHIFT);
    block_segments_begin(&iterator, leader);
    while (block_segments_next(&iterator, &segment)) {
        memcpy(leader->operation == BLOCK_WRITE ? at : segment.data,
               leader->operation == BLOCK_WRITE ? segment.data : at, segment.bytes);
        at += segment.bytes;
    }
    return BLOCK_OK;
}

/* The interrupt for `count` of what it holds, picked at random. */
static inline void disk_complete(uint32_t count)
{
    struct fifo done = FIFO_INIT(done);
    check(count <= disk.held_count);
    for (; count > 0; count--) {
        uint32_t pick = random_below_limit(disk.held_count);
        struct block_request *request = disk.held[pick];
        disk.held[pick] = disk.held[--disk.held_count];
        request->status = serve(request);
        fifo_push(&done, &request->node);
    }
    if (fifo_is_empty(&done))
        return;
    bool was_in_interrupt = block_host_in_interrupt;
    block_host_in_interrupt = true;
    block_complete(disk.device, &done);
    block_host_in_interrupt = was_in_interrupt;
}

static void disk_submit(struct block_device *device, struct fifo *batch)
{
    uint64_t here = (uintptr_t)&batch;
    struct fifo_node *node;
    check(!spin_is_locked(&device->lock) && !fifo_is_empty(batch)); /* hazard 14 */
    disk.submits++;
    disk.stack_low = MIN(disk.stack_low, here);
    disk.stack_high = MAX(disk.stack_high, here);
    uint32_t room = MAX(disk.room, disk.held_count) - disk.held_count; /* looked at before anyone else acts */
    if (disk.before)
        disk.before();
    for (; room > 0 && (node = fifo_pop(batch)) != NULL; room--) {
        check(disk.held_count < device->limits.depth && request_of(node)->status == BLOCK_PENDING);
        check_limits(request_of(node));
        if (disk.inspect)
            disk.inspect(request_of(node));
        disk.held[disk.held_count++] = request_of(node);
        disk.taken++;
    }
    while ((disk.is_synchronous || disk.is_gone) && disk.held_count > 0) {
        struct fifo done = FIFO_INIT(done);
        struct block_request *request = disk.held[--disk.held_count];
        request->status = disk.is_gone ? BLOCK_GONE : serve(request);
        fifo_push(&done, &request->node);
        block_complete(device, &done);
    }
}

/* While the one thread sleeps. Asleep again and again with nothing to come: nobody will wake it. */
static void disk_idle(void)
{
    static unsigned idle_looks;
    idle_looks = disk.held_count > 0 ? 0 : idle_looks + 1;
    assert(idle_looks < 10);
    disk_complete(disk.held_count);
}

static void disk_late(struct block_device *device)
{
    check(device == disk.device);
    disk.late_looks++;
    if (disk.is_mended_by_looking)
        disk_complete(disk.held_count);
}

static void disk_timed_out(struct block_device *device)
{
    check(device == disk.device && !spin_is_locked(&device->lock));
    disk.timeouts++;
}

static bool disk_is_idle(struct block_device *device)
{
    (void)device;
    return disk.held_count == 0;
}

/* ---- Setting up and taking down --------------------------------------------------------------------- */

/* A new disk, of which some limits are given; with a flush, writable, random data on it. */
static inline void disk_start(uint32_t depth, uint16_t max_segments, uint32_t max_segment_bytes,
                              uint32_t max_sectors)
{
    static const struct block_device_ops ops = {
        .submit = disk_submit, .late = disk_late, .timed_out = disk_timed_out, .is_idle = disk_is_idle};
    const struct block_device_config config = {
        .prefix = "fd",
        .ops = &ops,
        .sectors = DISK_SECTORS,
        .limits = {.logical_block_bytes = BLOCK_SECTOR_BYTES,
                   .physical_block_bytes = BLOCK_SECTOR_BYTES,
                   .depth = depth,
                   .max_segments = max_segments,
                   .max_segment_bytes = max_segment_bytes,
                   .max_sectors = max_sectors,
                   .discard = disk_extras.discard,
                   .write_zeroes = disk_extras.write_zeroes,
                   .secure_erase = disk_extras.secure_erase,
                   .optimal_bytes = disk_extras.optimal_bytes,
                   .has_lifetime = disk_extras.has_lifetime},
        .has_flush = true,
    };
    disk = (struct fake_disk){.room = depth, .bad_sector = NO_SECTOR, .stack_low = UINT64_MAX};
    host_idle = disk_idle;
    for (uint32_t i = 0; i < sizeof(disk.data); i++)
        disk.data[i] = (uint8_t)random_below_limit(256);
    check_equal(block_device_register(&config, &disk.device), 0);
}

/* Nothing is queued or in flight, on either side. */
static inline void disk_expect_idle(void)
{
    struct block_stats stats;
    block_device_stats(disk.device, &stats);
    check(stats.queued == 0 && stats.in_flight == 0 && disk.held_count == 0);
    for (uint32_t epoch = 0; epoch < BLOCK_EPOCHS; epoch++)
        check_equal(disk.device->epoch_in_flight[epoch], 0);
    check_equal(stats.device_requests, disk.taken);
}

/* True when `call` ends in a failed assertion. */
static inline bool aborts(void (*call)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        call();
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif
