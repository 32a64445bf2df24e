/* SPDX-License-Identifier: MIT */
/* mode=raw: the bare ring, for comparison. One thread, no block layer, no requests: it fills the ring up to
 * the depth in batches, sleeps until the interrupt says that something is done, takes all of it, and sends as
 * many again. This is the floor of the design that the real path is measured against.
 *
 * Queue 0 is RAW meanwhile and the others, should there be any, are DOWN: submits stay with the block layer,
 * the interrupt only wakes the thread. Thread context; disk->mutex for the whole run, so that no reset falls
 * into it. */
#include <arch/clock.h>
#include <kernel/completion.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/random.h>

#include "virtio_blk_internal.h"

#define RAW_LATE_NS (1 * NSEC_PER_SEC)

/* One of `depth` buffers; its address is the token of its chain. */
struct raw_buffer {
    uint64_t dma;
    struct raw_buffer *next_free;
};

/* Lock legend: t the running thread only; q the ring's lock. */
struct virtio_blk_raw {
    struct block_raw_job *job;  /* t */
    struct raw_buffer *buffers; /* t */
    struct raw_buffer *free;    /* t */
    struct random random;       /* t */
    uint64_t left, in_flight;   /* t: to be sent, sent */
    uint64_t next_sector;       /* t */
    uint32_t block_sectors;     /* t */
    uint64_t blocks;            /* t: in the range */
    uint64_t late_sleeps;       /* t: in a row */
    bool is_waiting;            /* q: the interrupt must signal */
    struct completion event;
};

void virtio_blk_raw_interrupt(struct virtio_blk_queue *queue)
{
    struct virtio_blk_raw *raw = queue->raw;
    virtqueue_callbacks_disable(queue->ring);
    if (raw->is_waiting) {
        raw->is_waiting = false;
        complete(&raw->event);
    }
}

static uint64_t choose_sector(struct virtio_blk_raw *raw)
{
    const struct block_raw_job *job = raw->job;
    if (job->is_random)
        return job->sector_first + random_below(&raw->random, raw->blocks) * raw->block_sectors;
    uint64_t sector = raw->next_sector;
    raw->next_sector += raw->block_sectors;
    if (raw->next_sector + raw->block_sectors > job->sector_first + job->sectors)
        raw->next_sector = job->sector_first;
    return sector;
}

/* Sends up to a batch; true when there may be more to send. */
static bool send_batch(struct virtio_blk_queue *queue, struct virtio_blk_raw *raw)
{
    const struct block_raw_job *job = raw->job;
    const struct virtio_blk_place place = virtio_blk_place_of(queue);
    struct virtqueue *ring = queue->ring;
    uint64_t limit = MIN((uint64_t)job->batch, raw->left), sent = 0;
    uint64_t flags = spin_lock_irq(&ring->lock);
    for (; sent < limit && raw->free && ring->free_count > 0; sent++) {
        struct raw_buffer *buffer = raw->free;
        if (virtio_blk_send_plain(ring, place, (uint8_t)job->operation, choose_sector(raw), buffer->dma,
                                  job->block_bytes, buffer) != 0)
            break;
        raw->free = buffer->next_free;
    }
    raw->left -= sent;
    raw->in_flight += sent;
    bool must_notify = virtqueue_kick_prepare(ring);
    spin_unlock_irq(&ring->lock, flags);
    if (must_notify)
        virtqueue_notify(ring);
    return sent == job->batch;
}

/* Takes all that is done; nothing: asks for the interrupt. True when the thread must sleep. */
static bool take_done(struct virtio_blk_queue *queue, struct virtio_blk_raw *raw)
{
    struct virtqueue *ring = queue->ring;
    struct virtqueue_used used;
    uint64_t done = 0, errors = 0, flags = spin_lock_irq(&ring->lock);
    for (; (used = virtqueue_get(ring)).token != NULL; done++) {
        struct raw_buffer *buffer = used.token;
        errors += read_once(queue->slots[used.id].status) != VIRTIO_BLK_S_OK;
        buffer->next_free = raw->free;
        raw->free = buffer;
    }
    raw->in_flight -= done;
    raw->job->errors += errors;
    raw->late_sleeps = done > 0 ? 0 : raw->late_sleeps;
    bool must_sleep = done == 0 && !ring->is_broken && !read_once(queue->disk->is_leaving);
    if (must_sleep) {
        completion_init(&raw->event);
        raw->is_waiting = !virtqueue_callbacks_enable(ring); /* R5 */
        must_sleep = raw->is_waiting;
    }
    spin_unlock_irq(&ring->lock, flags);
    return must_sleep;
}

/* Until the interrupt; a doorbell or interrupt that got lost is made good, as the watchdog would. */
static void sleep_until_interrupt(struct virtio_blk_queue *queue, struct virtio_blk_raw *raw)
{
    if (completion_wait_until(&raw->event, clock_ns() + RAW_LATE_NS) == 0)
        return;
    uint64_t flags = spin_lock_irq(&queue->ring->lock);
    bool was_signalled = !raw->is_waiting;
    raw->is_waiting = false;
    spin_unlock_irq(&queue->ring->lock, flags);
    if (was_signalled)
        completion_wait(&raw->event); /* complete() has been called or is about to return */
    raw->late_sleeps += !was_signalled;
    virtqueue_notify(queue->ring);
}

/* Also after a look in vain. */
static bool has_timed_out(const struct virtio_blk_queue *queue, const struct virtio_blk_raw *raw)
{
    uint64_t timeout_ns = block_device_timeout(queue->disk->block);
    return timeout_ns > 0 && raw->late_sleeps * RAW_LATE_NS >= timeout_ns;
}

static int run(struct virtio_blk_queue *queue, struct virtio_blk_raw *raw)
{
    while (raw->left > 0 || raw->in_flight > 0) {
        while (send_batch(queue, raw))
            ;
        if (take_done(queue, raw)) {
            if (has_timed_out(queue, raw))
                return -ETIMEDOUT;
            sleep_until_interrupt(queue, raw);
        }
        if (read_once(queue->disk->is_leaving))
            return -ENODEV;
        if (queue->ring->is_broken)
            return -EIO;
    }
    return 0;
}

static bool prepare(struct virtio_blk_raw *raw, struct block_raw_job *job)
{
    raw->job = job;
    raw->left = job->ios;
    raw->next_sector = job->sector_first;
    raw->block_sectors = job->block_bytes / BLOCK_SECTOR_BYTES;
    raw->blocks = job->sectors / raw->block_sectors;
    random_init(&raw->random, job->seed);
    raw->buffers = heap_alloc_zeroed(job->depth * sizeof(*raw->buffers));
    if (!raw->buffers)
        return false;
    for (uint32_t i = job->depth; i-- > 0;) {
        raw->buffers[i].dma = dma_address((uint8_t *)job->data + (uint64_t)i * job->block_bytes);
        raw->buffers[i].next_free = raw->free;
        raw->free = &raw->buffers[i];
    }
    return true;
}

static void ignore(struct virtio_blk_queue *queue, void *token)
{
    (void)queue, (void)token;
}

/* Queue 0 RAW, the others DOWN; all of them or none. */
static int enter(struct virtio_blk *disk, struct virtio_blk_raw *raw)
{
    int error = virtio_blk_pause(disk);
    if (error)
        return error;
    SPIN_SCOPED_IRQ(&disk->queues[0].ring->lock);
    disk->queues[0].state = VIRTIO_BLK_RAW;
    disk->queues[0].raw = raw;
    return 0;
}

/* Back to normal, after a failure with the device started anew. */
static void leave(struct virtio_blk *disk, int error)
{
    if (error) {
        virtio_blk_set_state(disk, VIRTIO_BLK_DOWN);
        disk->resets++;
        if (virtio_blk_restart(disk, NULL, ignore) != 0) {
            virtio_blk_set_state(disk, VIRTIO_BLK_GONE);
            return;
        }
        virtio_blk_ready(disk);
    }
    virtio_blk_unpause(disk);
}

static bool is_valid(const struct virtio_blk_queue *queue, const struct block_raw_job *job)
{
    return !queue->bounce && job->depth > 0 && job->batch > 0 && job->block_bytes >= BLOCK_SECTOR_BYTES &&
           job->sectors * BLOCK_SECTOR_BYTES >= job->block_bytes &&
           (job->operation == BLOCK_READ || job->operation == BLOCK_WRITE);
}

static int run_in_window(struct virtio_blk_queue *queue, struct virtio_blk_raw *raw)
{
    struct block_raw_job *job = raw->job;
    uint64_t kicks = queue->ring->kicks, interrupts = queue->interrupts;
    job->window_start();
    int error = run(queue, raw);
    job->window_end();
    job->kicks = queue->ring->kicks - kicks;
    job->interrupts = queue->interrupts - interrupts;
    job->done = job->ios - raw->left - raw->in_flight;
    return error;
}

int virtio_blk_raw(struct block_device *device, struct block_raw_job *job)
{
    struct virtio_blk *disk = block_device_driver(device);
    struct virtio_blk_queue *queue = disk->queues;
    struct virtio_blk_raw *raw = is_valid(queue, job) ? heap_alloc_zeroed(sizeof(*raw)) : NULL;
    if (!raw)
        return is_valid(queue, job) ? -ENOMEM : -EINVAL;
    int error = prepare(raw, job) ? 0 : -ENOMEM;
    mutex_lock(&disk->mutex);
    if (error == 0)
        error = enter(disk, raw);
    if (error == 0) {
        error = run_in_window(queue, raw);
        leave(disk, error);
    }
    mutex_unlock(&disk->mutex);
    block_restart(device);
    heap_free(raw->buffers);
    heap_free(raw);
    return error;
}
