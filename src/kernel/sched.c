/* SPDX-License-Identifier: MIT */
/* Who runs next: the switch, slices, deferred calls, and the idle loop. Who becomes runnable, and on which
 * CPU, is in sched_wake.c; the figures are in sched_stats.c.
 *
 * leave_cpu and give_way are entered with interrupts off and nothing else holding preemption off, and return
 * the same way, perhaps much later and on another CPU. They lock this CPU's run queue; the thread that they
 * switch to unlocks it. So no CPU can take a thread that is not yet off its stack, and a waker, who needs the
 * same lock, finds a thread that announced its sleep either still running (then the sleep is called off) or
 * switched out (then it is queued): S1, no wake-up falls between.
 *
 * A thread preempted between its announcement and its sleep stays runnable and its sleep is called off: it
 * may not have looked at its condition yet, whose wake-up may have been before the announcement (S2).
 *
 * A sleeper with nobody to switch to rests: its CPU halts on its stack. To everybody else the CPU idles
 * (`current` is the idle thread) and the thread sleeps, but a wake-up makes it RUNNING where it is, on no
 * queue (S3): nobody can take it from under the CPU, and when it is the next to run, as at queue depth 1,
 * nothing is switched. The idle thread is for CPUs that have no sleeper: before the first, after an exit.
 *
 * Slices: the hardware timer is armed only while a thread of the running one's priority waits or a deferred
 * call is pending. The idle thread is never queued and runs with preemption off but for that. */
#include <kernel/entry.h>
#include <kernel/trace.h>

#include "sched_internal.h"

/* Why a runnable thread may have to give way. */
enum reason {
    REASON_YIELD,   /* to threads of its own priority too */
    REASON_PREEMPT, /* to a better one, or its slice is over, or its affinity has changed */
};

struct run_queue run_queues[CPU_MAX];

/* Whoever ran here before and cannot be left where it is. */
static preserve_registers void deal_with_left(struct run_queue *queue, struct thread *left)
{
    queue->left = NULL;
    if (left->state == THREAD_DEAD)
        thread_has_left(left);
    else
        sched_place(left);
}

/* The queue is locked by the outgoing thread, on this CPU. True when threads may have been woken since the
 * last look at preempt_count. */
static always_inline bool finish_switch(void)
{
    struct run_queue *queue = this_run_queue();
    struct thread *left = queue->left;
    run_queue_unlock(queue);
    if (likely(!left))
        return false;
    deal_with_left(queue, left);
    return true;
}

/* Arms the running thread's slice end if somebody waits for it. A slice that ended while nobody did begins
 * anew. */
static noinline void arm_slice(struct run_queue *queue, const struct thread *running)
{
    bool has_rival = (queue->bitmap >> running->priority & 1) != 0;
    if (queue->is_slice_armed || (!has_rival && fifo_is_empty(&queue->deferred)))
        return;
    uint64_t now_ns = clock_ns(), end_ns = running->last_switch_ns + SCHED_SLICE_NS;
    queue->is_slice_armed = true;
    timer_set_slice(queue->timers, end_ns > now_ns ? end_ns : now_ns + SCHED_SLICE_NS);
}

static always_inline void disarm_slice(struct run_queue *queue)
{
    queue->is_slice_armed = false;
    timer_set_slice(queue->timers, UINT64_MAX);
}

static always_inline void start_slice(struct run_queue *queue, const struct thread *next, uint64_t now_ns)
{
    if ((queue->bitmap >> next->priority & 1) != 0 || !fifo_is_empty(&queue->deferred)) {
        queue->is_slice_armed = true;
        timer_set_slice(queue->timers, now_ns + SCHED_SLICE_NS);
    } else if (queue->is_slice_armed) {
        disarm_slice(queue);
    }
}

static preserve_registers void trace_switch(const struct thread *previous, const struct thread *next)
{
    trace_record(TRACE_SWITCH, (uint64_t)previous, (uint64_t)next);
}

/* `next` is off the queue. Returns when somebody switches back to `previous`; true as finish_switch. */
static always_inline bool switch_threads(struct run_queue *queue, struct thread *previous,
                                         struct thread *next)
{
    uint64_t now_ns = clock_ns();
    previous->cpu_ns += now_ns - previous->last_switch_ns;
    next->last_switch_ns = now_ns;
    next->switches++;
    queue->switches++;
    write_once(next->state, THREAD_RUNNING);
    start_slice(queue, next, now_ns);
    queue->current = next;
    cpu_write(current, next);
    if (unlikely(trace_is_on))
        trace_switch(previous, next);
    context_switch(&previous->context, &next->context);
    return finish_switch();
}

/* The list of the most urgent waiting threads; the bitmap is not 0. */
static always_inline struct list *most_urgent(struct run_queue *queue)
{
    return ready_list(queue, 31u - (unsigned)__builtin_clz(queue->bitmap));
}

/* The choice just made covers all that was asked for. What comes later is told by an IPI, which stays pending
 * while interrupts are off. */
static always_inline void wish_is_granted(void)
{
    cpu_write(preempt_count, CPU_NO_RESCHEDULE);
}

/* Preemption off, interrupts on. */
static void make_deferred_calls(struct run_queue *queue)
{
    struct fifo calls = FIFO_INIT(calls);
    fifo_append(&calls, &queue->deferred);
    queue->deferred_switches = 0;
    queue->deferred_runs++;
    for (struct fifo_node *node; (node = fifo_pop(&calls)) != NULL;) {
        struct sched_deferred *deferred = container_of(node, struct sched_deferred, node);
        assert(deferred->is_pending);
        deferred->is_pending = false;
        deferred->call(deferred);
        debug_assert(!preempt_is_enabled() && interrupts_are_enabled());
    }
}

/* In the outgoing thread's context, between two looks at the queue, which is locked before and after. */
static preserve_registers void run_deferred_unlocked(struct run_queue *queue)
{
    run_queue_unlock(queue);
    preempt_disable();
    interrupts_enable();
    make_deferred_calls(queue);
    interrupts_disable();
    preempt_enable_no_reschedule();
    run_queue_lock(queue);
}

/* sched.h says when; `next` is about to take the CPU. The idle thread was never woken by I/O, so no CPU goes
 * idle with a call pending. */
static always_inline bool must_run_deferred(struct run_queue *queue, const struct thread *next)
{
    return !fifo_is_empty(&queue->deferred) &&
           (!next->was_woken_by_io || ++queue->deferred_switches >= SCHED_DEFER_MAX);
}

static void begin_halt(struct run_queue *queue)
{
    queue->idle_sequence++;
    queue->halted_since_ns = clock_ns();
    cpu_write(is_idle, true);
    queue->idle_sequence++;
}

void sched_end_halt(void)
{
    struct run_queue *queue = this_run_queue();
    uint64_t halted_ns = clock_ns() - queue->halted_since_ns;
    queue->idle_sequence++;
    cpu_write(halted_ns, cpu_read(halted_ns) + halted_ns);
    cpu_write(is_idle, false);
    thread_current()->last_switch_ns += halted_ns; /* it did not run */
    queue->idle_sequence++;
}

/* Interrupts off before and after. What becomes runnable after the caller's last look comes with an
 * interrupt, and that ends the halt: the two steps from "interrupts off" to "halted" are one (R7 without a
 * lost wake-up). */
static void halt(struct run_queue *queue)
{
    begin_halt(queue);
    preempt_disable();
    cpu_halt_enabling_interrupts();
    interrupts_disable();
    preempt_enable_no_reschedule();
    sched_interrupt_begins();
}

/* The last thing before a halt, so that a look without a lock comes first: mostly nobody waits anywhere.
 * True: a thread was brought here. */
static noinline bool find_work_elsewhere(struct run_queue *queue)
{
    uint32_t count = cpu_count(), cpu = 0;
    while (read_once(run_queues[cpu].waiting) == 0)
        if (++cpu == count)
            return false;
    return sched_steal(queue);
}

/* Rests until something is there to run; the queue is locked before and after. True: `self` was woken, and
 * has the CPU again without a switch (S3). */
static always_inline bool rest(struct run_queue *queue, struct thread *self)
{
    queue->resting = self;
    queue->current = queue->idle;
    if (unlikely(queue->is_slice_armed))
        disarm_slice(queue);
    do {
        run_queue_unlock(queue);
        if (cpu_count() == 1 || !find_work_elsewhere(queue))
            halt(queue);
        run_queue_lock(queue);
    } while (self->state == THREAD_BLOCKED && queue->bitmap == 0);
    queue->resting = NULL;
    queue->current = self;
    if (unlikely(!thread_may_run_on(self, queue->cpu)))
        want_reschedule(); /* its affinity has changed while it slept */
    return self->state != THREAD_BLOCKED;
}

/* The running thread leaves the CPU: asleep or dead, as its state says. Interrupts off. True when the caller
 * must look at preempt_count. */
static always_inline bool leave_cpu(bool is_exit)
{
    struct run_queue *queue = this_run_queue();
    struct thread *previous = thread_current(), *next;
    run_queue_lock(queue);
    for (;;) {
        if (unlikely(!is_exit && read_once(previous->state) != THREAD_BLOCKED)) {
            run_queue_unlock(queue); /* woken, or preempted since the announcement */
            return true;
        }
        struct list *ready = NULL;
        next = queue->idle;
        if (likely(queue->bitmap != 0)) {
            ready = most_urgent(queue);
            next = list_entry(ready->next, struct thread, run_node);
        }
        if (unlikely(must_run_deferred(queue, next))) {
            run_deferred_unlocked(queue);
        } else if (ready) {
            dequeue_first(queue, ready, next);
            break;
        } else if (is_exit) {
            break;
        } else if (rest(queue, previous)) {
            run_queue_unlock(queue);
            return true;
        }
    }
    if (is_exit)
        queue->left = previous;
    wish_is_granted();
    return switch_threads(queue, previous, next);
}

/* Who should have the CPU of `previous`, which could go on. */
static struct thread *choose(struct run_queue *queue, struct thread *previous, enum reason reason)
{
    bool may_stay = thread_may_run_on(previous, queue->cpu);
    unsigned floor =
        !may_stay ? 0u : previous->priority + (reason == REASON_YIELD || queue->is_slice_over ? 0u : 1u);
    if ((uint64_t)queue->bitmap >> floor == 0)
        return may_stay ? previous : queue->idle;
    return list_entry(most_urgent(queue)->next, struct thread, run_node);
}

/* Leaves `previous`, runnable, as it has to be while it does not run. */
static void put_back(struct run_queue *queue, struct thread *previous, enum reason reason)
{
    queue->preemptions += reason == REASON_PREEMPT;
    if (previous == queue->idle)
        return;
    write_once(previous->state, THREAD_RUNNABLE); /* S2, where it was BLOCKED */
    if (unlikely(!thread_may_run_on(previous, queue->cpu)))
        queue->left = previous;
    else
        enqueue(queue, previous, reason == REASON_PREEMPT && !queue->is_slice_over);
}

/* The running thread stays runnable. Interrupts off. */
static void give_way(enum reason reason)
{
    struct run_queue *queue = this_run_queue();
    struct thread *previous = thread_current(), *next;
    debug_assert(!interrupts_are_enabled() && cpu_read(interrupt_depth) == 0);
    run_queue_lock(queue);
    for (;;) {
        next = choose(queue, previous, reason);
        bool is_due = reason == REASON_YIELD || queue->is_slice_over;
        if (is_due ? fifo_is_empty(&queue->deferred) : (next == previous || !must_run_deferred(queue, next)))
            break;
        run_deferred_unlocked(queue);
    }
    wish_is_granted();
    if (next != previous)
        put_back(queue, previous, reason);
    queue->is_slice_over = false;
    if (next == previous) {
        run_queue_unlock(queue);
        return;
    }
    if (next != queue->idle)
        dequeue(queue, next);
    (void)switch_threads(queue, previous, next);
}

/* What a slice's end means beyond the switch. */
static void end_slice(struct run_queue *queue, struct thread *self)
{
    self->was_woken_by_io = false; /* it computes: who waits behind it should not wait for its I/O too */
    if (queue->waiting == 0)
        return;
    run_queue_lock(queue);
    sched_kick_idle(queue);
    run_queue_unlock(queue);
}

static noinline void reschedule(enum reason reason)
{
    struct thread *self = thread_current();
    do {
        struct run_queue *queue = this_run_queue();
        if (reason == REASON_YIELD || queue->is_slice_over)
            end_slice(queue, self);
        give_way(reason);
        arm_slice(this_run_queue(), self);
        reason = REASON_PREEMPT;
    } while (unlikely(cpu_read(preempt_count) == 0));
}

void sched_sleep(void)
{
    lockdep_might_sleep("sched_sleep");
    assert((cpu_read(preempt_count) & ~CPU_NO_RESCHEDULE) == 0);
    interrupts_disable();
    bool must_look = leave_cpu(false);
    interrupts_enable();
    if (unlikely(must_look) && cpu_read(preempt_count) == 0)
        sched_preempt();
}

noreturn void sched_exit(void)
{
    assert(!interrupts_are_enabled() && preempt_is_enabled());
    (void)leave_cpu(true);
    __builtin_unreachable();
}

void sched_yield(void)
{
    lockdep_might_sleep("sched_yield");
    assert(preempt_is_enabled());
    interrupts_disable();
    reschedule(REASON_YIELD);
    interrupts_enable();
}

void sched_preempt(void)
{
    if (!interrupts_are_enabled())
        return;
    interrupts_disable();
    if (cpu_read(preempt_count) == 0) /* not if it was done on the way */
        reschedule(REASON_PREEMPT);
    interrupts_enable();
}

void kernel_preempt(void)
{
    reschedule(REASON_PREEMPT);
}

void sched_thread_begins(void)
{
    bool must_look = finish_switch();
    interrupts_enable();
    if (must_look && cpu_read(preempt_count) == 0)
        sched_preempt();
}

void sched_slice_over(void)
{
    struct run_queue *queue = this_run_queue();
    queue->is_slice_armed = false;
    queue->is_slice_over = true;
    want_reschedule();
}

void kernel_timer_interrupt(void)
{
    sched_interrupt_begins();
    timer_run();
}

void sched_defer(struct sched_deferred *deferred)
{
    debug_assert(!preempt_is_enabled() && cpu_read(interrupt_depth) == 0);
    struct run_queue *queue = this_run_queue();
    if (deferred->is_pending)
        return;
    deferred->is_pending = true;
    if (fifo_is_empty(&queue->deferred))
        queue->deferred_switches = 0;
    fifo_push(&queue->deferred, &deferred->node);
    if (!queue->is_slice_armed) {
        uint64_t flags = interrupts_save();
        arm_slice(queue, queue->current);
        interrupts_restore(flags);
    }
}

bool sched_is_worth_deferring(void)
{
    const struct run_queue *queue = this_run_queue();
    debug_assert(!preempt_is_enabled());
    return read_once(queue->bitmap) != 0 || !fifo_is_empty(&queue->deferred);
}

void sched_run_deferred(void)
{
    preempt_disable();
    struct run_queue *queue = this_run_queue();
    if (!fifo_is_empty(&queue->deferred))
        make_deferred_calls(queue);
    preempt_enable();
}

noreturn void sched_idle(void)
{
    struct run_queue *queue = this_run_queue();
    assert(thread_current() == queue->idle);
    for (;;) {
        interrupts_disable();
        give_way(REASON_PREEMPT);
        debug_assert(fifo_is_empty(&queue->deferred) && fifo_is_empty(&queue->wakes));
        bool has_work = cpu_read(preempt_count) == 0 || (cpu_count() > 1 && find_work_elsewhere(queue));
        if (!has_work)
            halt(queue);
    }
}

noreturn void kernel_cpu_main(void)
{
    struct run_queue *queue = this_run_queue();
    cpu_write(current, queue->idle);
    queue->online_since_ns = queue->idle->last_switch_ns = clock_ns();
    __atomic_store_n(&queue->is_online, true, __ATOMIC_RELEASE);
    sched_idle();
}
