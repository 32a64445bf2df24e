/* SPDX-License-Identifier: MIT */
/* Wait queues. A waiter lies on its thread's stack; it is linked exactly while its thread may be picked by a
 * wake. A wake unlinks before it wakes, so two wakes pick two waiters (no herd is left asleep because both
 * wakes went to one).
 *
 * Lock: the queue's, safe in interrupts; order: wait_queue -> run_queue. wait_finish takes it even where the
 * waiter is already unlinked, since the waker may still be at the waiter's last word. */
#include <kernel/wait.h>

void wait_queue_init(struct wait_queue *queue)
{
    spinlock_init(&queue->lock, "wait_queue");
    list_init(&queue->waiters);
}

void wait_prepare(struct wait_queue *queue, struct waiter *waiter, const char *why)
{
    lockdep_might_sleep(why);
    uint64_t flags = spin_lock_irq(&queue->lock);
    if (!waiter->thread) {
        waiter->thread = thread_current();
        list_init(&waiter->node);
    }
    assert(waiter->thread == thread_current());
    if (list_is_empty(&waiter->node))
        list_push_back(&queue->waiters, &waiter->node);
    spin_unlock_irq(&queue->lock, flags);
    thread_prepare_sleep(why, queue);
}

bool wait_finish(struct wait_queue *queue, struct waiter *waiter)
{
    thread_cancel_sleep();
    SPIN_SCOPED_IRQ(&queue->lock);
    bool was_picked = list_is_empty(&waiter->node);
    list_remove(&waiter->node);
    return was_picked;
}

unsigned wait_wake(struct wait_queue *queue, unsigned count)
{
    unsigned woken = 0;
    SPIN_SCOPED_IRQ(&queue->lock);
    for (struct list *node; woken < count && (node = list_pop_front(&queue->waiters)) != NULL; woken++)
        thread_wake(list_entry(node, struct waiter, node)->thread);
    return woken;
}
