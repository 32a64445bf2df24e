/* SPDX-License-Identifier: MIT */
/* Reset and replay. Wanted by a person (`reset DEV`), by the device (NEEDS_RESET) or by a ring that was lied
 * to; or by the watchdog, for a request that does not come back.
 *
 *     DOWN            all queues: submits leave their requests with the block layer, interrupts are ignored
 *     status 0        from here on the device touches no memory (R6)
 *     detach          what was in flight comes back, and is put into the order of submission, queue by queue
 *     steps 2 to 6    the same features, queues and vectors
 *     replay          to the queue that had it, in order; what was replayed too often completes with RETRY
 *     UP              block_restart: the layer sends what it kept
 *
 * A device that does not come back, that was reset again and again without completing anything, or that is
 * unplugged, is GONE: all requests, now and later, complete with that. Thread context; disk->mutex, then the
 * ring's lock. */
#include <kernel/log.h>

#include "virtio_blk_internal.h"

#define REPLAYS_MAX        3u
#define RESETS_IN_VAIN_MAX 8u

static struct virtio_blk_tag *tag_of(struct fifo_node *node)
{
    return (struct virtio_blk_tag *)container_of(node, struct block_request, node)->driver;
}

/* Inserts by order of submission, which wraps: so by the sign of the difference. */
static void insert_in_order(struct fifo *list, struct fifo_node *node)
{
    struct fifo_node **at = &list->head;
    while (*at && (int32_t)(tag_of(*at)->order - tag_of(node)->order) < 0)
        at = &(*at)->next;
    node->next = *at;
    *at = node;
    if (!node->next)
        list->tail = &node->next;
}

static void collect(struct virtio_blk_queue *queue, void *token)
{
    insert_in_order(&queue->replays, &((struct block_request *)token)->node);
}

static void set_state(struct virtio_blk_queue *queue, enum virtio_blk_state state)
{
    SPIN_SCOPED_IRQ(&queue->ring->lock);
    assert(queue->state != VIRTIO_BLK_GONE);
    queue->state = state;
}

void virtio_blk_set_state(struct virtio_blk *disk, enum virtio_blk_state state)
{
    assert(mutex_is_held(&disk->mutex));
    virtio_blk_foreach_queue (disk, queue)
        set_state(queue, state);
}

/* What was in flight; what the device had completed before only if it has really stopped. */
static void empty(struct virtio_blk_queue *queue, struct fifo *done,
                  void (*detached)(struct virtio_blk_queue *queue, void *token))
{
    struct virtqueue *ring = queue->ring;
    void *token;
    SPIN_SCOPED_IRQ(&ring->lock);
    if (done)
        virtio_blk_drain(queue, done);
    while ((token = virtqueue_detach(ring)) != NULL)
        detached(queue, token);
    assert(virtqueue_is_idle(ring)); /* R2 */
}

int virtio_blk_restart(struct virtio_blk *disk, struct fifo *done,
                       void (*detached)(struct virtio_blk_queue *queue, void *token))
{
    assert(mutex_is_held(&disk->mutex));
    int error = virtio_device_stop(disk->device);
    virtio_blk_foreach_queue (disk, queue)
        empty(queue, error ? NULL : done, detached);
    return error ? error : virtio_device_resume(disk->device);
}

/* Not sent again. */
static void give_back(struct virtio_blk *disk, struct fifo *done, struct fifo_node *node, uint8_t status)
{
    disk->given_up++;
    container_of(node, struct block_request, node)->status = status;
    fifo_push(done, node);
}

/* Sends a queue's requests again and opens it for new ones behind them. */
static void replay(struct virtio_blk_queue *queue, struct fifo *done)
{
    struct fifo_node *node;
    uint64_t flags = spin_lock_irq(&queue->ring->lock);
    while ((node = fifo_pop(&queue->replays)) != NULL) {
        /* It fitted before; were it otherwise, it would fail here and not get lost. */
        if (++tag_of(node)->replays > REPLAYS_MAX ||
            virtio_blk_send(queue, container_of(node, struct block_request, node)) != 0)
            give_back(queue->disk, done, node, BLOCK_RETRY);
        else
            queue->disk->replays++;
    }
    queue->state = VIRTIO_BLK_UP;
    bool must_notify = virtqueue_kick_prepare(queue->ring);
    spin_unlock_irq(&queue->ring->lock, flags);
    if (must_notify)
        virtqueue_notify(queue->ring);
}

/* Too many resets in a row that brought nothing. */
static bool is_hopeless(struct virtio_blk *disk)
{
    uint64_t gotten = 0;
    virtio_blk_foreach_queue (disk, queue)
        gotten += queue->ring->gotten;
    disk->resets_in_vain = gotten == disk->gotten_at_reset ? disk->resets_in_vain + 1 : 0;
    disk->gotten_at_reset = gotten;
    return disk->resets_in_vain > RESETS_IN_VAIN_MAX;
}

static void set_gone(struct virtio_blk *disk, struct fifo *done)
{
    struct fifo_node *node;
    virtio_blk_set_state(disk, VIRTIO_BLK_GONE);
    virtio_blk_foreach_queue (disk, queue) {
        while ((node = fifo_pop(&queue->replays)) != NULL)
            give_back(disk, done, node, BLOCK_GONE);
    }
}

static int reset_locked(struct virtio_blk *disk, struct fifo *done, bool was_asked_for)
{
    if (disk->queues[0].state == VIRTIO_BLK_GONE) /* all are, or none */
        return -ENODEV;
    virtio_blk_set_state(disk, VIRTIO_BLK_DOWN);
    disk->resets++;
    bool is_last = is_hopeless(disk) && !was_asked_for;
    int error = virtio_blk_restart(disk, done, collect);
    if (error || is_last) {
        log_error(block_device_name(disk->block), "given up: %s",
                  error ? "it cannot be started again" : "resets do not help");
        set_gone(disk, done);
        return error ? error : -EIO;
    }
    virtio_blk_ready(disk);
    virtio_blk_foreach_queue (disk, queue)
        replay(queue, done);
    return 0;
}

static int reset(struct virtio_blk *disk, bool was_asked_for)
{
    struct fifo done;
    fifo_init(&done);
    mutex_lock(&disk->mutex);
    int error = reset_locked(disk, &done, was_asked_for);
    mutex_unlock(&disk->mutex);
    if (!fifo_is_empty(&done))
        block_complete(disk->block, &done);
    block_restart(disk->block);
    return error;
}

int virtio_blk_reset(struct block_device *device)
{
    return reset(block_device_driver(device), true);
}

static void shut_down_locked(struct virtio_blk *disk, struct fifo *done)
{
    if (disk->queues[0].state == VIRTIO_BLK_GONE)
        return;
    virtio_blk_set_state(disk, VIRTIO_BLK_DOWN);
    int error = virtio_device_stop(disk->device);
    virtio_blk_foreach_queue (disk, queue)
        empty(queue, error ? NULL : done, collect);
    set_gone(disk, done);
}

/* A raw run has the mutex for as long as it lasts. */
static void end_raw(struct virtio_blk *disk)
{
    SPIN_SCOPED_IRQ(&disk->queues[0].ring->lock);
    write_once(disk->is_leaving, true);
    if (disk->queues[0].state == VIRTIO_BLK_RAW)
        virtio_blk_raw_interrupt(&disk->queues[0]);
}

void virtio_blk_shut_down(struct virtio_blk *disk)
{
    struct fifo done;
    fifo_init(&done);
    end_raw(disk);
    mutex_lock(&disk->mutex);
    shut_down_locked(disk, &done);
    mutex_unlock(&disk->mutex);
    if (!fifo_is_empty(&done))
        block_complete(disk->block, &done);
    block_restart(disk->block);
}

static const char *why_reset(const struct virtio_blk *disk, bool has_timed_out)
{
    virtio_blk_foreach_queue (disk, queue) {
        if (queue->ring->is_broken)
            return queue->ring->broken_why;
    }
    return has_timed_out ? "a request timed out" : "the device needs it";
}

void virtio_blk_reset_work(struct work *work)
{
    struct virtio_blk *disk = container_of(work, struct virtio_blk, reset_work);
    if (!__atomic_load_n(&disk->block, __ATOMIC_ACQUIRE))
        return; /* lied to before it was registered, which looks again */
    if (read_once(disk->is_leaving))
        return; /* nothing is in flight that this would help */
    const char *name = block_device_name(disk->block);
    bool has_timed_out = __atomic_exchange_n(&disk->has_timed_out, false, __ATOMIC_RELAXED);
    uint64_t replays = disk->replays, given_up = disk->given_up;
    log_warning(name, "reset: %s", why_reset(disk, has_timed_out));
    if (reset(disk, false) == 0)
        log_warning(name, "works again: %llu requests sent again, %llu given up",
                    (unsigned long long)(disk->replays - replays),
                    (unsigned long long)(disk->given_up - given_up));
}

static bool take(struct virtio_blk_queue *queue)
{
    SPIN_SCOPED_IRQ(&queue->ring->lock);
    if (queue->state != VIRTIO_BLK_UP || !virtqueue_is_idle(queue->ring))
        return false;
    queue->state = VIRTIO_BLK_DOWN;
    return true;
}

/* With callbacks on. The ring is empty: more could only be a lie, which get finds. */
static void open_again(struct virtio_blk_queue *queue)
{
    SPIN_SCOPED_IRQ(&queue->ring->lock);
    queue->state = VIRTIO_BLK_UP;
    queue->raw = NULL;
    if (virtqueue_callbacks_enable(queue->ring))
        (void)virtqueue_get(queue->ring);
}

int virtio_blk_pause(struct virtio_blk *disk)
{
    uint32_t taken = 0;
    assert(mutex_is_held(&disk->mutex));
    while (taken < disk->queue_count && take(&disk->queues[taken]))
        taken++;
    if (taken == disk->queue_count)
        return 0;
    while (taken > 0)
        open_again(&disk->queues[--taken]);
    return -EBUSY;
}

void virtio_blk_unpause(struct virtio_blk *disk)
{
    assert(mutex_is_held(&disk->mutex));
    virtio_blk_foreach_queue (disk, queue)
        open_again(queue);
}

static bool is_up(struct virtio_blk_queue *queue)
{
    SPIN_SCOPED_IRQ(&queue->ring->lock);
    return queue->state == VIRTIO_BLK_UP;
}

bool virtio_blk_is_up(struct virtio_blk *disk)
{
    virtio_blk_foreach_queue (disk, queue) {
        if (!is_up(queue))
            return false;
    }
    return true;
}

/* A reset that is under way will do. */
void virtio_blk_timed_out(struct block_device *device)
{
    struct virtio_blk *disk = block_device_driver(device);
    if (!virtio_blk_is_up(disk))
        return;
    __atomic_store_n(&disk->has_timed_out, true, __ATOMIC_RELAXED);
    work_queue(&disk->reset_work);
}

void virtio_blk_broken(struct virtqueue *ring)
{
    struct virtio_blk_queue *queue = ring->config.context;
    if (queue->state == VIRTIO_BLK_UP) {
        queue->state = VIRTIO_BLK_DOWN;
        work_queue(&queue->disk->reset_work);
    }
    if (queue->state == VIRTIO_BLK_RAW)
        virtio_blk_raw_interrupt(queue); /* its thread looks, and resets */
}
