/* SPDX-License-Identifier: MIT */
/* One thread, "work", that makes the calls in the order in which they were queued. More urgent than normal
 * threads, since what is queued comes from interrupts and timers.
 *
 * Lock: "work", a leaf but for the wake-up; order: work -> nothing (the worker is woken after it). */
#include <kernel/completion.h>
#include <kernel/panic.h>
#include <kernel/work.h>
#include <kernel/wait.h>

static struct spinlock work_lock = SPINLOCK_INIT("work");
static struct fifo queued = FIFO_INIT(queued); /* work_lock */
static struct thread *worker;                  /* constant after work_init */

static struct work *take_first(void)
{
    SPIN_SCOPED_IRQ(&work_lock);
    struct fifo_node *node = fifo_pop(&queued);
    return node ? container_of(node, struct work, node) : NULL;
}

static struct work *wait_for_first(void)
{
    struct work *work;
    for (;;) {
        thread_prepare_sleep("work", &queued);
        if ((work = take_first()) != NULL)
            break;
        sched_sleep();
    }
    thread_cancel_sleep();
    return work;
}

static void worker_entry(void *argument)
{
    for (;;) {
        struct work *work = wait_for_first();
        __atomic_store_n(&work->is_queued, 0, __ATOMIC_RELEASE); /* from here on it may be queued again */
        work->run(work);
        debug_assert(preempt_is_enabled() && interrupts_are_enabled());
    }
}

void work_init(void)
{
    struct thread_config config = {.name = "work", .entry = worker_entry, .priority = PRIORITY_HIGH};
    assert(!worker);
    if (thread_create(&config, &worker) != 0)
        panic("no memory for the work thread");
}

bool work_queue(struct work *work)
{
    assert(work->run);
    if (__atomic_exchange_n(&work->is_queued, 1, __ATOMIC_ACQ_REL) != 0)
        return false;
    uint64_t flags = spin_lock_irq(&work_lock);
    fifo_push(&queued, &work->node);
    spin_unlock_irq(&work_lock, flags);
    if (likely(read_once(worker) != NULL)) /* else it will look once it runs */
        thread_wake(worker);
    return true;
}

struct flush {
    struct work work;
    struct completion done;
};

static void flush_run(struct work *work)
{
    complete(&container_of(work, struct flush, work)->done);
}

void work_flush(void)
{
    struct flush flush = {.work.run = flush_run};
    assert(thread_current() != worker);
    completion_init(&flush.done);
    work_queue(&flush.work);
    completion_wait(&flush.done);
}
