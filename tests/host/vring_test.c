/* SPDX-License-Identifier: MIT */
/* The split ring against a fake device: formats, wrap-around, suppression both ways, and lies. */
#include <kernel/base/bits.h>

#include <host.h>
#include <sanitizer/asan_interface.h>
#include <string.h>

#include "../../src/drivers/virtio/vring_split_internal.h"
#include "fake_device.h"

/* What lies between the parts of the ring's block and behind them is nobody's. */
static void guard(const struct virtqueue *queue, bool is_on)
{
    uint8_t *block = (uint8_t *)(uintptr_t)queue->descriptor_area;
    uint32_t avail_end = virtq_legacy_avail_offset(queue->size) + 6u + 2u * queue->size;
    uint32_t used = virtq_legacy_used_offset(queue->size), used_end = used + 6u + 8u * queue->size;
    if (is_on) {
        ASAN_POISON_MEMORY_REGION(block + avail_end, used - avail_end);
        ASAN_POISON_MEMORY_REGION(block + used_end, virtq_legacy_bytes(queue->size) - used_end);
    } else {
        ASAN_UNPOISON_MEMORY_REGION(block, virtq_legacy_bytes(queue->size));
    }
}

#define VRING_CREATE vring_split_create
#include "vring_shared.h"

#define IN_ORDER_SIZES 4, 8, 16
#include "vring_in_order.h"

/* ---- The formula ------------------------------------------------------------------------------------ */

/* By its meaning: walking from old to new, is the step from `event` to `event + 1` made? */
static bool passes(uint16_t event, uint16_t new, uint16_t old)
{
    for (uint16_t i = old; i != new; i++)
        if (i == event)
            return true;
    return false;
}

static void test_need_event(void)
{
    static const uint16_t moves[] = {0, 1, 2, 3, 31, 256, 1024};
    /* Every old index, every kind of event near the move. */
    for (uint32_t old = 0; old <= 0xffff; old++) {
        for (size_t m = 0; m < ARRAY_SIZE(moves); m++) {
            uint16_t new = (uint16_t)(old + moves[m]);
            uint16_t events[] = {(uint16_t)(old - 2),
                                 (uint16_t)(old - 1),
                                 (uint16_t)old,
                                 (uint16_t)(old + 1),
                                 (uint16_t)(new - 2),
                                 (uint16_t)(new - 1),
                                 new,
                                 (uint16_t)(new + 1),
                                 (uint16_t)(old + 0x8000),
                                 0,
                                 0xffff,
                                 0xfffe};
            for (size_t e = 0; e < ARRAY_SIZE(events); e++) {
                bool expected = (uint16_t)(events[e] - old) < moves[m];
                check(virtqueue_need_event(events[e], new, (uint16_t)old) == expected);
            }
        }
    }
    /* Every event, over the wrap; the expectation itself is checked against the walk. */
    static const uint16_t olds[] = {0, 1, 0x7fff, 0xfff0, 0xfffe, 0xffff};
    for (size_t o = 0; o < ARRAY_SIZE(olds); o++) {
        for (uint32_t event = 0; event <= 0xffff; event++) {
            uint16_t new = (uint16_t)(olds[o] + 33);
            check(virtqueue_need_event((uint16_t)event, new, olds[o]) ==
                  passes((uint16_t)event, new, olds[o]));
        }
    }
    /* Hazard 4: a batch of two across the wrap, where a plain >= says no. */
    check(virtqueue_need_event(0xfffe, 0, 0xfffe));
}

/* ---- The used index --------------------------------------------------------------------------------- */

/* A ring that has come as far as `start`, of the 32 bits in which the driver counts, with two chains more
 * that the device has. */
static void come_as_far_as(struct virtqueue *queue, struct fake_device *fd, uint32_t start, uint16_t *ids)
{
    struct split_ring *ring = ring_of(queue);
    virtqueue_restart(queue);
    ring->avail_next = ring->avail_published = ring->used_next = ring->used_seen = start;
    fd_attach(fd, queue);
    fd->avail->idx = fd->used->idx = (uint16_t)start;
    fd->last_avail = fd->used_idx = (uint16_t)start;
    for (uintptr_t token = 1; token <= 2; token++)
        check_equal(add(queue, 1, 1, (void *)token), 0);
    (void)!virtqueue_kick_prepare(queue);
    check(fd_ends_at(fd, virtqueue_position(queue)));
    for (uint32_t i = 0; i < 2; i++) {
        struct fd_chain chain;
        check(fd_pop(fd, &chain));
        ids[i] = chain.id;
    }
}

/* The device's index is `distance` further on, in 16 bits: nothing new, one or two chains, or a lie. */
static void check_used_index(struct virtqueue *queue, uint32_t start, uint32_t distance)
{
    struct fake_device fd;
    struct virtqueue_used used;
    uint16_t ids[2];
    uint32_t taken = 0;
    come_as_far_as(queue, &fd, start, ids);
    for (uint32_t i = 0; i < 2; i++)
        fd.used->ring[(uint16_t)(start + i) % 4] = (struct virtq_used_elem){ids[i], 0};
    fd.used->idx = (uint16_t)(start + distance);
    check(virtqueue_has_more(queue) == (distance != 0));
    while (take(queue, &used))
        check(used.token == (void *)(uintptr_t)++taken);
    check_equal(taken, distance <= 2 ? distance : 0);
    check(queue->is_broken == (distance > 2) && !virtqueue_has_more(queue));
    while (virtqueue_detach(queue))
        taken++;
    check_equal(taken, 2);
}

/* Every index of both sides, where they are near each other; and every distance, where an index wraps. */
static void test_used_index(void)
{
    static const uint32_t distances[] = {0, 1, 2, 3, 4, 5, 0x7fff, 0x8000, 0xfffe, 0xffff};
    static const uint32_t starts[] = {0, 1, 0x7fff, 0xfffe, 0xffff, 0x10000, 0xfffffffe, 0xffffffff};
    int level = host_log_level;
    host_log_level = -1; /* a line for each lie is right, but not here */
    for (unsigned kind = 0; kind < 4; kind++) {
        is_in_order = kind & 1;
        struct virtqueue *queue = make(4, kind & 2, true);
        for (uint32_t start = 0; start <= 0xffff; start++)
            for (size_t d = 0; d < ARRAY_SIZE(distances); d++)
                check_used_index(queue, start, distances[d]);
        for (size_t s = 0; s < ARRAY_SIZE(starts); s++)
            for (uint32_t distance = 0; distance <= 0xffff; distance++)
                check_used_index(queue, starts[s], distance);
        virtqueue_restart(queue);
        finish(queue);
    }
    host_log_level = level;
    is_in_order = false;
    broken_calls = 0;
}

/* ---- Suppression ------------------------------------------------------------------------------------- */

/* Without the event index: flags. With it: only the step past the event. */
static void test_suppression(void)
{
    struct fake_device fd;
    struct virtqueue *queue = make(64, true, false);
    fd_attach(&fd, queue);
    fd.used->flags = VIRTQ_USED_F_NO_NOTIFY;
    check_equal(add(queue, 1, 1, memory), 0);
    check(!virtqueue_kick_prepare(queue));
    fd.used->flags = 0;
    check_equal(add(queue, 1, 1, memory), 0);
    check(virtqueue_kick_prepare(queue));
    check_equal(queue->kicks, 1);
    virtqueue_callbacks_disable(queue);
    check_equal(fd.avail->flags, VIRTQ_AVAIL_F_NO_INTERRUPT);
    fd_push(&fd, 0, 0);
    check(virtqueue_callbacks_enable(queue)); /* R5: it came before the question */
    check_equal(fd.avail->flags, 0);
    while (virtqueue_detach(queue))
        ;
    finish(queue);

    queue = make(64, true, true);
    fd_attach(&fd, queue);
    *fd_avail_event(&fd) = 2;
    for (unsigned i = 0; i < 4; i++) {
        check_equal(add(queue, 1, 1, memory), 0);
        check(virtqueue_kick_prepare(queue) == (i == 2));
    }
    struct virtqueue_used used;
    fd_push(&fd, 0, 0);
    check(take(queue, &used) == memory);
    check(!virtqueue_callbacks_enable(queue));
    check_equal(*fd_used_event(&fd), 1); /* the next completion */
    fd_push(&fd, 1, 0);
    check(virtqueue_has_more(queue) && virtqueue_callbacks_enable(queue));
    while (virtqueue_detach(queue))
        ;
    finish(queue);
}

static void test_traffic(void)
{
    static const uint16_t sizes[] = {2, 4, 8, 64, 256, 1024};
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
        for (unsigned mode = 0; mode < TRAFFIC_MODES; mode++)
            /* More than twice around the 16-bit indices where the event index is in use. */
            run_traffic(sizes[s], mode, mode & TRAFFIC_EVENT_IDX ? 140000 : 20000);
}

/* ---- Lies ------------------------------------------------------------------------------------------- */

static void lie_index(bool has_indirect, uint16_t index)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    fd.used->idx = index;
    expect_broken(queue, 4);
}

static void test_lies(void)
{
    for (unsigned has_indirect = 0; has_indirect < 2; has_indirect++) {
        lie_element(has_indirect, 16, 0);         /* past the queue */
        lie_element(has_indirect, 0xffffffff, 0); /* far past it */
        lie_element(has_indirect, 0x10000, 0);    /* a valid id in its lower half */
        lie_element(has_indirect, 15, 0);         /* free */
        lie_element(has_indirect, 0, 6);          /* more than 2 + 3 bytes */
        lie_element(has_indirect, 0, 0xffffffff);
        lie_duplicate(has_indirect);
        lie_index(has_indirect, 5); /* five of four */
        lie_index(has_indirect, 0x8000);
        lie_index(has_indirect, 0xffff); /* backwards */
    }
    lie_element(false, 1, 0); /* in flight, but not the head of its chain */
    /* Not lies: nothing written, and all of it. */
    struct fake_device fd;
    struct virtqueue_used used;
    struct virtqueue *queue = make_busy(&fd, true);
    fd_push(&fd, 2, 0);
    fd_push(&fd, 1, 5);
    check(take(queue, &used) == (void *)3 && used.bytes == 0);
    check(take(queue, &used) == (void *)2 && used.bytes == 5);
    check(!queue->is_broken);
    while (virtqueue_detach(queue))
        ;
    finish(queue);
}

/* A device that keeps no order, or tells of more than its index: nothing that it may still work on comes out.
 */
static void lie_order(bool has_indirect, uint32_t which, uint16_t index)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    uint16_t at = fd.used->idx;
    fd.used->ring[at % 16] = (struct virtq_used_elem){busy_ids[which], 0};
    fd.used->idx = (uint16_t)(at + index);
    expect_broken(queue, 4);
}

/* The index tells of more than the batch: the next element is read, and is none. */
static void lie_batch_too_short(bool has_indirect)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    fd_push_batch(&fd, busy_ids, 2, 0);
    take_batch(queue, 1, 2, 0);
    fd.used->ring[fd.used_idx % 16] = (struct virtq_used_elem){busy_ids[0], 0};
    fd.used->idx++;
    expect_broken(queue, 2);
}

static void test_order_lies(void)
{
    is_in_order = true;
    for (unsigned i = 0; i < 8; i++) {
        bool has_indirect = i & 1;
        busy_after = i / 2 * 5;
        for (uint32_t which = 1; which < 4; which++)
            for (uint16_t index = 1; index <= which; index++)
                lie_order(has_indirect, which, index);
        lie_batch_too_short(has_indirect);
    }
    busy_after = 0;
    lie_of_batch(false, busy_ids[0] + 1u, 0); /* in flight, but not the head of its chain */
    is_in_order = false;
}

/* The offsets that 2.7.2's formula gives, worked out by hand: a legacy device uses no others (hazard 32). */
static void test_layout(void)
{
    static const struct {
        uint16_t size;
        uint32_t avail, used, bytes;
    } layouts[] = {{2, 32, 4096, 8192},      {4, 64, 4096, 8192},       {128, 2048, 4096, 8192},
                   {256, 4096, 8192, 12288}, {512, 8192, 12288, 20480}, {1024, 16384, 20480, 32768}};
    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
        struct virtqueue *queue = make(layouts[i].size, true, true);
        check_equal(queue->descriptor_area % 4096, 0);
        check_equal(queue->driver_area - queue->descriptor_area, layouts[i].avail);
        check_equal(queue->device_area - queue->descriptor_area, layouts[i].used);
        check_equal(virtq_legacy_bytes(queue->size), layouts[i].bytes);
        finish(queue);
    }
}

int main(void)
{
    test_layout();
    test_need_event();
    test_used_index();
    test_room();
    test_suppression();
    test_traffic();
    test_lies();
    test_scribble();
    test_fuzz();
    test_room_in_order();
    test_batches();
    test_question_in_a_batch();
    test_reset_in_a_batch();
    test_batch_lies();
    test_scribble_in_order();
    test_order_lies();
    return check_finish();
}
