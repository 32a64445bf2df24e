/* SPDX-License-Identifier: MIT */
/* The split ring against a fake device: formats, wrap-around, suppression both ways, and lies. */
#include <kernel/base/bits.h>
#include <kernel/base/error.h>

#include <sanitizer/asan_interface.h>
#include <string.h>

#include "../../src/drivers/virtio/virtqueue_internal.h"
#include "fake_device.h"

static unsigned broken_calls;
static uint8_t memory[4096];

static void on_broken(struct virtqueue *queue)
{
    check(queue->is_broken && queue->broken_why != NULL);
    broken_calls++;
}

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

static struct virtqueue *make(uint16_t size, bool has_indirect, bool has_event_idx)
{
    struct virtqueue_config config = {.name = "test",
                                      .size = size,
                                      .chain_max = size > 8 ? 8 : size,
                                      .has_indirect = has_indirect,
                                      .has_event_idx = has_event_idx,
                                      .broken = on_broken};
    struct virtqueue *queue;
    check_equal(vring_split_create(&config, &queue), 0);
    check_equal(queue->free_count, size);
    check(virtqueue_is_consistent(queue));
    guard(queue, true);
    spin_lock(&queue->lock); /* for the whole test: there is nobody else */
    return queue;
}

static void finish(struct virtqueue *queue)
{
    check(virtqueue_is_idle(queue));
    check_equal(queue->free_count, queue->size); /* R2 */
    check(virtqueue_is_consistent(queue));
    guard(queue, false);
    virtqueue_destroy(queue);
}

static void *take(struct virtqueue *queue, struct virtqueue_used *used)
{
    *used = virtqueue_get(queue);
    return used->token;
}

/* Adds a chain of distinct buffers; the token tells its shape. */
static int add(struct virtqueue *queue, uint32_t readable, uint32_t writable, void *token)
{
    if (queue->free_count == 0)
        return -EBUSY;
    struct virtqueue_buffer *buffers = virtqueue_buffers(queue);
    uint32_t writable_bytes = 0;
    for (uint32_t i = 0; i < readable + writable; i++) {
        writable_bytes += i >= readable ? i + 1 : 0;
        buffers[i].address = dma_address(memory + i);
        buffers[i].bytes = i + 1;
    }
    return virtqueue_add(queue, readable, writable, writable_bytes, token);
}

static void check_chain(const struct fd_chain *chain, uint32_t readable, uint32_t writable)
{
    check_equal(chain->count, readable + writable);
    for (uint32_t i = 0; i < chain->count; i++) {
        check(chain->buffers[i].data == memory + i);
        check_equal(chain->buffers[i].bytes, i + 1);
        check_equal(chain->buffers[i].is_writable, i >= readable);
    }
}

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

/* ---- Traffic ---------------------------------------------------------------------------------------- */

struct traffic {
    struct virtqueue *queue;
    struct fake_device fd;
    struct fd_chain held[1024]; /* what the device works on */
    uint32_t held_count;
    uint64_t sent, received;
    bool is_asleep;             /* the driver waits for an interrupt */
    uint8_t in_flight[1 << 11]; /* by token - 1: 1 while in flight */
};

static uint32_t shape_readable(uint32_t token, uint32_t chain_max)
{
    return 1 + token % (chain_max - 1);
}
static uint32_t shape_writable(uint32_t token, uint32_t chain_max)
{
    return chain_max - shape_readable(token, chain_max) > 1
               ? 1 + token / 8 % (chain_max - shape_readable(token, chain_max))
               : 1;
}

/* One batch, as large as it likes and as fits. */
static void driver_send(struct traffic *t, uint64_t limit)
{
    uint32_t batch = 1 + fd_random(t->queue->size), chain_max = t->queue->config.chain_max;
    while (batch-- > 0 && t->sent < limit) {
        uint32_t token = fd_random(ARRAY_SIZE(t->in_flight));
        if (t->in_flight[token])
            continue;
        uint16_t free_before = t->queue->free_count;
        int error = add(t->queue, shape_readable(token, chain_max), shape_writable(token, chain_max),
                        (void *)(uintptr_t)(token + 1));
        if (error) {
            check_equal(-error, EBUSY);
            check_equal(t->queue->free_count, free_before);
            break;
        }
        t->in_flight[token] = 1;
        t->sent++;
    }
    if (virtqueue_kick_prepare(t->queue))
        fd_notify(&t->fd);
}

static void driver_drain(struct traffic *t)
{
    uint32_t chain_max = t->queue->config.chain_max;
    do {
        struct virtqueue_used used;
        virtqueue_callbacks_disable(t->queue);
        while ((used = virtqueue_get(t->queue)).token != NULL) {
            uint32_t index = (uint32_t)(uintptr_t)used.token - 1;
            check(t->in_flight[index] == 1); /* exactly once (R1) */
            t->in_flight[index] = 0;
            check_equal(used.bytes, shape_readable(index, chain_max));
            t->received++;
        }
    } while (virtqueue_callbacks_enable(t->queue));
    t->is_asleep = true;
}

/* Takes what is available, completes some of it in any order. */
static void device_step(struct traffic *t)
{
    struct fake_device *fd = &t->fd;
    if (fd->is_awake) {
        while (fd_pop(fd, &t->held[t->held_count])) {
            check(t->held[t->held_count].count >= 2);
            t->held_count++;
        }
        fd_sleep(fd);
    }
    for (uint32_t n = fd_random(t->held_count + 1); n > 0; n--) {
        uint32_t pick = fd_random(t->held_count);
        struct fd_chain *chain = &t->held[pick];
        uint32_t readable = 0;
        while (readable < chain->count && !chain->buffers[readable].is_writable)
            readable++;
        check_chain(chain, readable, chain->count - readable);
        fd_push(fd, chain->id, readable); /* tells the driver which shape it saw */
        *chain = t->held[--t->held_count];
    }
    if (fd_must_interrupt(fd))
        t->is_asleep = false;
}

/* The driver acts only when it has something to send or was interrupted, the device only when it was notified
 * or has work: when nothing moves, a wakeup was lost. */
static void run_traffic(uint16_t size, bool has_indirect, bool has_event_idx, uint64_t limit)
{
    static struct traffic t;
    memset(&t, 0, sizeof(t));
    t.queue = make(size, has_indirect, has_event_idx);
    fd_attach(&t.fd, t.queue);
    fd_sleep(&t.fd);
    check(!virtqueue_callbacks_enable(t.queue));
    t.is_asleep = true;
    uint64_t idle = 0;
    while (t.received < limit && idle < 1000) {
        uint64_t before = t.sent + t.received + t.fd.used_idx;
        if (fd_random(2) && t.queue->free_count > 0)
            driver_send(&t, limit);
        if (fd_random(2))
            device_step(&t);
        if (!t.is_asleep && fd_random(2))
            driver_drain(&t);
        idle = t.sent + t.received + t.fd.used_idx == before ? idle + 1 : 0;
        assert(t.queue->free_count <= size);
    }
    check_equal(t.received, limit);
    check_equal(broken_calls, 0);
    check(t.fd.notifications <= limit && t.fd.interrupts <= limit);
    finish(t.queue);
}

static void test_traffic(void)
{
    static const uint16_t sizes[] = {2, 4, 8, 64, 256, 1024};
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
        for (unsigned mode = 0; mode < 4; mode++)
            /* More than twice around the 16-bit indices where the event index is in use. */
            run_traffic(sizes[s], mode & 1, mode & 2, mode & 2 ? 140000 : 20000);
}

/* ---- Formats, room and suppression ------------------------------------------------------------------ */

static void test_room(void)
{
    struct fake_device fd;
    struct fd_chain chain;
    struct virtqueue *queue = make(8, false, false);
    fd_attach(&fd, queue);
    check_equal(add(queue, 1, 2, memory), 0);
    check_equal(add(queue, 2, 1, memory + 1), 0);
    check_equal(queue->free_count, 2);
    check(!virtqueue_can_add(queue, 3) && virtqueue_can_add(queue, 2));
    check_equal(-add(queue, 1, 2, memory + 2), EBUSY);
    check(virtqueue_is_consistent(queue));
    check_equal(add(queue, 1, 1, memory + 2), 0);
    check_equal(queue->free_count, 0);
    check(!fd_pop(&fd, &chain)); /* not published yet */
    check(virtqueue_kick_prepare(queue));
    check(!virtqueue_kick_prepare(queue)); /* nothing new */
    check(fd_pop(&fd, &chain));
    check_chain(&chain, 1, 2);
    check(fd_pop(&fd, &chain));
    check_chain(&chain, 2, 1);
    check(fd_pop(&fd, &chain));
    check_chain(&chain, 1, 1);
    check(virtqueue_detach(queue) && virtqueue_detach(queue) && virtqueue_detach(queue));
    check(virtqueue_detach(queue) == NULL);
    finish(queue);

    queue = make(4, true, false); /* indirect: a descriptor a chain, whatever its length */
    for (unsigned i = 0; i < 4; i++)
        check_equal(add(queue, 1, 3, memory + i), 0);
    check_equal(-add(queue, 1, 1, memory), EBUSY);
    while (virtqueue_detach(queue))
        ;
    finish(queue);
}

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

/* ---- Lies ------------------------------------------------------------------------------------------- */

/* Four chains in flight (ids 0 to 3 when indirect), one of which the device may complete. */
static struct virtqueue *make_busy(struct fake_device *fd, bool has_indirect)
{
    struct virtqueue *queue = make(16, has_indirect, true);
    struct fd_chain chain;
    fd_attach(fd, queue);
    for (uintptr_t i = 1; i <= 4; i++)
        check_equal(add(queue, 1, 2, (void *)i), 0); /* writable: 2 + 3 bytes */
    virtqueue_kick_prepare(queue);
    while (fd_pop(fd, &chain))
        ;
    broken_calls = 0;
    return queue;
}

/* The lie was noticed: once, nothing comes out, nothing is lost, a restart makes it whole. */
static void expect_broken(struct virtqueue *queue, uint32_t in_flight)
{
    struct virtqueue_used used;
    unsigned count = 0;
    check(take(queue, &used) == NULL);
    check(take(queue, &used) == NULL);
    check(queue->is_broken);
    check(!virtqueue_has_more(queue) && !virtqueue_callbacks_enable(queue));
    check_equal(broken_calls, 1);
    check(virtqueue_is_consistent(queue));
    while (virtqueue_detach(queue))
        count++;
    check_equal(count, in_flight);
    check_equal(queue->free_count, queue->size);
    virtqueue_restart(queue);
    check(!queue->is_broken);
    struct fake_device fd;
    fd_attach(&fd, queue);
    check_equal(add(queue, 1, 2, memory), 0); /* the shape that the id had before */
    virtqueue_kick_prepare(queue);
    struct fd_chain chain;
    check(fd_pop(&fd, &chain));
    check_chain(&chain, 1, 2);
    fd_push(&fd, chain.id, 2);
    check(take(queue, &used) == memory);
    check_equal(used.bytes, 2);
    broken_calls = 0;
    finish(queue);
}

static void lie_element(bool has_indirect, uint32_t id, uint32_t bytes)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    struct virtqueue_used used;
    fd_push(&fd, id, bytes);
    check(take(queue, &used) == NULL);
    fd.used->ring[0] = (struct virtq_used_elem){0, 5}; /* the truth comes too late */
    expect_broken(queue, 4);
}

static void lie_duplicate(bool has_indirect)
{
    struct fake_device fd;
    struct virtqueue_used used;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    fd_push(&fd, 0, 5);
    fd_push(&fd, 0, 5);
    check(take(queue, &used) == (void *)1);
    expect_broken(queue, 3);
}

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

/* A device that scribbles over everything that it can reach does not touch our state. */
static void test_scribble(void)
{
    for (unsigned has_indirect = 0; has_indirect < 2; has_indirect++) {
        struct fake_device fd;
        struct virtqueue_used used;
        struct virtqueue *queue = make_busy(&fd, has_indirect);
        uint32_t step = has_indirect ? 1 : 3;
        memset(fd.desc, 0xff, fd.size * sizeof(*fd.desc));
        memset(fd.avail, 0xff, sizeof(*fd.avail) + fd.size * 2);
        if (has_indirect)
            memset(queue->buffers, 0xff, 16 * queue->config.chain_max * sizeof(*queue->buffers));
        for (uint32_t i = 4; i-- > 0;) {
            fd_push(&fd, i * step, 5);
            check(take(queue, &used) == (void *)(uintptr_t)(i + 1));
        }
        check(take(queue, &used) == NULL && !queue->is_broken);
        finish(queue);
    }
}

/* Random words in all that the device may write: no assertion, no stray access, tokens at most once. */
static void test_fuzz(void)
{
    unsigned failures_before = check_failures;
    FILE *log = stderr;
    stderr = fopen("/dev/null", "w"); /* a line for each lie is right, but not here */
    for (unsigned round = 0; round < 20000; round++) {
        struct fake_device fd;
        struct virtqueue_used used;
        struct virtqueue *queue = make_busy(&fd, round & 1);
        unsigned taken = 0, detached = 0;
        for (unsigned i = 0; i < 8; i++) {
            uint32_t at = fd_random(fd.size);
            fd.used->ring[at].id = fd_random(2) ? fd_random(20) : (uint32_t)fd_random_state;
            fd.used->ring[at].len = fd_random(8);
            fd.used->idx = fd_random(4) ? (uint16_t)(fd.used->idx + fd_random(3)) : (uint16_t)fd_random_state;
            *fd_avail_event(&fd) = (uint16_t)fd_random_state;
            while (take(queue, &used))
                taken++;
            (void)!virtqueue_callbacks_enable(queue);
        }
        check(virtqueue_is_consistent(queue));
        while (virtqueue_detach(queue))
            detached++;
        check_equal(taken + detached, 4);
        virtqueue_restart(queue);
        finish(queue);
    }
    broken_calls = 0;
    fclose(stderr);
    stderr = log;
    if (check_failures != failures_before)
        fprintf(stderr, "%s: %u expectations failed\n", __func__, check_failures - failures_before);
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
    test_room();
    test_suppression();
    test_traffic();
    test_lies();
    test_scribble();
    test_fuzz();
    return check_finish();
}
