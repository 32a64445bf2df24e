/* SPDX-License-Identifier: MIT */
/* Who becomes runnable, and on which CPU: thread_wake, wake batches, placement, stealing, affinity, priority.
 *
 * A thread's `cpu` names the run queue whose lock guards it. Whoever moves a thread takes it off one queue,
 * unlocks, and places it under the other's lock; in between it is RUNNABLE and on no queue, so everyone else
 * leaves it alone.
 *
 * Placement: a thread goes back to the CPU that it last ran on, where its memory is warm, unless another one
 * is halted and its own is busy with something at least as urgent. Threads woken in a batch (by I/O) always
 * go back: to spread a batch over CPUs costs more in IPIs than the threads will run. A CPU that runs out of
 * work steals, but not those.
 *
 * A CPU is told of a new thread only where that changes what it does: the thread is more urgent than the
 * running one, or as urgent while no slice end is armed. */
#include <arch/smp.h>
#include <kernel/base/error.h>
#include <kernel/trace.h>

#include "sched_internal.h"

/* The queue that guards `thread`, locked. Interrupts off. */
static struct run_queue *lock_queue_of(struct thread *thread)
{
    for (;;) {
        struct run_queue *queue = &run_queues[read_once(thread->cpu)];
        keep_pointer(queue);
        run_queue_lock(queue);
        if (likely(thread->cpu == queue->cpu))
            return queue;
        run_queue_unlock(queue);
    }
}

/* The same, once nobody is moving the thread: then its place fits what the caller changes. A move takes a few
 * instructions of another CPU with interrupts off. */
static struct run_queue *lock_settled(struct thread *thread)
{
    for (;;) {
        struct run_queue *queue = lock_queue_of(thread);
        if (likely(thread->state != THREAD_RUNNABLE || is_queued(thread)))
            return queue;
        run_queue_unlock(queue);
        cpu_relax();
    }
}

/* True when the queue's CPU must look at it again. */
static always_inline bool must_tell(const struct run_queue *queue)
{
    unsigned running = queue->current->priority; /* 0 for the idle thread, and bit 0 is never set */
    uint32_t urgent = queue->bitmap >> running;  /* bit 0: as urgent */
    return urgent > 1 || (urgent == 1 && !queue->is_slice_armed);
}

static void tell(uint32_t cpu)
{
    if (cpu == cpu_id())
        want_reschedule();
    else
        smp_send_reschedule(cpu);
}

/* The CPU halts although its resting thread was woken (S3). This CPU would have seen it already. */
static always_inline bool must_end_rest(const struct run_queue *queue)
{
    return queue->resting && queue->resting->state != THREAD_BLOCKED && queue->cpu != cpu_id();
}

/* Interrupts go out with the lock free: whoever gets one wants it first of all. */
static void unlock_and_tell(struct run_queue *queue)
{
    bool must = must_tell(queue), must_interrupt = must_end_rest(queue);
    run_queue_unlock(queue);
    if (must)
        tell(queue->cpu);
    else if (must_interrupt)
        smp_send_reschedule(queue->cpu);
}

static bool is_idle_now(const struct run_queue *queue)
{
    return read_once(queue->is_online) && read_once(queue->current) == queue->idle &&
           read_once(queue->waiting) == 0;
}

/* A guess, made without locks. */
static uint32_t choose_cpu(const struct thread *thread)
{
    uint32_t home = read_once(thread->cpu), best = UINT32_MAX, least = UINT32_MAX;
    const struct run_queue *queue = &run_queues[home];
    if (queue->is_online && thread_may_run_on(thread, home) &&
        (is_idle_now(queue) || read_once(queue->current)->priority < thread->priority))
        return home;
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        queue = &run_queues[cpu];
        if (!read_once(queue->is_online) || !thread_may_run_on(thread, cpu))
            continue;
        uint32_t load = is_idle_now(queue) ? 0 : read_once(queue->waiting) + 1;
        if (load < least || (load == least && cpu == home)) {
            least = load;
            best = cpu;
        }
    }
    assert(best != UINT32_MAX); /* thread_set_affinity and thread_create see to it */
    return best;
}

void sched_place(struct thread *thread)
{
    debug_assert(!interrupts_are_enabled() && !is_queued(thread));
    assert(read_once(thread->state) == THREAD_RUNNABLE);
    uint32_t cpu = choose_cpu(thread);
    struct run_queue *queue = &run_queues[cpu];
    run_queue_lock(queue);
    if (thread->cpu != cpu) {
        write_once(thread->cpu, cpu);
        __atomic_fetch_add(&queue->migrations, 1, __ATOMIC_RELAXED);
    }
    enqueue(queue, thread, false);
    unlock_and_tell(queue);
}

/* BLOCKED becomes RUNNING (S1: it is about to sleep, and will not; S3: it rests) or RUNNABLE. True: on no
 * queue yet. */
static always_inline bool end_sleep(struct run_queue *queue, struct thread *thread, bool is_io)
{
    trace(TRACE_WAKE, (uint64_t)thread, queue->cpu);
    thread->was_woken_by_io = is_io;
    if (unlikely(thread == queue->current || thread == queue->resting)) {
        write_once(thread->state, THREAD_RUNNING);
        return false;
    }
    write_once(thread->state, THREAD_RUNNABLE);
    return true;
}

/* True when going home is as good as anywhere, so that one lock does. */
static always_inline bool stays_home(const struct run_queue *queue, const struct thread *thread)
{
    return thread_may_run_on(thread, queue->cpu) &&
           (cpu_count() == 1 || is_idle_now(queue) || queue->current->priority < thread->priority);
}

static bool wake_now(struct thread *thread)
{
    struct run_queue *queue = lock_queue_of(thread);
    bool was_blocked = thread->state == THREAD_BLOCKED;
    if (!was_blocked || !end_sleep(queue, thread, false)) {
        unlock_and_tell(queue);
    } else if (stays_home(queue, thread)) {
        enqueue(queue, thread, false);
        unlock_and_tell(queue);
    } else {
        run_queue_unlock(queue);
        sched_place(thread);
    }
    return was_blocked;
}

/* A thread that already is in a batch, here or elsewhere, will be woken at the end of that: its flag is
 * cleared, with a full barrier, before its state is looked at. So it must be listed whatever its state is
 * now: a second waker may already count on it. */
static always_inline void collect(struct run_queue *local, struct thread *thread)
{
    if (__atomic_exchange_n(&thread->is_in_wake_batch, 1, __ATOMIC_SEQ_CST) == 0)
        fifo_push(&local->wakes, &thread->wake_node);
}

static noinline bool wake_at_once(struct thread *thread, uint64_t flags)
{
    bool was_blocked = wake_now(thread);
    if (interrupts_were_enabled(flags)) {
        interrupts_enable();
        if (unlikely(cpu_read(preempt_count) == 0))
            sched_preempt();
    }
    return was_blocked;
}

bool thread_wake(struct thread *thread)
{
    uint64_t flags = interrupts_save();
    struct run_queue *local = this_run_queue();
    if (local->wake_batch_depth == 0)
        return wake_at_once(thread, flags);
    /* S3: only this CPU could run it, and that is in this interrupt. The batch's way would do too, and
     * traces. */
    if (thread == local->resting && likely(!trace_is_on)) {
        thread->was_woken_by_io = true;
        write_once(thread->state, THREAD_RUNNING);
        interrupts_restore(flags);
        return true;
    }
    bool was_blocked = read_once(thread->state) == THREAD_BLOCKED;
    collect(local, thread);
    interrupts_restore(flags);
    return was_blocked;
}

/* Wakes one thread of the batch, whose own queue may be locked already; returns the queue that is locked
 * afterwards. */
static always_inline struct run_queue *wake_collected(struct run_queue *queue, struct thread *thread)
{
    __atomic_exchange_n(&thread->is_in_wake_batch, 0, __ATOMIC_SEQ_CST);
    if (unlikely(read_once(thread->cpu) != queue->cpu)) {
        unlock_and_tell(queue);
        queue = lock_queue_of(thread);
    }
    if (unlikely(thread->state != THREAD_BLOCKED) || unlikely(!end_sleep(queue, thread, true)))
        return queue;
    if (likely(thread_may_run_on(thread, queue->cpu))) {
        enqueue(queue, thread, false);
        return queue;
    }
    unlock_and_tell(queue);
    sched_place(thread);
    return lock_queue_of(thread); /* any will do */
}

/* The locked queue changes only where two threads in a row belong to different CPUs, or where one must move.
 */
void sched_wake_collected(struct run_queue *local)
{
    struct fifo_node *node = local->wakes.head;
    debug_assert(node && !interrupts_are_enabled() && local == this_run_queue());
    fifo_init(&local->wakes);
    struct run_queue *queue = lock_queue_of(container_of(node, struct thread, wake_node));
    while (node) {
        struct thread *thread = container_of(node, struct thread, wake_node);
        node = node->next; /* before others may list it again */
        queue = wake_collected(queue, thread);
    }
    unlock_and_tell(queue);
}

void sched_wake_batch_begin(void)
{
    uint64_t flags = interrupts_save();
    debug_assert(!interrupts_were_enabled(flags) || !preempt_is_enabled());
    wake_batch_begin(this_run_queue());
    interrupts_restore(flags);
}

void sched_wake_batch_end(void)
{
    uint64_t flags = interrupts_save();
    wake_batch_end(this_run_queue());
    interrupts_restore(flags);
}

struct thread *sched_find_movable(const struct run_queue *queue, uint32_t cpu)
{
    assert_spin_locked(&queue->lock);
    for (uint32_t left = queue->bitmap; left != 0;) {
        unsigned priority = 31u - (unsigned)__builtin_clz(left);
        left &= ~(1u << priority);
        list_foreach (node, &queue->ready[priority]) {
            struct thread *thread = list_entry(node, struct thread, run_node);
            if (!thread->was_woken_by_io && thread_may_run_on(thread, cpu))
                return thread;
        }
    }
    return NULL;
}

bool sched_steal(struct run_queue *local)
{
    debug_assert(!interrupts_are_enabled());
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        struct run_queue *queue = &run_queues[cpu];
        /* A CPU that is just waking up for a thread should have it. */
        if (queue == local || read_once(queue->waiting) == 0 || read_once(queue->current) == queue->idle)
            continue;
        run_queue_lock(queue);
        struct thread *thread = sched_find_movable(queue, local->cpu);
        if (thread) {
            dequeue(queue, thread);
            write_once(thread->cpu, local->cpu);
        }
        run_queue_unlock(queue);
        if (!thread)
            continue;
        __atomic_fetch_add(&local->migrations, 1, __ATOMIC_RELAXED);
        run_queue_lock(local);
        enqueue(local, thread, false);
        run_queue_unlock(local);
        return true;
    }
    return false;
}

void sched_kick_idle(const struct run_queue *queue)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
        if (cpu != queue->cpu && is_idle_now(&run_queues[cpu]) && sched_find_movable(queue, cpu)) {
            smp_send_reschedule(cpu);
            return;
        }
}

/* Takes `thread` off its queue, if it is on it, so that it can be placed anew. */
static bool take_off(struct run_queue *queue, struct thread *thread)
{
    bool was_queued = is_queued(thread);
    if (was_queued)
        dequeue(queue, thread);
    return was_queued;
}

uint64_t sched_online_cpus(void)
{
    uint32_t count = cpu_count();
    for (uint32_t cpu = 0; cpu < count; cpu++)
        while (!__atomic_load_n(&run_queues[cpu].is_online, __ATOMIC_ACQUIRE))
            cpu_relax(); /* counted, so it is on its last steps to kernel_cpu_main */
    return (1ull << count) - 1;
}

int thread_set_affinity(struct thread *thread, uint64_t affinity)
{
    if ((affinity & sched_online_cpus()) == 0)
        return -EINVAL;
    uint64_t flags = interrupts_save();
    struct run_queue *queue = lock_settled(thread);
    thread->affinity = affinity;
    bool is_misplaced = !thread_may_run_on(thread, queue->cpu);
    bool is_running = thread == queue->current, must_place = is_misplaced && take_off(queue, thread);
    run_queue_unlock(queue);
    if (must_place)
        sched_place(thread);
    else if (is_misplaced && is_running)
        tell(queue->cpu);
    interrupts_restore(flags);
    if (thread == thread_current() && is_misplaced)
        sched_yield(); /* it leaves at the latest here */
    debug_assert(thread != thread_current() || thread_may_run_on(thread, cpu_id()));
    return 0;
}

void sched_wait_for_cpu(uint32_t cpu)
{
    struct thread *self = thread_current();
    uint64_t affinity = self->affinity;
    lockdep_might_sleep("sched_wait_for_cpu");
    int result = thread_set_affinity(self, 1ull << cpu);
    assert(result == 0 && cpu_id() == cpu);
    result = thread_set_affinity(self, affinity);
    assert(result == 0);
}

void sched_wait_for_cpus(void)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
        sched_wait_for_cpu(cpu);
}

void thread_set_priority(struct thread *thread, uint8_t priority)
{
    assert(priority > PRIORITY_IDLE && priority <= PRIORITY_MAX);
    uint64_t flags = interrupts_save();
    struct run_queue *queue = lock_settled(thread);
    bool was_queued = take_off(queue, thread);
    thread->priority = priority;
    if (was_queued)
        enqueue(queue, thread, false);
    unlock_and_tell(queue);
    interrupts_restore(flags);
    if (interrupts_were_enabled(flags) && cpu_read(preempt_count) == 0)
        sched_preempt();
}
