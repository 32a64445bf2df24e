/* SPDX-License-Identifier: MIT */
/* A virtio disk that lies: a table of lies, the device's conduct that follows from them, and its users, whose
 * memory is freed as soon as they are told that their requests are over. Included after a ring format's fake
 * device, RING_FEATURES and tell_jump. */
#ifndef TESTS_HOST_VIRTIO_BLK_LIAR_H
#define TESTS_HOST_VIRTIO_BLK_LIAR_H

#define VIRTIO_MACHINE_HAS_RAW
#include "../fuzz/vring_users.h"

#include <arch/io.h>
#include <host.h>

#define FEATURES     (ALL_OF_QEMU | RING_FEATURES)
#define RING_ENTRIES 16u
#define REQUESTS     12u
/* After 9 in vain the driver gives up; a round of settle has two at most, and completes something. */
#define RESETS_MAX (10u + 2u * REQUESTS)
#define ROUNDS_MAX 500u

#define ENDS(status) BIT(BLOCK_##status)

#define OF_STATUS  1u /* told during a reset, the reset does not end */
#define TOLD_AGAIN 2u /* after each reset */

struct lie {
    const char *name;
    void (*tell)(uint32_t queue);
    uint64_t ends;                   /* how requests may end */
    uint32_t resets_min, resets_max; /* that it may cost */
    uint32_t flags;
};

/* The device's conduct, until it behaves or, where said so, until it is started again. */
static struct {
    bool is_mute, is_blind; /* until started: completes nothing; does not look at its rings any more */
    bool is_mute_for_ever, loses_interrupts, loses_doorbells, is_reversed, needs_reset_always;
    bool lies_after_each;
    uint32_t spurious, doorbells;
} conduct;

static struct virtio_blk *disk;
static uint64_t ends; /* of requests: seen in this case */
static bool is_polling;

/* ---- Lies --------------------------------------------------------------------------------------------- */

/* One of the queue's chains that the device holds; m.held_count: none. */
static uint32_t held_by(uint32_t queue)
{
    uint32_t i = 0;
    while (i < m.held_count && m.held[i].queue != queue)
        i++;
    return i;
}

static void forget(uint32_t held)
{
    m.held[held] = m.held[--m.held_count];
}

static void tell_id_past_the_end(uint32_t queue)
{
    fd_push(&m.fds[queue], m.fds[queue].size + 3u, 1);
}

static void tell_free_id(uint32_t queue)
{
    const struct virtqueue *ring = m.device.queues[queue];
    uint32_t free = ring->free_count > 0 ? ring->free_id : VIRTQUEUE_NO_ID;
    /* Not one that is in flight by the time that the driver looks: that would be believed. */
    fd_push(&m.fds[queue], virtqueue_is_idle(ring) ? ring->size - 1u : free, 1);
}

static void tell_twice(uint32_t queue)
{
    uint32_t held = held_by(queue);
    if (held == m.held_count) {
        tell_free_id(queue);
        return;
    }
    uint32_t id = m.held[held].chain.id;
    device_complete(held);
    fd_push(&m.fds[queue], id, 1);
}

static void tell_too_many_bytes(uint32_t queue)
{
    uint32_t held = held_by(queue);
    if (held == m.held_count) {
        tell_id_past_the_end(queue);
        return;
    }
    fd_push(&m.fds[queue], m.held[held].chain.id, total(&m.held[held].chain, true) + 1);
    forget(held);
}

static void forget_all(uint32_t queue)
{
    for (uint32_t held; (held = held_by(queue)) < m.held_count;)
        forget(held);
    conduct.is_blind = true;
}

static void tell_jump_of_the_index(uint32_t queue)
{
    tell_jump(&m.fds[queue]);
    forget_all(queue);
}

static void tell_noise(uint32_t queue)
{
    for (uint32_t i = 0; i < 64; i++)
        fd_fuzz(&m.fds[queue]);
    forget_all(queue);
}

/* From its own notes it can still complete what it has. */
static void tell_scribbles(uint32_t queue)
{
    fd_scribble(&m.fds[queue], m.device.queues[queue]);
    conduct.is_blind = true;
}

static void tell_nothing_done(uint32_t queue)
{
    uint32_t held = held_by(queue);
    if (held == m.held_count)
        return;
    fd_push(&m.fds[queue], m.held[held].chain.id, total(&m.held[held].chain, true));
    forget(held);
}

static void complete_with(uint32_t queue, uint8_t answer)
{
    uint32_t held = held_by(queue);
    m.answer = answer;
    if (held < m.held_count)
        device_complete(held);
    m.answer = VIRTIO_BLK_S_OK;
}

static void tell_odd_status(uint32_t queue)
{
    complete_with(queue, 3);
}

/* It is all there, but it says that it wrote nothing. */
static void tell_no_bytes(uint32_t queue)
{
    uint32_t held = held_by(queue), id = held < m.held_count ? m.held[held].chain.id : 0;
    if (held == m.held_count)
        return;
    device_complete(held);
    fd_correct(&m.fds[queue], id, 0);
}

static void lose_interrupts(uint32_t queue)
{
    (void)queue;
    conduct.loses_interrupts = true;
}

static void interrupt_for_nothing(uint32_t queue)
{
    (void)queue;
    conduct.spurious = 50;
}

static void lose_doorbells(uint32_t queue)
{
    m.fds[queue].is_awake = false; /* and the last one */
    conduct.loses_doorbells = true;
}

static void hold(uint32_t queue)
{
    (void)queue;
    conduct.is_mute = true;
}

static void hold_for_ever(uint32_t queue)
{
    (void)queue;
    conduct.is_mute_for_ever = true;
}

static void drop(uint32_t queue)
{
    uint32_t held = held_by(queue);
    if (held < m.held_count)
        forget(held);
}

static void reorder(uint32_t queue)
{
    (void)queue;
    conduct.is_reversed = true;
}

static void need_reset(uint32_t queue)
{
    (void)queue;
    m.status |= VIRTIO_STATUS_NEEDS_RESET;
    m.device.driver->config_changed(&m.device);
}

static void need_reset_always(uint32_t queue)
{
    conduct.needs_reset_always = true;
    need_reset(queue);
}

static void never_reset(uint32_t queue)
{
    m.resets_left = 0;
    need_reset(queue);
}

static void lose_features_ok(uint32_t queue)
{
    m.has_features_ok = false;
    need_reset(queue);
}

static void lose_a_feature(uint32_t queue)
{
    m.offered &= ~BIT(VIRTIO_BLK_F_FLUSH);
    need_reset(queue);
}

static void refuse_vectors(uint32_t queue)
{
    m.connect_error = -EIO;
    need_reset(queue);
}

static void never_settle(uint32_t queue)
{
    (void)queue;
    m.config_changes = 1u << 30;
    m.device.driver->config_changed(&m.device);
}

static void lie_after_each(uint32_t queue)
{
    conduct.lies_after_each = true;
    tell_id_past_the_end(queue);
}

#define SOME_FAIL (ENDS(OK) | ENDS(FAILED))
#define GIVEN_UP  (ENDS(OK) | ENDS(RETRY) | ENDS(GONE))
static const struct lie lies[] = {
    /* name, how, how requests end, resets, flags */
    {"id past the end", tell_id_past_the_end, ENDS(OK), 1, 1, 0},
    {"id not in flight", tell_free_id, ENDS(OK), 1, 1, 0},
    {"id twice", tell_twice, ENDS(OK), 1, 1, 0},
    {"too many bytes", tell_too_many_bytes, ENDS(OK), 1, 1, 0},
    {"index jumps", tell_jump_of_the_index, SOME_FAIL, 1, 2, 0},
    {"noise", tell_noise, SOME_FAIL, 1, 2, 0},
    {"scribbles", tell_scribbles, ENDS(OK), 0, 2, 0},
    {"done without doing", tell_nothing_done, SOME_FAIL, 0, 0, 0},
    {"odd status", tell_odd_status, SOME_FAIL, 0, 0, 0},
    {"no bytes", tell_no_bytes, ENDS(OK), 0, 0, 0},
    {"interrupts lost", lose_interrupts, ENDS(OK), 0, 0, 0},
    {"interrupts for nothing", interrupt_for_nothing, ENDS(OK), 0, 0, 0},
    {"doorbells lost", lose_doorbells, ENDS(OK), 0, 0, 0},
    {"held", hold, ENDS(OK), 0, 1, 0},
    {"held for ever", hold_for_ever, GIVEN_UP, 0, RESETS_MAX, 0},
    {"dropped", drop, ENDS(OK), 0, 1, 0},
    {"reordered", reorder, ENDS(OK), 0, 0, 0},
    {"needs a reset", need_reset, ENDS(OK), 1, 1, OF_STATUS},
    {"needs resets for ever", need_reset_always, GIVEN_UP, 1, RESETS_MAX, OF_STATUS},
    {"never reset", never_reset, ENDS(OK) | ENDS(GONE), 0, 1, OF_STATUS},
    {"FEATURES_OK lost", lose_features_ok, ENDS(OK) | ENDS(GONE), 0, 1, OF_STATUS},
    {"a feature lost", lose_a_feature, ENDS(OK) | ENDS(GONE), 0, 1, OF_STATUS},
    {"vectors refused", refuse_vectors, ENDS(OK) | ENDS(GONE), 0, 1, OF_STATUS},
    {"configuration never settles", never_settle, ENDS(OK), 0, 0, 0},
    {"bad ids for ever", tell_id_past_the_end, GIVEN_UP, 1, RESETS_MAX, TOLD_AGAIN},
    {"noise for ever", tell_noise, SOME_FAIL | GIVEN_UP, 1, RESETS_MAX, TOLD_AGAIN},
    {"bad ids after each completion", lie_after_each, GIVEN_UP, 1, RESETS_MAX, 0},
};

/* ---- When they are told ------------------------------------------------------------------------------- */

/* Not told yet: at that barrier from now on, during the next reset, or when the queue is enabled next. */
static struct {
    const struct lie *lie;
    uint32_t queue, barriers;
    bool during_reset, at_start, before_registration;
} planned;

static void tell_planned(void)
{
    const struct lie *lie = planned.lie;
    planned.lie = NULL;
    if (lie)
        lie->tell(planned.queue);
}

static void at_barrier(void)
{
    if (planned.lie && planned.barriers > 0 && --planned.barriers == 0)
        tell_planned();
}

static void run_some_works(void)
{
    struct fifo_node *node;
    for (uint32_t left = 4; left > 0 && (node = fifo_pop(&works)) != NULL; left--) {
        struct work *work = container_of(node, struct work, node);
        work->is_queued = 0;
        work->run(work);
    }
}

/* R6: the device has nothing any more of a request that is over. */
static bool is_with_device(const struct user *user)
{
    bool is_there = false;
    for (uint32_t i = 0; i < m.held_count && !m.is_isolated; i++) {
        const struct fd_chain *chain = &m.held[i].chain;
        for (uint32_t b = 0; b < chain->count; b++)
            is_there |= user->data && chain->buffers[b].data == user->data;
    }
    return is_there;
}

static bool end_users(void)
{
    bool have_some_ended = !fifo_is_empty(&finished);
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        struct block_request *request = container_of(node, struct block_request, node);
        struct user *user = user_of(request);
        check(users[user->index] == user); /* R1 */
        check(!is_with_device(user));
        ends |= BIT(request->status);
        if (request->status == BLOCK_OK && request->operation <= BLOCK_WRITE)
            check(memcmp(user->data, disk_data + request->sector * 512, request->sectors * 512) == 0);
        users[user->index] = NULL;
        free(user->data);
        free(user);
    }
    return have_some_ended;
}

static void submit_users(uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        make_user(i, fd_random(256));
        host_cpu_id = i % disk->queue_count;
        submit_waiting();
    }
    (void)end_users();
}

/* Until the status reads 0 the device works on what it has (R6). */
static void status_write_slowly(struct virtio_device *device, uint8_t status)
{
    uint32_t held = m.held_count;
    status_write(device, status);
    if (status == 0 && m.reset_reads > 0)
        m.held_count = held;
    if (status & VIRTIO_STATUS_DRIVER_OK && conduct.needs_reset_always)
        m.status |= VIRTIO_STATUS_NEEDS_RESET;
    if (status & VIRTIO_STATUS_DRIVER_OK && planned.before_registration) {
        struct virtqueue *ring = device->queues[planned.queue];
        tell_planned();
        ring->config.interrupt(ring);
        run_some_works(); /* too early: there is no disk yet */
    }
}

static uint8_t status_read_slowly(struct virtio_device *device)
{
    if (m.status == 0 && m.reset_reads == 2 && planned.during_reset) {
        for (uint32_t half = m.held_count / 2; half > 0; half--)
            device_complete(0);
        tell_planned();
        /* Another CPU meanwhile. */
        virtio_blk_foreach_queue (disk, queue)
            queue->ring->config.interrupt(queue->ring);
        block.config.ops->late(&block);
        block.config.ops->timed_out(&block);
        submit_waiting();
    }
    if (m.status == VIRTIO_STATUS_ACKNOWLEDGE && planned.during_reset) {
        planned.during_reset = false;
        submit_users(REQUESTS, 2); /* still too early */
    }
    uint8_t status = status_read(device);
    if (status == 0)
        m.held_count = 0;
    return status;
}

static const struct lie *told_again;

static int enable_and_lie(struct virtio_device *device, struct virtqueue *queue)
{
    int error = queue_enable(device, queue);
    if (queue->config.index == 0) /* the first of all */
        conduct.is_mute = conduct.is_blind = false;
    if (queue->config.index != planned.queue)
        return error;
    if (planned.lie && planned.at_start)
        tell_planned();
    else if (told_again && disk)
        told_again->tell(planned.queue);
    return error;
}

static void notify_or_not(struct virtqueue *queue)
{
    if (conduct.loses_doorbells && conduct.doorbells++ % 2 == 0)
        return;
    notify(queue);
}

/* ---- The device's work, and its users' ---------------------------------------------------------------- */

static void call_interrupts(bool is_wanted)
{
    virtio_blk_foreach_queue (disk, queue) {
        bool is_asked = fd_must_interrupt(&m.fds[queue - disk->queues]);
        if (is_wanted ? is_asked && !conduct.loses_interrupts : true)
            queue->ring->config.interrupt(queue->ring);
    }
}

static void complete_held(void)
{
    while (m.held_count > 0) {
        uint32_t queue = m.held[0].queue;
        device_complete(conduct.is_reversed ? m.held_count - 1 : 0);
        if (conduct.lies_after_each) {
            tell_id_past_the_end(queue);
            return;
        }
    }
}

static void device_step(void)
{
    if (!(m.status & VIRTIO_STATUS_DRIVER_OK) || m.is_isolated)
        return;
    if (!conduct.is_blind)
        device_take();
    if (!conduct.is_mute && !conduct.is_mute_for_ever)
        complete_held();
    call_interrupts(true);
    for (; conduct.spurious > 0; conduct.spurious--)
        call_interrupts(false);
}

/* Time passes: the watchdog looks now and then, and loses its patience when that does not help. */
static void settle(void)
{
    uint32_t round = 0, last_end = 0;
    for (; round < ROUNDS_MAX && (has_users() || !fifo_is_empty(&works)); round++) {
        run_some_works();
        submit_waiting();
        device_step();
        if (is_polling)
            block.config.ops->poll(&block);
        if (round % 4 == 3)
            block.config.ops->late(&block);
        if (round - last_end > 16) {
            block.config.ops->timed_out(&block);
            last_end = round;
        }
        if (end_users())
            last_end = round;
    }
    check(round < ROUNDS_MAX && !has_users() && fifo_is_empty(&waiting) && fifo_is_empty(&works));
}

#endif
