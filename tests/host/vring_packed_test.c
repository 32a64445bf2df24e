/* SPDX-License-Identifier: MIT */
/* The packed ring against a fake device: every kind of size, laps, suppression both ways, the order in which
 * a batch appears, resets and lies. */
#include <kernel/base/bits.h>

#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <ucontext.h>

#include "../../src/drivers/virtio/virtqueue_internal.h"
#include "fake_packed_device.h"

/* What is beside an event structure in its cache line is nobody's. */
static void guard(const struct virtqueue *queue, bool is_on)
{
    uint8_t *driver = direct_map(queue->driver_area), *device = direct_map(queue->device_area);
    size_t bytes = CACHE_LINE_BYTES - sizeof(struct pvirtq_event_suppress);
    if (is_on) {
        ASAN_POISON_MEMORY_REGION(driver + sizeof(struct pvirtq_event_suppress), bytes);
        ASAN_POISON_MEMORY_REGION(device + sizeof(struct pvirtq_event_suppress), bytes);
    } else {
        ASAN_UNPOISON_MEMORY_REGION(driver, CACHE_LINE_BYTES);
        ASAN_UNPOISON_MEMORY_REGION(device, CACHE_LINE_BYTES);
    }
}

#define VRING_CREATE vring_packed_create
#include "vring_shared.h"

#define IN_ORDER_SIZES 3, 5, 7, 12
#include "vring_in_order.h"

/* ---- The formula ------------------------------------------------------------------------------------ */

/* 2.8.10 as devices have it: 2.7.10's formula, in 16 bits, over offsets relative to the lap of `new`. */
static bool reference(uint16_t event, uint32_t first, uint32_t count, uint32_t size)
{
    uint32_t end = (first & VIRTQUEUE_OFFSET) + count, new = end < size ? end : end - size;
    bool new_wrap = ((first & VIRTQUEUE_WRAP) != 0) == (end < size);
    uint32_t offset = event & VIRTQUEUE_OFFSET;
    if (((event & VIRTQUEUE_WRAP) != 0) != new_wrap)
        offset -= size;
    return virtqueue_need_event((uint16_t)offset, (uint16_t) new, (uint16_t)(new - count));
}

/* By its meaning: steps from `first` to `event` on the circle of two laps. */
static bool passes(uint16_t event, uint32_t first, uint32_t count, uint32_t size)
{
    uint32_t from = (first & VIRTQUEUE_OFFSET) + (first & VIRTQUEUE_WRAP ? 0 : size);
    uint32_t to = (event & VIRTQUEUE_OFFSET) + (event & VIRTQUEUE_WRAP ? 0 : size);
    return (to + 2 * size - from) % (2 * size) < count;
}

static void check_events(uint32_t first, uint32_t count, uint32_t size)
{
    unsigned wrong = 0;
    for (uint32_t offset = 0; offset < size; offset++) {
        for (uint32_t event = offset; event <= 0xffff; event += VIRTQUEUE_WRAP) {
            bool is_needed = virtqueue_packed_need_event(event, first, count, size);
            wrong += is_needed != reference((uint16_t)event, first, count, size);
            wrong += is_needed != passes((uint16_t)event, first, count, size);
        }
    }
    check_equal(wrong, 0);
}

/* All descriptors that an event can name, in both laps: up to all 16 bits. */
static void test_need_event(void)
{
    static const uint32_t sizes[] = {2, 3, 4, 5, 7, 64, 100, 1024, 32768};
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
        uint32_t size = sizes[s], stride = size <= 7 ? 1 : size / 4 - 1;
        for (uint32_t first = 0; first < size; first += stride) {
            for (uint32_t count = 1; count <= size; count += stride) {
                check_events(first, count, size);
                check_events(first | VIRTQUEUE_WRAP, count, size);
            }
            check_events(first, size, size);
        }
        check_events(size - 1, 1, size);
        check_events((size - 1) | VIRTQUEUE_WRAP, 2, size);
    }
}

/* ---- Traffic ---------------------------------------------------------------------------------------- */

static void run_modes(uint16_t size, uint64_t limit)
{
    for (unsigned mode = 0; mode < TRAFFIC_MODES; mode++) {
        fd_is_silent_of_writes = !fd_is_silent_of_writes;
        run_traffic(size, mode, limit);
    }
    fd_is_silent_of_writes = false;
}

static void test_traffic(void)
{
    for (uint16_t size = 2; size <= 70; size++)
        run_modes(size, 600 + 8 * size);
    for (uint16_t size = 255; size <= 257; size++)
        run_modes(size, 5000);
    run_modes(1024, 20000);
    run_traffic(100, TRAFFIC_INDIRECT | TRAFFIC_EVENT_IDX, 140000);
}

/* ---- The order of a batch --------------------------------------------------------------------------- */

/* A device that looks after each instruction of the driver: it sees nothing of a batch or all of it. */
static volatile struct {
    bool is_on;
    uint32_t chains; /* of the batch; 0: it may not be seen */
    uint64_t looks, seen;
} watch;
static struct fake_device watching;

static void look_at_ring(int signal, siginfo_t *info, void *context)
{
    static struct fake_device fd;
    static struct fd_chain chain;
    uint32_t chains = 0;
    (void)signal, (void)info;
    if (!watch.is_on) {
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
        return;
    }
    fd = watching;
    for (; fd_pop(&fd, &chain); chains++)
        check_chain(&chain, 1, 2);
    check(chains == 0 || chains == watch.chains);
    watch.looks++;
    watch.seen += chains > 0;
}

/* The trap flag: from the return on, each instruction ends in look_at_ring. */
static void set_trap_flag(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= 0x100;
}

static void watch_from_here(const struct fake_device *fd, uint32_t chains)
{
    watching = *fd;
    watch.chains = chains;
    watch.looks = watch.seen = 0;
    watch.is_on = true;
    raise(SIGUSR1);
}

static void watched_batch(struct virtqueue *queue, struct fake_device *fd, uint32_t chains)
{
    struct virtqueue_used used;
    struct fd_chain chain;
    watch_from_here(fd, 0);
    for (uint32_t i = 0; i < chains; i++)
        check_equal(add(queue, 1, 2, memory), 0);
    watch.is_on = false;
    check(watch.looks > 20 * chains);
    watch_from_here(fd, chains);
    bool must_notify = virtqueue_kick_prepare(queue);
    watch.is_on = false;
    check(must_notify && watch.seen > 0 && watch.seen < watch.looks);
    for (uint32_t i = 0; i < chains; i++) {
        check(fd_pop(fd, &chain));
        fd_push(fd, chain.id, 5);
        check(take(queue, &used) == memory);
    }
    fd_sleep(fd);
}

static void test_batch_order(void)
{
    struct sigaction trap = {.sa_sigaction = look_at_ring, .sa_flags = SA_SIGINFO};
    struct sigaction begin = {.sa_sigaction = set_trap_flag, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &trap, NULL);
    sigaction(SIGUSR1, &begin, NULL);
    for (uint16_t size = 3; size <= 7; size += 4) {
        for (unsigned mode = 0; mode < 4; mode++) {
            struct fake_device fd;
            struct virtqueue *queue = make(size, mode & TRAFFIC_INDIRECT, mode & TRAFFIC_EVENT_IDX);
            uint32_t room = mode & TRAFFIC_INDIRECT ? size : size / 3;
            fd_attach(&fd, queue);
            fd_sleep(&fd);
            for (uint32_t round = 0; round < size + 3u; round++)
                watched_batch(queue, &fd, 1 + round % room);
            finish(queue);
        }
    }
}

/* ---- Suppression ------------------------------------------------------------------------------------ */

static bool kick_one(struct virtqueue *queue)
{
    check_equal(add(queue, 1, 1, memory), 0);
    return virtqueue_kick_prepare(queue);
}

static void drop_all(struct virtqueue *queue)
{
    while (virtqueue_detach(queue))
        ;
    finish(queue);
}

static void test_doorbell_suppression(void)
{
    struct fake_device fd;
    struct virtqueue *queue = make(5, true, true);
    fd_attach(&fd, queue);
    fd.device_event->flags = RING_EVENT_FLAGS_DISABLE;
    check(!kick_one(queue));
    fd.device_event->flags = RING_EVENT_FLAGS_ENABLE;
    check(kick_one(queue));
    fd.device_event->flags = 3; /* reserved: rather once too often */
    check(kick_one(queue));
    fd.device_event->desc_flags = RING_EVENT_FLAGS_DESC << 16 | FD_WRAP | 4;
    check(!kick_one(queue)); /* offset 3 */
    check(kick_one(queue));  /* offset 4 */
    check_equal(queue->kicks, 3);
    drop_all(queue);
}

/* Batches from offset 3 of 5 on, over the end; the longest is the whole ring. */
static void test_doorbell_of_batches(void)
{
    struct virtqueue *queue = make(5, true, true);
    for (uint32_t i = 0; i < 5 * 10; i++) {
        struct fake_device fd;
        uint32_t count = 1 + i / 10, event = i % 10;
        fd_attach(&fd, queue);
        for (uint32_t sent = 0; sent < 3; sent++)
            send_and_complete(queue, &fd);
        fd.device_event->desc = (uint16_t)(event % 5 | (event < 5 ? FD_WRAP : 0));
        fd.device_event->flags = RING_EVENT_FLAGS_DESC;
        for (uint32_t added = 0; added < count; added++)
            check_equal(add(queue, 1, 1, memory), 0);
        check_equal(virtqueue_kick_prepare(queue), event >= 3 && event < 3 + count);
        while (virtqueue_detach(queue))
            ;
        virtqueue_restart(queue);
    }
    finish(queue);
}

static void test_interrupt_suppression(void)
{
    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++) {
        struct fake_device fd;
        struct virtqueue_used used;
        struct fd_chain chain;
        struct virtqueue *queue = make(3, true, has_event_idx);
        fd_attach(&fd, queue);
        for (uint32_t i = 0; i < 4; i++)
            send_and_complete(queue, &fd);
        virtqueue_callbacks_disable(queue);
        check_equal(fd.driver_event->flags, RING_EVENT_FLAGS_DISABLE);
        kick_one(queue);
        check(fd_pop(&fd, &chain));
        check(!virtqueue_has_more(queue) && !virtqueue_callbacks_enable(queue));
        if (has_event_idx)
            check_equal(fd.driver_event->desc_flags, RING_EVENT_FLAGS_DESC << 16 | 1); /* the second lap */
        else
            check_equal(fd.driver_event->flags, RING_EVENT_FLAGS_ENABLE);
        virtqueue_callbacks_disable(queue);
        fd_push(&fd, chain.id, 1);
        check(!fd_must_interrupt(&fd));
        check(virtqueue_has_more(queue) && virtqueue_callbacks_enable(queue)); /* R5: it was there before */
        check(take(queue, &used) == memory);
        finish(queue);
    }
}

/* ---- Resets ----------------------------------------------------------------------------------------- */

/* At any place of a lap, with batches unpublished, published, taken and completed. */
static void test_reset(void)
{
    for (unsigned round = 0; round < 2000; round++) {
        struct fake_device fd;
        struct virtqueue_used used;
        struct fd_chain chain;
        struct virtqueue *queue = make((uint16_t)(4 + round % 7), round & 1, round & 2);
        uint32_t in_flight = 0;
        fd_attach(&fd, queue);
        for (uint32_t i = fd_random(20); i > 0; i--)
            send_and_complete(queue, &fd);
        for (uint32_t i = fd_random(8); i > 0; i--) {
            in_flight += add(queue, 1, 1, memory) == 0;
            if (fd_random(2))
                (void)!virtqueue_kick_prepare(queue);
            if (fd_random(2) && fd_pop(&fd, &chain) && fd_random(2))
                fd_push(&fd, chain.id, 1);
            if (fd_random(2))
                in_flight -= take(queue, &used) != NULL;
            if (fd_random(2))
                (void)!virtqueue_callbacks_enable(queue);
            fd_sleep(&fd);
        }
        virtqueue_dump(queue);
        while (virtqueue_detach(queue))
            in_flight--;
        check_equal(in_flight, 0);
        virtqueue_restart(queue);
        fd_attach(&fd, queue);
        check(fd_is_fresh(&fd) && !virtqueue_has_more(queue));
        for (uint32_t i = 0; i < 25; i++)
            send_and_complete(queue, &fd);
        finish(queue);
    }
}

/* ---- Lies ------------------------------------------------------------------------------------------- */

static void check_next(struct virtqueue *queue, uintptr_t token, uint32_t bytes)
{
    struct virtqueue_used used;
    check(take(queue, &used) == (void *)token && used.bytes == bytes);
    check(!queue->is_broken);
}

/* What is no used descriptor is no lie: flags of which one is wrong, or one further on than the next. */
static void not_used(bool has_indirect)
{
    struct fake_device fd;
    struct virtqueue_used used;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    struct fd_position next = fd.used, after = fd_step(&fd, next, has_indirect ? 1 : 3);
    uint16_t made_available = fd.desc[next.offset].flags;
    fd_write_used(&fd, next, busy_ids[0], 5);
    fd.desc[next.offset].flags ^= VIRTQ_DESC_F_AVAIL;
    check(take(queue, &used) == NULL && !virtqueue_has_more(queue));
    fd.desc[next.offset].flags ^= VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    check(take(queue, &used) == NULL && !virtqueue_has_more(queue));
    fd.desc[next.offset].flags = made_available;
    fd_write_used(&fd, after, busy_ids[1], 5);
    check(take(queue, &used) == NULL && !virtqueue_has_more(queue));
    fd_push(&fd, busy_ids[0], 4);
    fd.desc[next.offset].flags |= VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | 0x100; /* 2.8.6: ignored */
    check_next(queue, 1, 4);
    check_next(queue, 2, 5);
    check(take(queue, &used) == NULL && !queue->is_broken);
    drop_all(queue);
}

/* A used descriptor where nothing was made available: its id is an old one. */
static void used_too_early(bool has_indirect)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    for (uint32_t i = 0; i < 4; i++) {
        fd_push(&fd, busy_ids[i], 5);
        check_next(queue, i + 1, 5);
    }
    fd_push(&fd, busy_ids[3], 0);
    expect_broken(queue, 0);
}

/* 2.8.4: without VIRTQ_DESC_F_WRITE there is no length; one that can be true is taken all the same. */
static void silent_of_writes(bool has_indirect)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    fd_is_silent_of_writes = true;
    fd_push(&fd, busy_ids[2], 5);
    fd_push(&fd, busy_ids[0], 6);
    fd_push(&fd, busy_ids[1], 0xffffffff);
    fd_push(&fd, busy_ids[3], 0);
    check_next(queue, 3, 5);
    check_next(queue, 1, 0);
    check_next(queue, 2, 0);
    check_next(queue, 4, 0);
    fd_is_silent_of_writes = false;
    finish(queue);
}

static void test_lies(void)
{
    for (unsigned i = 0; i < 8; i++) {
        bool has_indirect = i & 1;
        busy_after = i / 2 * 7; /* of 16: in both laps, and over the ring's end */
        lie_element(has_indirect, 16, 0);
        lie_element(has_indirect, 0xffff, 0);
        lie_element(has_indirect, 15, 0); /* free */
        lie_element(has_indirect, 0, 6);  /* more than 2 + 3 bytes */
        lie_element(has_indirect, 0, 0xffffffff);
        lie_duplicate(has_indirect);
        used_too_early(has_indirect);
        silent_of_writes(has_indirect);
        not_used(has_indirect);
    }
    busy_after = 0;
}

int main(void)
{
    test_need_event();
    test_room();
    test_batch_order();
    test_doorbell_suppression();
    test_doorbell_of_batches();
    test_interrupt_suppression();
    test_traffic();
    test_reset();
    test_lies();
    test_scribble();
    test_fuzz();
    test_room_in_order();
    test_batches();
    test_question_in_a_batch();
    test_reset_in_a_batch();
    test_batch_lies();
    test_scribble_in_order();
    return check_finish();
}
