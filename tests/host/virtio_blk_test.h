/* SPDX-License-Identifier: MIT */
/* The virtio disk: traffic with its data, statuses, batches, races, lies, reset and replay. Included by one
 * file a ring format, after its fake device and with RING_FEATURES and RING_SIZES; its main calls test_all.
 */
#ifndef TESTS_HOST_VIRTIO_BLK_TEST_H
#define TESTS_HOST_VIRTIO_BLK_TEST_H

#include "virtio_machine.h"

#define FEATURES (ALL_OF_QEMU | RING_FEATURES)

/* ---- Traffic ------------------------------------------------------------------------------------------ */

#define REQUESTS 64u

struct client {
    struct block_request request;
    struct block_segment segments[64];
    uint8_t data[4096];
    bool is_busy;
} clients[REQUESTS];

static void make_client(struct client *client, uint32_t index)
{
    /* Each has its own sectors, so that what is read can be foretold. */
    uint32_t sectors = 1 + fd_random(3), kind = fd_random(10);
    uint32_t pieces = 1 + fd_random(MIN(sectors, (uint32_t)block.config.limits.max_segments));
    if (kind == 0) {
        client->request = make_request(BLOCK_FLUSH, 0, NULL, 0);
        return;
    }
    client->request =
        make_request(kind < 5 ? BLOCK_READ : BLOCK_WRITE, index * 4, client->data, sectors * 512);
    if (kind < 5)
        memset(client->data, 0xee, sizeof(client->data));
    else
        for (uint32_t i = 0; i < sectors * 512; i++)
            client->data[i] = (uint8_t)fd_random(256);
    client->request.segments = client->segments;
    client->request.segment_count = client->request.total_segments = (uint16_t)pieces;
    for (uint32_t i = 0; i < pieces; i++)
        client->segments[i] =
            (struct block_segment){client->data + i * 512, i + 1 < pieces ? 512 : (sectors - i) * 512};
    if (pieces == 1)
        client->request.one = client->segments[0];
}

static void check_finished(uint64_t *done)
{
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        struct block_request *request = container_of(node, struct block_request, node);
        struct client *client = container_of(request, struct client, request);
        check(client->is_busy);
        check_equal(request->status, BLOCK_OK);
        if (request->operation != BLOCK_FLUSH)
            check(memcmp(client->data, disk_data + request->sector * 512, request->sectors * 512) == 0);
        client->is_busy = false;
        (*done)++;
    }
}

static bool are_all_busy(const struct virtio_blk *disk)
{
    virtio_blk_foreach_queue (disk, queue) {
        if (virtqueue_is_idle(queue->ring))
            return false;
    }
    return true;
}

/* Random submits, on any CPU, completions in any order, an interrupt only where asked for. */
static void run_traffic(uint32_t queues, uint32_t size, uint64_t offered, uint64_t limit)
{
    struct virtio_blk *disk = start_queues(queues, size, offered);
    struct fifo waiting;
    uint64_t done = 0, idle = 0;
    fifo_init(&waiting);
    while (done < limit && idle++ < 1000) {
        uint64_t before = done;
        for (uint32_t i = fd_random(8); i > 0; i--) {
            uint32_t index = fd_random(REQUESTS);
            if (clients[index].is_busy)
                continue;
            make_client(&clients[index], index);
            clients[index].is_busy = true;
            push(&waiting, &clients[index].request);
        }
        struct fifo_node *head = waiting.head;
        if (head) {
            host_cpu_id = fd_random(queues);
            block.config.ops->submit(&block, &waiting);
            check(waiting.head != head || are_all_busy(disk)); /* or nobody would ever restart it */
        }
        device_take();
        for (uint32_t i = fd_random(m.held_count + 1); i > 0 && m.held_count > 0; i--)
            device_complete(fd_random(m.held_count));
        interrupt(disk);
        check_finished(&done);
        idle = done != before ? 0 : idle;
    }
    check(done >= limit);
    while (idle++ < 2000 && (!block.config.ops->is_idle(&block) || !fifo_is_empty(&waiting))) {
        block.config.ops->submit(&block, &waiting);
        device_do_all(disk);
        check_finished(&done);
    }
    for (uint32_t i = 0; i < REQUESTS; i++)
        check(!clients[i].is_busy); /* R1: each came back */
    virtio_blk_foreach_queue (disk, queue)
        check(queue->bad_statuses == 0 && queue->ring->gotten > 0);
    check_equal(m.data_notifies, m.device.features >> VIRTIO_F_NOTIFICATION_DATA & 1 ? m.notifies : 0);
    check_equal(m.wrong_positions, 0);
    stop(disk);
}

static void run_traffics(uint32_t queues)
{
    static const uint32_t sizes[] = {RING_SIZES};
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
        run_traffic(queues, sizes[s], FEATURES, 3000);
        run_traffic(queues, sizes[s], FEATURES | BIT(VIRTIO_F_NOTIFICATION_DATA), 3000);
        run_traffic(queues, sizes[s], FEATURES | BIT(VIRTIO_F_IN_ORDER), 3000);
        run_traffic(queues, sizes[s], (FEATURES | BIT(VIRTIO_F_IN_ORDER)) & ~BIT(VIRTIO_F_INDIRECT_DESC),
                    3000);
        run_traffic(queues, sizes[s], FEATURES & ~BIT(VIRTIO_F_INDIRECT_DESC), 3000);
        run_traffic(queues, sizes[s], FEATURES & ~BIT(VIRTIO_F_EVENT_IDX), 3000);
        run_traffic(queues, sizes[s], FEATURES & ~BIT(VIRTIO_F_EVENT_IDX) & ~BIT(VIRTIO_F_INDIRECT_DESC),
                    3000);
    }
}

static void test_traffic(void)
{
    for (uint32_t queues = 1; queues <= QUEUES; queues++)
        run_traffics(queues);
}

static void test_statuses(void)
{
    static const struct {
        uint8_t answer, expected;
    } cases[] = {
        {0, BLOCK_OK}, {1, BLOCK_FAILED}, {2, BLOCK_UNSUPPORTED}, {3, BLOCK_FAILED}, {0xff, BLOCK_FAILED}};
    static uint8_t data[512];
    for (unsigned size = 2; size <= 64; size += 62) {
        struct virtio_blk *disk = start(size, FEATURES);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            struct block_request request = make_request(BLOCK_READ, 1, data, 512);
            submit(&request, 1);
            m.answer = cases[i].answer;
            device_do_all(disk);
            check_equal(count_finished(cases[i].expected), 1);
        }
        check_equal(disk->queues[0].bad_statuses, 2);
        m.answer = 0;
        struct block_request id = make_request(BLOCK_GET_ID, 0, data, BLOCK_ID_BYTES);
        submit(&id, 1);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 1);
        check(memcmp(data, "serial-0123456789abc", 20) == 0);
        stop(disk);
    }
    /* Each its own, whatever the order (hazard 45). */
    struct virtio_blk *disk = start(64, FEATURES);
    static struct block_request requests[8];
    for (uint32_t i = 0; i < 8; i++)
        requests[i] = make_request(BLOCK_READ, i, data, 512);
    submit(requests, 8);
    device_take();
    for (uint32_t left = 8; left > 0; left--) {
        struct virtio_blk_req_header *header = (void *)m.held[left / 2].chain.buffers[0].data;
        m.answer = header->sector % 3 == 0;
        device_complete(left / 2);
    }
    interrupt(disk);
    for (uint32_t i = 0; i < 8; i++)
        check_equal(requests[i].status, i % 3 == 0 ? BLOCK_FAILED : BLOCK_OK);
    check_equal(disk->queues[0].interrupts, 1);
    stop(disk);
}

/* One doorbell a batch, one interrupt for several completions, none while polling. */
static void test_batches(void)
{
    static uint8_t data[512];
    static struct block_request requests[40];
    struct virtio_blk *disk = start(64, FEATURES);
    for (uint32_t i = 0; i < 40; i++)
        requests[i] = make_request(BLOCK_READ, i, data, 512);
    submit(requests, 40);
    check_equal(m.notifies, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 40);
    uint64_t kicks, interrupts;
    block.config.ops->counts(&block, &kicks, &interrupts);
    check(kicks == 1 && interrupts == 1);

    block.config.ops->set_polling(&block, true);
    submit(requests, 1); /* the interrupt that had been asked for already may still come */
    device_do_all(disk);
    block.config.ops->poll(&block);
    check_equal(count_finished(BLOCK_OK), 1);
    interrupts = disk->queues[0].interrupts;
    for (unsigned i = 0; i < 3; i++) {
        submit(requests, 1);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 0);
        block.config.ops->poll(&block);
        check_equal(count_finished(BLOCK_OK), 1);
    }
    check_equal(disk->queues[0].interrupts, interrupts);
    submit(requests, 1);
    device_do_all(disk);
    block.config.ops->set_polling(&block, false); /* what came meanwhile is not lost (R5) */
    check_equal(count_finished(BLOCK_OK), 1);
    submit(requests, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);

    /* A lost interrupt, then a lost doorbell. */
    submit(requests, 1);
    device_take();
    device_complete(0);
    block.config.ops->late(&block);
    check_equal(count_finished(BLOCK_OK), 1);
    check(disk->queues[0].late_found == 1 && disk->queues[0].late_bells == 0);
    submit(requests, 1);
    m.fds[0].is_awake = false;
    uint32_t before = m.notifies;
    block.config.ops->late(&block);
    check_equal(m.notifies, before + 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    before = m.notifies;
    block.config.ops->late(&block); /* nothing in flight: nothing to do */
    check_equal(m.notifies, before);
    stop(disk);
}

static const struct virtqueue_ops *real_ops;
static unsigned races_left;

/* The device completes another one just before callbacks are on again. */
static bool enable_with_race(struct virtqueue *queue)
{
    if (races_left > 0) {
        races_left--;
        device_complete(0);
    }
    return real_ops->callbacks_enable(queue);
}

/* R5: what completes between the last look and the question is found without another interrupt. */
static void test_race(void)
{
    static uint8_t data[512];
    static struct block_request requests[4];
    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++) {
        struct virtio_blk *disk = start(64, has_event_idx ? FEATURES : FEATURES & ~BIT(VIRTIO_F_EVENT_IDX));
        struct virtqueue *ring = disk->queues[0].ring;
        struct virtqueue_ops ops = *ring->ops;
        real_ops = ring->ops;
        ops.callbacks_enable = enable_with_race;
        for (uint32_t i = 0; i < 4; i++)
            requests[i] = make_request(BLOCK_READ, i, data, 512);
        submit(requests, 4);
        device_take();
        device_complete(0);
        races_left = 3;
        ring->ops = &ops;
        interrupt(disk);
        ring->ops = real_ops;
        check_equal(count_finished(BLOCK_OK), 4);
        check_equal(disk->queues[0].interrupts, 1);
        stop(disk);
    }
}

/* ---- Reset ----------------------------------------------------------------------------------------------
 */

static uint8_t reset_data[512];
static struct block_request in_flight[8];

static void submit_eight(void)
{
    for (uint32_t i = 0; i < 8; i++)
        in_flight[i] = make_request(BLOCK_READ, i, reset_data, 512);
    submit(in_flight, 8);
}

static void check_order(uint64_t first, uint32_t count)
{
    check_equal(m.held_count, count);
    for (uint32_t i = 0; i < m.held_count; i++)
        check(((struct virtio_blk_req_header *)m.held[i].chain.buffers[0].data)->sector >= first + i);
}

static void test_reset(void)
{
    struct virtio_blk *disk = start(16, FEATURES & ~BIT(VIRTIO_F_INDIRECT_DESC) & ~BIT(VIRTIO_BLK_F_FLUSH));
    /* Ids in no order: the free list has been through something. */
    for (unsigned round = 0; round < 5; round++) {
        static struct block_request few[4];
        for (uint32_t i = 0; i < 4; i++)
            few[i] = make_request(BLOCK_READ, i, reset_data, 512);
        submit(few, 4);
        device_take();
        while (m.held_count > 0)
            device_complete(fd_random(m.held_count));
        interrupt(disk);
        check_equal(count_finished(BLOCK_OK), 4);
    }
    stop(disk);

    disk = start(64, FEATURES);
    submit_eight();
    device_take();
    device_complete(2); /* in the used ring, its interrupt not taken */
    m.reset_reads = 3;
    check_equal(block.config.ops->reset(&block), 0);
    check_equal(completed_before_reset_ended, 0); /* R6 */
    check(in_flight[2].status == BLOCK_OK && count_finished(BLOCK_OK) == 1);
    check(restarts == 1 && m.enabled == 1 && m.connects == 2);
    device_take();
    check_order(0, 7);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 7);

    submit_eight(); /* replayed three times, then not again */
    for (unsigned i = 0; i < 3; i++) {
        check_equal(block.config.ops->reset(&block), 0);
        check_equal(count_finished(BLOCK_OK), 0);
    }
    device_take();
    check_order(0, 8);
    check_equal(block.config.ops->reset(&block), 0);
    check_equal(count_finished(BLOCK_RETRY), 8);
    stop(disk);
}

/* While it is down nothing is taken; when it comes back, the layer is told. */
static void test_reset_refuses_meanwhile(void)
{
    struct virtio_blk *disk = start(64, FEATURES);
    struct block_request request = make_request(BLOCK_READ, 0, reset_data, 512);
    struct fifo batch;
    fifo_init(&batch);
    push(&batch, &request);
    disk->queues[0].state = VIRTIO_BLK_DOWN;
    block.config.ops->submit(&block, &batch);
    check(batch.head == &request.node && virtqueue_is_idle(disk->queues[0].ring));
    check(disk->queues[0].ring->config.interrupt(disk->queues[0].ring));
    check_equal(block.config.ops->reset(&block), 0);
    block.config.ops->submit(&block, &batch);
    check(fifo_is_empty(&batch));
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    stop(disk);
}

static void test_gone(void)
{
    struct virtio_blk *disk = start(64, FEATURES);
    submit_eight();
    m.resets_left = 0; /* it answers no more */
    check_equal(-block.config.ops->reset(&block), ETIMEDOUT);
    check(m.is_isolated);
    check_equal(count_finished(BLOCK_GONE), 8);
    submit_eight();
    check_equal(count_finished(BLOCK_GONE), 8);
    check_equal(-block.config.ops->reset(&block), ENODEV);
    m.reset_reads = 0;
    m.resets_left = -1;
    stop(disk);

    disk = start(64, FEATURES); /* it comes back without a feature in use */
    submit_eight();
    m.offered &= ~BIT(VIRTIO_F_INDIRECT_DESC);
    check_equal(-block.config.ops->reset(&block), EIO);
    check_equal(count_finished(BLOCK_GONE), 8);
    stop(disk);
}

/* A lie: reset and replay; again and again: an end. */
static void test_lies(void)
{
    struct virtio_blk *disk = start(64, FEATURES);
    submit_eight();
    device_take();
    fd_push(&m.fds[0], 63, 1);
    interrupt(disk);
    check_equal(count_finished(BLOCK_OK), 0);
    check_equal(disk->queues[0].state, VIRTIO_BLK_DOWN);
    run_works();
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 8);
    check_equal(disk->resets, 1);

    uint32_t rounds = 0, retried = 0, gone = 0;
    while (disk->queues[0].state == VIRTIO_BLK_UP && rounds++ < 100) {
        if (virtqueue_is_idle(disk->queues[0].ring))
            submit_eight();
        device_take();
        fd_push(&m.fds[0], 63, 1);
        interrupt(disk);
        run_works();
        struct fifo_node *node;
        while ((node = fifo_pop(&finished)) != NULL) {
            uint8_t status = container_of(node, struct block_request, node)->status;
            retried += status == BLOCK_RETRY;
            gone += status == BLOCK_GONE;
        }
    }
    check(rounds < 20 && retried > 0 && gone > 0 && disk->queues[0].state == VIRTIO_BLK_GONE);
    stop(disk);
}

static void test_config_change(void)
{
    struct virtio_blk *disk = start(64, FEATURES);
    m.device.driver->config_changed(&m.device);
    set_config(DISK_SECTORS * 2, 254, 512);
    m.generation++;
    run_works();
    check_equal(block.sectors, DISK_SECTORS * 2);
    check_equal(disk->resets, 0);
    submit_eight();
    m.status |= VIRTIO_STATUS_NEEDS_RESET;
    m.device.driver->config_changed(&m.device);
    run_works();
    check_equal(disk->resets, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 8);
    set_config(DISK_SECTORS / 2, 254, 512); /* during a reset, when a device does not tell */
    check_equal(block.config.ops->reset(&block), 0);
    run_works();
    check_equal(block.sectors, DISK_SECTORS / 2);
    stop(disk);
    m.device.driver_data = NULL;
    m.device.driver->config_changed(&m.device); /* after a failed probe */
}

/* ---- Several queues ------------------------------------------------------------------------------------
 */

static uint8_t many_data[512];
static struct block_request many[40];

/* `count` requests for different sectors, into `batch`. */
static void make_many(struct fifo *batch, uint32_t count)
{
    fifo_init(batch);
    for (uint32_t i = 0; i < count; i++) {
        many[i] = make_request(BLOCK_READ, i, many_data, 512);
        push(batch, &many[i]);
    }
}

static uint32_t held_of(uint32_t queue)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m.held_count; i++)
        count += m.held[i].queue == queue;
    return count;
}

/* A CPU keeps to its queue, with its doorbell and its interrupt. */
static void test_queue_of_cpu(void)
{
    struct virtio_blk *disk = start_queues(2, 64, FEATURES);
    for (uint32_t cpu = 0; cpu < 4; cpu++) { /* two of them share each */
        uint64_t before = disk->queues[cpu % 2].interrupts, others = disk->queues[1 - cpu % 2].interrupts;
        host_cpu_id = cpu;
        struct fifo batch;
        make_many(&batch, 3);
        block.config.ops->submit(&block, &batch);
        check(fifo_is_empty(&batch));
        device_take();
        check_equal(held_of(cpu % 2), 3);
        check_equal(m.held_count, 3);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 3);
        check_equal(disk->queues[cpu % 2].interrupts, before + 1);
        check_equal(disk->queues[1 - cpu % 2].interrupts, others);
    }
    uint64_t kicks, interrupts;
    block.config.ops->counts(&block, &kicks, &interrupts);
    check(kicks == 4 && interrupts == 4);
    stop(disk);
}

/* What is too much for one queue goes to the others; only when all are full something is left (R5). */
static void test_full_queue(void)
{
    struct virtio_blk *disk = start_queues(2, 8, FEATURES);
    struct fifo batch;
    make_many(&batch, 20);
    uint32_t bells = m.notifies;
    block.config.ops->submit(&block, &batch);
    check(batch.head == &many[16].node);
    check_equal(m.notifies, bells + 2);
    device_take();
    check(held_of(0) == 8 && held_of(1) == 8);
    for (uint32_t i = 0; i < m.held_count; i++) { /* one of queue 1 makes room for one, from CPU 0 too */
        if (m.held[i].queue == 1) {
            device_complete(i);
            break;
        }
    }
    interrupt(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    block.config.ops->submit(&block, &batch);
    check(batch.head == &many[17].node);
    for (unsigned rounds = 0; !block.config.ops->is_idle(&block) && rounds < 10; rounds++) {
        device_do_all(disk);
        block.config.ops->submit(&block, &batch);
    }
    check_equal(count_finished(BLOCK_OK), 19);
    stop(disk);
}

/* A lie on one queue resets the device; what was in flight on all of them is replayed, each queue's in order.
 */
static void test_lie_on_one_queue(void)
{
    for (uint32_t liar = 0; liar < 2; liar++) {
        struct virtio_blk *disk = start_queues(2, 64, FEATURES);
        struct fifo batch;
        make_many(&batch, 16);
        for (uint32_t i = 0; i < 16; i++) {
            struct fifo one;
            fifo_init(&one);
            fifo_push(&one, fifo_pop(&batch));
            host_cpu_id = i % 2;
            block.config.ops->submit(&block, &one);
        }
        device_take();
        device_complete(5);
        fd_push(&m.fds[liar], 63, 1);
        interrupt(disk);
        uint32_t done = count_finished(BLOCK_OK);
        check(disk->queues[liar].state == VIRTIO_BLK_DOWN && disk->queues[1 - liar].state == VIRTIO_BLK_UP);
        run_works();
        check_equal(disk->resets, 1);
        virtio_blk_foreach_queue (disk, queue)
            check_equal(queue->state, VIRTIO_BLK_UP);
        check(restarts == 1 && m.enabled == 2);
        done += count_finished(BLOCK_OK);
        device_take();
        check_equal(m.held_count + done, 16);
        check(done <= 1);
        uint64_t last[2] = {0, 0};
        for (uint32_t i = 0; i < m.held_count; i++) {
            uint64_t sector = ((struct virtio_blk_req_header *)m.held[i].chain.buffers[0].data)->sector;
            uint32_t queue = m.held[i].queue;
            check(sector % 2 == queue && (sector > last[queue] || sector < 2));
            last[queue] = sector;
        }
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 16 - done);
        stop(disk);
    }
}

/* While it is down no queue takes anything, and when it has gone each answers so. */
static void test_queues_down_and_gone(void)
{
    struct virtio_blk *disk = start_queues(2, 64, FEATURES);
    struct fifo batch;
    make_many(&batch, 2);
    mutex_lock(&disk->mutex);
    virtio_blk_set_state(disk, VIRTIO_BLK_DOWN);
    mutex_unlock(&disk->mutex);
    block.config.ops->submit(&block, &batch);
    check(batch.head == &many[0].node && block.config.ops->is_idle(&block));
    check_equal(block.config.ops->reset(&block), 0);
    block.config.ops->submit(&block, &batch);
    check(fifo_is_empty(&batch));
    host_cpu_id = 1;
    struct block_request more = make_request(BLOCK_READ, 9, many_data, 512);
    submit(&more, 1);
    m.resets_left = 0;
    check_equal(-block.config.ops->reset(&block), ETIMEDOUT);
    check_equal(count_finished(BLOCK_GONE), 3);
    submit(&more, 1);
    check_equal(count_finished(BLOCK_GONE), 1);
    m.reset_reads = 0;
    m.resets_left = -1;
    stop(disk);
}

/* The late look and polling see all queues. */
static void test_looks_at_all_queues(void)
{
    struct virtio_blk *disk = start_queues(2, 64, FEATURES);
    struct block_request request = make_request(BLOCK_READ, 9, many_data, 512);
    host_cpu_id = 1;
    submit(&request, 1);
    device_take();
    device_complete(0); /* its interrupt is lost */
    block.config.ops->late(&block);
    check_equal(count_finished(BLOCK_OK), 1);
    check(disk->queues[1].late_found == 1 && disk->queues[0].late_found == 0);
    submit(&request, 1);
    m.fds[1].is_awake = false; /* its doorbell is lost */
    block.config.ops->late(&block);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);

    block.config.ops->set_polling(&block, true);
    virtio_blk_foreach_queue (disk, queue)
        check(queue->is_polling);
    submit(&request, 1);
    device_take();
    device_complete(0);
    block.config.ops->poll(&block);
    check_equal(count_finished(BLOCK_OK), 1);
    block.config.ops->set_polling(&block, false);
    submit(&request, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    stop(disk);
}

/* ---- Rings of another size ----------------------------------------------------------------------------- */

static void use_ring(struct virtio_blk *disk)
{
    struct fifo batch;
    for (uint32_t round = 0; round < 20; round++) { /* more than once round the ring */
        host_cpu_id = round % disk->queue_count;
        make_many(&batch, ARRAY_SIZE(many));
        block.config.ops->submit(&block, &batch);
        check(fifo_is_empty(&batch));
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), ARRAY_SIZE(many));
    }
}

static void check_ring(struct virtio_blk *disk, uint32_t entries)
{
    struct block_ring_entries ring;
    block.config.ops->ring_entries(&block, &ring);
    check(ring.now == entries && ring.least == 66 && ring.most == 256);
    check_equal(block.config.limits.depth, entries * disk->queue_count);
    virtio_blk_foreach_queue (disk, queue) {
        check(queue->ring->size == entries && queue->state == VIRTIO_BLK_UP);
        check_equal(m.fds[queue - disk->queues].size, entries);
    }
    check_equal(m.enabled, disk->queue_count);
}

static int set_ring(uint32_t entries)
{
    return block.config.ops->set_ring_entries(&block, entries);
}

/* By resets of its queues, or of the device where these are not offered or fail; only while nothing is in
 * flight: neither would a device end what is (R6). */
static void resize_rings(uint32_t queues, uint64_t offered, int reset_error)
{
    static const uint32_t sizes[] = {128, 256, 256, 128};
    bool by_queue = offered >> VIRTIO_F_RING_RESET & 1 && !reset_error;
    struct virtio_blk *disk = start_queues(queues, 256, offered);
    use_ring(disk);
    m.queue_reset_error = reset_error;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        m.writes = 0;
        check_equal(-set_ring(sizes[i]), 0);
        check_equal(m.history[0] != 0, by_queue);
        run_works();
        check_ring(disk, sizes[i]);
        use_ring(disk);
    }
    check_equal(m.queue_resets, by_queue ? 4 * queues : reset_error ? 4 : 0);
    submit_eight();
    check_equal(-set_ring(256), EBUSY);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 8);
    check(set_ring(64) == -EINVAL && set_ring(512) == -EINVAL);
    check_ring(disk, 128);
    check_equal(block.config.ops->reset(&block), 0); /* keeps the size */
    use_ring(disk);
    check_ring(disk, 128);
    stop(disk);
}

static void test_resized_rings(void)
{
    for (uint32_t queues = 1; queues <= 2; queues++) {
        resize_rings(queues, FEATURES, 0);
        resize_rings(queues, FEATURES, -ETIMEDOUT);
        resize_rings(queues, FEATURES & ~BIT(VIRTIO_F_RING_RESET), 0);
    }
    struct virtio_blk *disk = start(256, FEATURES);
    m.queue_reset_error = -ETIMEDOUT;
    m.resets_left = 0;
    check_equal(-set_ring(128), ETIMEDOUT);
    submit_eight();
    check_equal(count_finished(BLOCK_GONE), 8);
    m.reset_reads = 0;
    m.resets_left = -1;
    stop(disk);
}

static int test_all(void)
{
    for (uint32_t i = 0; i < sizeof(disk_data); i++)
        disk_data[i] = (uint8_t)fd_random(256);
    test_traffic();
    test_statuses();
    test_batches();
    test_race();
    test_reset();
    test_reset_refuses_meanwhile();
    test_gone();
    test_lies();
    test_config_change();
    test_queue_of_cpu();
    test_full_queue();
    test_lie_on_one_queue();
    test_queues_down_and_gone();
    test_looks_at_all_queues();
    test_resized_rings();
    return check_finish();
}

#endif
