/* SPDX-License-Identifier: MIT */
/* Tests of a ring against a fake device that hold for every format. Included after the device, with
 * VRING_CREATE the creator; the includer's main calls test_*. */
#ifndef TESTS_HOST_VRING_SHARED_H
#define TESTS_HOST_VRING_SHARED_H

#include <kernel/base/error.h>

static unsigned broken_calls;
static uint8_t memory[4096];
static bool is_in_order; /* VIRTIO_F_IN_ORDER is negotiated */

static void on_broken(struct virtqueue *queue)
{
    check(queue->is_broken && queue->broken_why != NULL);
    broken_calls++;
}

static struct virtqueue *make(uint16_t size, bool has_indirect, bool has_event_idx)
{
    struct virtqueue_config config = {.name = "test",
                                      .size = size,
                                      .chain_max = size > 8 ? 8 : size,
                                      .has_indirect = has_indirect,
                                      .has_event_idx = has_event_idx,
                                      .is_in_order = is_in_order,
                                      .broken = on_broken};
    struct virtqueue *queue;
    check_equal(VRING_CREATE(&config, &queue), 0);
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

/* ---- Traffic ---------------------------------------------------------------------------------------- */

/* IN_ORDER: the device happens to keep the order. BATCHES: it has promised to. */
enum {
    TRAFFIC_INDIRECT = 1,
    TRAFFIC_EVENT_IDX = 2,
    TRAFFIC_IN_ORDER = 4,
    TRAFFIC_BATCHES = 8,
    TRAFFIC_MODES = 12
};

struct traffic {
    unsigned mode;
    struct virtqueue *queue;
    struct fake_device fd;
    struct fd_chain held[1024];
    uint32_t held_first, held_count, wrong_lengths;
    uint64_t sent, received;
    bool is_asleep;             /* the driver waits for an interrupt */
    uint8_t in_flight[1 << 11]; /* by token - 1: 1 while in flight */
    uint32_t told[1024];        /* BATCHES: the length that each chain comes back with, in order */
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
    check(fd_ends_at(&t->fd, virtqueue_position(t->queue))); /* of what is published */
    if (virtqueue_kick_prepare(t->queue))
        fd_notify(&t->fd);
    check(fd_ends_at(&t->fd, virtqueue_position(t->queue)));
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
            t->wrong_lengths +=
                used.bytes != (t->mode & TRAFFIC_BATCHES ? t->told[t->received % ARRAY_SIZE(t->told)]
                                                         : shape_readable(index, chain_max));
            t->received++;
        }
    } while (virtqueue_callbacks_enable(t->queue));
    t->is_asleep = true;
}

/* What the device works on: a queue of chains, of which any may be done next. */
static struct fd_chain *held_chain(struct traffic *t, uint32_t index)
{
    return &t->held[(t->held_first + index) % ARRAY_SIZE(t->held)];
}

/* Takes what is available. */
static void device_take(struct traffic *t)
{
    while (fd_pop(&t->fd, held_chain(t, t->held_count))) {
        check(held_chain(t, t->held_count)->count >= 2);
        t->held_count++;
    }
    fd_sleep(&t->fd);
}

static uint32_t count_readable(const struct fd_chain *chain)
{
    uint32_t readable = 0;
    while (readable < chain->count && !chain->buffers[readable].is_writable)
        readable++;
    check_chain(chain, readable, chain->count - readable);
    return readable;
}

static uint32_t writable_bytes(const struct fd_chain *chain)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < chain->count; i++)
        bytes += chain->buffers[i].is_writable ? chain->buffers[i].bytes : 0;
    return bytes;
}

/* Completes the first so many at once: of the last it tells the length, the others are full. */
static void device_complete_batch(struct traffic *t, uint32_t count)
{
    uint16_t ids[ARRAY_SIZE(t->held)];
    uint32_t readable = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct fd_chain *chain = held_chain(t, i);
        readable = count_readable(chain);
        ids[i] = chain->id;
        t->told[(t->fd.pushed + i) % ARRAY_SIZE(t->told)] = i + 1 < count ? writable_bytes(chain) : readable;
    }
    fd_push_batch(&t->fd, ids, count, readable);
    t->held_first += count;
    t->held_count -= count;
}

/* Completes one; its length tells the driver which shape it saw. */
static void device_complete(struct traffic *t)
{
    struct fd_chain *chain = held_chain(t, t->mode & TRAFFIC_IN_ORDER ? 0 : fd_random(t->held_count));
    uint32_t readable = count_readable(chain);
    fd_push(&t->fd, chain->id, readable);
    *chain = *held_chain(t, 0);
    t->held_first++;
    t->held_count--;
}

static void device_step(struct traffic *t)
{
    if (t->fd.is_awake)
        device_take(t);
    for (uint32_t n = fd_random(t->held_count + 1), batch; n > 0; n -= batch) {
        batch = t->mode & TRAFFIC_BATCHES ? 1 + fd_random(n) : 1;
        if (t->mode & TRAFFIC_BATCHES)
            device_complete_batch(t, batch);
        else
            device_complete(t);
    }
    if (fd_must_interrupt(&t->fd))
        t->is_asleep = false;
}

/* The driver acts only when it has something to send or was interrupted, the device only when it was notified
 * or has work: when nothing moves, a wakeup was lost. */
static void run_traffic(uint16_t size, unsigned mode, uint64_t limit)
{
    static struct traffic t;
    is_in_order = mode & TRAFFIC_BATCHES;
    t.queue = make(size, mode & TRAFFIC_INDIRECT, mode & TRAFFIC_EVENT_IDX);
    fd_attach(&t.fd, t.queue);
    t.mode = mode;
    t.sent = t.received = t.held_count = t.wrong_lengths = 0;
    memset(t.in_flight, 0, sizeof(t.in_flight));
    fd_sleep(&t.fd);
    check(!virtqueue_callbacks_enable(t.queue));
    t.is_asleep = true;
    uint64_t idle = 0;
    while (t.received < limit && idle < 1000) {
        uint64_t before = t.sent + t.received + t.fd.pushed;
        if (fd_random(2) && t.queue->free_count > 0)
            driver_send(&t, limit);
        if (fd_random(2))
            device_step(&t);
        if (!t.is_asleep && fd_random(2))
            driver_drain(&t);
        idle = t.sent + t.received + t.fd.pushed == before ? idle + 1 : 0;
        assert(t.queue->free_count <= size);
    }
    check_equal(t.received, limit);
    check_equal(t.wrong_lengths, 0);
    check(t.queue->added == limit && t.queue->gotten == limit);
    check_equal(broken_calls, 0);
    check(t.fd.notifications <= limit && t.fd.interrupts <= limit);
    finish(t.queue);
    is_in_order = false;
}

/* ---- Room ------------------------------------------------------------------------------------------ */

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

/* ---- Lies ------------------------------------------------------------------------------------------ */

static uint16_t busy_ids[4];
static uint32_t busy_after; /* chains sent and completed before */

static void send_and_complete(struct virtqueue *queue, struct fake_device *fd)
{
    struct virtqueue_used used;
    struct fd_chain chain;
    check_equal(add(queue, 1, 1, memory), 0);
    (void)!virtqueue_kick_prepare(queue);
    check(fd_pop(fd, &chain));
    fd_push(fd, chain.id, 1);
    check(take(queue, &used) == memory);
}

/* Four chains in flight, with the tokens 1 to 4 and the ids in busy_ids; the device has them. */
static struct virtqueue *make_busy(struct fake_device *fd, bool has_indirect)
{
    struct virtqueue *queue = make(16, has_indirect, true);
    struct fd_chain chain;
    fd_attach(fd, queue);
    for (uint32_t i = 0; i < busy_after; i++)
        send_and_complete(queue, fd);
    for (uintptr_t i = 1; i <= 4; i++)
        check_equal(add(queue, 1, 2, (void *)i), 0); /* writable: 2 + 3 bytes */
    virtqueue_kick_prepare(queue);
    for (uint32_t i = 0; i < 4; i++) {
        check(fd_pop(fd, &chain));
        busy_ids[i] = chain.id;
    }
    check(!fd_pop(fd, &chain));
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
    fd_correct(&fd, busy_ids[0], 5); /* too late */
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

/* A device that scribbles over everything that it can reach does not touch our state, and a restart makes
 * good what it may have done to descriptors and tables. */
static void test_scribble(void)
{
    for (unsigned has_indirect = 0; has_indirect < 2; has_indirect++) {
        struct fake_device fd;
        struct virtqueue_used used;
        struct virtqueue *queue = make_busy(&fd, has_indirect);
        fd_scribble(&fd, queue);
        for (uint32_t i = 4; i-- > 0;) {
            fd_push(&fd, busy_ids[i], 5);
            check(take(queue, &used) == (void *)(uintptr_t)(i + 1));
        }
        check(take(queue, &used) == NULL && !queue->is_broken);
        virtqueue_restart(queue);
        fd_attach(&fd, queue);
        for (uint32_t i = 0; i < 4; i++) {
            struct fd_chain chain;
            check_equal(add(queue, 1, 2, memory), 0);
            (void)!virtqueue_kick_prepare(queue);
            check(fd_pop(&fd, &chain));
            check_chain(&chain, 1, 2);
            fd_push(&fd, chain.id, 0);
        }
        for (uint32_t i = 0; i < 4; i++)
            check(take(queue, &used) == memory);
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
        is_in_order = round & 2;
        struct virtqueue *queue = make_busy(&fd, round & 1);
        unsigned taken = 0, detached = 0;
        for (unsigned i = 0; i < 8; i++) {
            fd_fuzz(&fd);
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
    is_in_order = false;
    broken_calls = 0;
    fclose(stderr);
    stderr = log;
    if (check_failures != failures_before)
        fprintf(stderr, "%s: %u expectations failed\n", __func__, check_failures - failures_before);
}

#endif
