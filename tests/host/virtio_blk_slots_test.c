/* SPDX-License-Identifier: MIT */
/* A slot of the virtio disk is given back while another CPU waits for one: as soon as the ring's lock is
 * free, that CPU sends requests, which take the very slots whose requests are just being completed. */
#include "virtio_machine.h"

#define RING 4u

static uint8_t data[512];
static struct block_request completing[RING], next[RING];

/* The other CPU: sends what fits, once. */
static void send_at_unlock(struct spinlock *lock)
{
    struct virtio_blk *disk = block.config.driver;
    if (lock != &disk->queues[0].ring->lock || virtqueue_is_idle(disk->queues[0].ring) == false)
        return;
    host_unlocked = NULL;
    submit(next, RING);
}

static void make_requests(struct block_request *requests, uint64_t sector)
{
    for (uint32_t i = 0; i < RING; i++)
        requests[i] = make_request(BLOCK_READ, sector + i, data, 512);
}

/* Hazard 45: each status is the device's word about that request, and not what its slot held later. */
static void test_statuses_are_copied_in_time(void)
{
    for (uint32_t bad = 0; bad < 1u << RING; bad++) {
        struct virtio_blk *disk = start(RING, ALL_OF_QEMU);
        make_requests(completing, 0);
        make_requests(next, 8);
        submit(completing, RING);
        device_take();
        while (m.held_count > 0) {
            struct virtio_blk_req_header *header = (void *)m.held[0].chain.buffers[0].data;
            m.answer = bad >> header->sector & 1;
            device_complete(0);
        }
        host_unlocked = send_at_unlock;
        interrupt(disk);
        check(host_unlocked == NULL); /* the other CPU has had its turn */
        for (uint32_t i = 0; i < RING; i++)
            check_equal(completing[i].status, bad >> i & 1 ? BLOCK_FAILED : BLOCK_OK);
        fifo_init(&finished);
        m.answer = VIRTIO_BLK_S_OK;
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), RING);
        stop(disk);
    }
}

int main(void)
{
    test_statuses_are_copied_in_time();
    return check_finish();
}
