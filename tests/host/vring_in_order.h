/* SPDX-License-Identifier: MIT */
/* VIRTIO_F_IN_ORDER, for every ring format: batches of every length from every place, what is known of the
 * chains of a batch, and lies about it. Included after vring_shared.h. */
#ifndef TESTS_HOST_VRING_IN_ORDER_H
#define TESTS_HOST_VRING_IN_ORDER_H

/* Chains of 1 + 2 buffers, so of 2 + 3 writable bytes, with the tokens from 1 on; the device has them. */
static void send_chains(struct virtqueue *queue, struct fake_device *fd, uint16_t *ids, uint32_t count)
{
    struct fd_chain chain;
    for (uintptr_t i = 1; i <= count; i++)
        check_equal(add(queue, 1, 2, (void *)i), 0);
    (void)!virtqueue_kick_prepare(queue);
    for (uint32_t i = 0; i < count; i++) {
        check(fd_pop(fd, &chain));
        check_chain(&chain, 1, 2);
        ids[i] = chain.id;
    }
}

/* Takes the tokens from `first` on: all but the last are full, and while there are some, that is seen. */
static void take_batch(struct virtqueue *queue, uintptr_t first, uint32_t count, uint32_t last_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        struct virtqueue_used used;
        check(virtqueue_has_more(queue) && virtqueue_callbacks_enable(queue)); /* R5 */
        check(take(queue, &used) == (void *)(first + i));
        check_equal(used.bytes, i + 1 < count ? 5 : last_bytes);
        check(virtqueue_is_consistent(queue)); /* R2 */
    }
    check(!virtqueue_has_more(queue));
}

/* One interrupt, and only when it was asked for, wherever in the batch the place is that was asked for. */
static void check_interrupt(struct virtqueue *queue, struct fake_device *fd, bool is_wanted)
{
    check_equal(fd_must_interrupt(fd), is_wanted);
    check(!fd_must_interrupt(fd));
    virtqueue_callbacks_disable(queue);
}

static void batches_from(uint16_t size, bool has_indirect, bool has_event_idx, uint32_t before)
{
    uint32_t room = has_indirect ? size : size / 3u;
    uint16_t ids[64];
    for (uint32_t count = 1; count <= room; count++) {
        for (uint32_t first = 1; first <= count; first++) {
            struct fake_device fd;
            struct virtqueue *queue = make(size, has_indirect, has_event_idx);
            fd_attach(&fd, queue);
            for (uint32_t i = 0; i < before; i++)
                send_and_complete(queue, &fd);
            (void)!fd_must_interrupt(&fd);
            send_chains(queue, &fd, ids, count);
            check(!virtqueue_callbacks_enable(queue));
            fd_push_batch(&fd, ids, first, 4); /* all, or two batches before the driver looks */
            if (first < count)
                fd_push_batch(&fd, ids + first, count - first, 0);
            check_interrupt(queue, &fd, true);
            struct virtqueue_used used;
            for (uintptr_t i = 1; i < first; i++)
                check(take(queue, &used) == (void *)i && used.bytes == 5);
            check(take(queue, &used) == (void *)(uintptr_t)first && used.bytes == 4);
            if (first < count)
                take_batch(queue, first + 1, count - first, 0);
            check(take(queue, &used) == NULL && !queue->is_broken);
            finish(queue);
        }
    }
}

/* Of every length, from every place of the ring and over its end; one, or two at once. */
static void test_batches(void)
{
    static const uint16_t sizes[] = {IN_ORDER_SIZES};
    is_in_order = true;
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
        for (unsigned mode = 0; mode < 4; mode++)
            for (uint32_t before = 0; before <= 2u * sizes[s]; before++)
                batches_from(sizes[s], mode & TRAFFIC_INDIRECT, mode & TRAFFIC_EVENT_IDX, before);
    is_in_order = false;
}

/* Asked in the middle of a batch: the answer is that there is more, and the question is of what comes after
 * it once it is taken. */
static void test_question_in_a_batch(void)
{
    is_in_order = true;
    for (unsigned mode = 0; mode < 4; mode++) {
        struct fake_device fd;
        uint16_t ids[4];
        struct virtqueue *queue = make(16, mode & TRAFFIC_INDIRECT, mode & TRAFFIC_EVENT_IDX);
        fd_attach(&fd, queue);
        send_chains(queue, &fd, ids, 4);
        fd_push_batch(&fd, ids, 3, 5);
        (void)!fd_must_interrupt(&fd);
        take_batch(queue, 1, 3, 5);
        check(!virtqueue_callbacks_enable(queue));
        fd_push_batch(&fd, ids + 3, 1, 5);
        check_interrupt(queue, &fd, true);
        take_batch(queue, 4, 1, 5);
        finish(queue);
    }
    is_in_order = false;
}

/* A reset in the middle of a batch: what was not taken is in flight, and the next life begins at the start.
 */
static void test_reset_in_a_batch(void)
{
    is_in_order = true;
    for (unsigned has_indirect = 0; has_indirect < 2; has_indirect++) {
        struct fake_device fd;
        struct virtqueue_used used;
        uint16_t ids[5];
        struct virtqueue *queue = make(16, has_indirect, true);
        fd_attach(&fd, queue);
        send_and_complete(queue, &fd);
        send_chains(queue, &fd, ids, 5);
        fd_push_batch(&fd, ids, 4, 5);
        check(take(queue, &used) == (void *)1);
        virtqueue_dump(queue);
        for (uintptr_t token = 2; token <= 5; token++)
            check(virtqueue_detach(queue) == (void *)token);
        check(!virtqueue_detach(queue) && virtqueue_is_consistent(queue));
        virtqueue_restart(queue);
        fd_attach(&fd, queue);
        check(fd_is_fresh(&fd) && !virtqueue_has_more(queue));
        send_chains(queue, &fd, ids, 5);
        check_equal(ids[0], 0);
        fd_push_batch(&fd, ids, 5, 5);
        take_batch(queue, 1, 5, 5);
        finish(queue);
    }
    is_in_order = false;
}

/* ---- Lies ------------------------------------------------------------------------------------------- */

/* One push of that id and length: nothing may come out. */
static void lie_of_batch(bool has_indirect, uint32_t id, uint32_t bytes)
{
    struct fake_device fd;
    struct virtqueue_used used;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    fd_push(&fd, id, bytes);
    check(take(queue, &used) == NULL);
    fd_correct(&fd, busy_ids[0], 5); /* too late */
    expect_broken(queue, 4);
}

/* The whole batch is done; then it is told of again. */
static void lie_of_old_batch(bool has_indirect)
{
    struct fake_device fd;
    struct virtqueue *queue = make_busy(&fd, has_indirect);
    fd_push_batch(&fd, busy_ids, 3, 0);
    take_batch(queue, 1, 3, 0);
    fd_push(&fd, busy_ids[1], 0);
    expect_broken(queue, 1);
}

static void test_batch_lies(void)
{
    is_in_order = true;
    for (unsigned i = 0; i < 8; i++) {
        bool has_indirect = i & 1;
        busy_after = i / 2 * 3; /* of 16: over the ring's end at the last */
        lie_of_batch(has_indirect, 16, 0);
        lie_of_batch(has_indirect, 0xffff, 0);
        lie_of_batch(has_indirect, (busy_ids[3] + 1u + !has_indirect * 2u) % 16, 0); /* free */
        lie_of_batch(has_indirect, busy_ids[0], 6); /* more than 2 + 3 bytes */
        lie_of_batch(has_indirect, busy_ids[0], 0xffffffff);
        lie_of_old_batch(has_indirect);
    }
    busy_after = 0;
    is_in_order = false;
}

/* The device writes over all that it can reach, and tells of one batch. */
static void test_scribble_in_order(void)
{
    is_in_order = true;
    for (unsigned has_indirect = 0; has_indirect < 2; has_indirect++) {
        struct fake_device fd;
        struct virtqueue *queue = make_busy(&fd, has_indirect);
        fd_scribble(&fd, queue);
        fd_push_batch(&fd, busy_ids, 4, 3);
        struct virtqueue_used used;
        for (uintptr_t token = 1; token <= 4; token++)
            check(take(queue, &used) == (void *)token && used.bytes == (token < 4 ? 5 : 3));
        check(take(queue, &used) == NULL && !queue->is_broken);
        finish(queue);
    }
    is_in_order = false;
}

static void test_room_in_order(void)
{
    is_in_order = true;
    test_room();
    is_in_order = false;
}

#endif
