/* SPDX-License-Identifier: MIT */
/* The run queue, shared by sched.c (who runs next) and sched_wake.c (who becomes runnable, and where). */
#ifndef KERNEL_SCHED_INTERNAL_H
#define KERNEL_SCHED_INTERNAL_H

#include <arch/clock.h>
#include <kernel/sched.h>

#include "timer_internal.h"

#define SCHED_PRIORITIES (PRIORITY_MAX + 1)
_Static_assert(SCHED_PRIORITIES == 32, "struct run_queue's bitmap has a bit each");

/* Lock legend: I constant after sched_init_cpu; q `lock`, with interrupts off; c this CPU alone: `c` in
 * thread context with preemption off, `ci` with interrupts off (other CPUs may peek where it says so).
 * Order: wait_queue and others -> run_queue -> timer. Two run queues are never locked together. */
struct run_queue {
    struct spinlock lock;
    uint32_t cpu;               /* I */
    uint32_t bitmap;            /* q: bit p: ready[p] is not empty */
    uint32_t waiting;           /* q, peeked at: threads in `ready` */
    uint32_t wake_batch_depth;  /* ci */
    uint32_t deferred_switches; /* c: to threads woken by I/O, since the first pending call was deferred */
    bool is_slice_armed;        /* ci, peeked at under the lock: the slice's end will interrupt */
    bool is_slice_over;         /* ci: it has, and the running thread has not given way yet */
    bool is_online;             /* a: its CPU schedules */
    struct thread *current;     /* q, peeked at */
    struct thread *idle;        /* I */
    struct thread *left;      /* q: just switched away for good, or to go to another CPU; see finish_switch */
    struct thread *resting;   /* q, ci: asleep, and the CPU halts on its stack; `current` is `idle` then */
    struct timer_cpu *timers; /* I */
    struct fifo deferred;     /* c: struct sched_deferred */
    struct fifo wakes;        /* ci: the batch, by wake_node */
    uint64_t switches, preemptions, deferred_runs; /* q */
    uint64_t migrations;                           /* a: threads that came from another CPU */
    uint32_t idle_sequence;              /* ci: odd while this CPU starts or ends a halt; see halted_ns_of */
    uint64_t halted_since_ns;            /* ci: while this CPU is_idle */
    uint64_t online_since_ns;            /* I */
    void *idle_stack;                    /* I: lowest byte */
    struct list ready[SCHED_PRIORITIES]; /* q: by run_node, first come first */
} aligned(1024);                         /* a power of two, so that indexing is a shift */

extern struct run_queue run_queues[];

/* The compiler forgets where `pointer` comes from: else it computes the address from the index again and
 * again rather than keep it in a register. */
#define keep_pointer(pointer) __asm__("" : "+r"(pointer))

/* Stable with interrupts or preemption off. */
static always_inline struct run_queue *this_run_queue(void)
{
    struct run_queue *queue = &run_queues[cpu_id()];
    keep_pointer(queue);
    return queue;
}

/* With interrupts off: who locks it may be another thread than who unlocks it. */
static always_inline void run_queue_lock(struct run_queue *queue)
{
    spin_lock_interrupts_off(&queue->lock);
}
static always_inline void run_queue_unlock(struct run_queue *queue)
{
    spin_unlock_interrupts_off(&queue->lock);
}

static always_inline bool is_queued(const struct thread *thread)
{
    return thread->run_node.next != NULL;
}
static always_inline bool thread_may_run_on(const struct thread *thread, uint32_t cpu)
{
    return (thread->affinity >> cpu & 1) != 0;
}

/* Asks this CPU to look at its run queue as soon as nothing holds it off. Interrupts off. */
static always_inline void want_reschedule(void)
{
    cpu_write(preempt_count, cpu_read(preempt_count) & ~CPU_NO_RESCHEDULE);
}

static always_inline struct list *ready_list(struct run_queue *queue, unsigned priority)
{
    struct list *ready = &queue->ready[priority];
    keep_pointer(ready);
    return ready;
}

static always_inline void enqueue(struct run_queue *queue, struct thread *thread, bool is_front)
{
    unsigned priority = thread->priority;
    struct list *ready = ready_list(queue, priority);
    debug_assert(priority > PRIORITY_IDLE && !is_queued(thread) && thread->cpu == queue->cpu);
    list_insert_before(is_front ? ready->next : ready, &thread->run_node);
    queue->bitmap |= 1u << priority;
    queue->waiting++;
}

/* `thread` is the first of `ready`. */
static always_inline void dequeue_first(struct run_queue *queue, struct list *ready, struct thread *thread)
{
    struct list *next = thread->run_node.next;
    debug_assert(ready->next == &thread->run_node && thread->cpu == queue->cpu);
    ready->next = next;
    next->prev = ready;
    thread->run_node.next = NULL;
    if (next == ready)
        queue->bitmap &= ~(1u << thread->priority);
    queue->waiting--;
}

static always_inline void dequeue(struct run_queue *queue, struct thread *thread)
{
    struct list *ready = ready_list(queue, thread->priority);
    debug_assert(is_queued(thread) && thread->cpu == queue->cpu);
    list_remove(&thread->run_node);
    thread->run_node.next = NULL;
    if (list_is_empty(ready))
        queue->bitmap &= ~(1u << thread->priority);
    queue->waiting--;
}

/* sched_wake.c */

/* Puts a runnable thread that is nowhere (new, or taken off its queue by the caller) on the queue of an
 * allowed CPU. Interrupts off, no queue locked. */
void sched_place(struct thread *thread);
/* The CPUs that take threads, a bit each. */
uint64_t sched_online_cpus(void);
/* Flushes this CPU's batch of wakes. Interrupts off. */
void sched_wake_collected(struct run_queue *local);
/* The first thread waiting in `queue`, which is locked, that may move to `cpu` and whose move pays; NULL. */
struct thread *sched_find_movable(const struct run_queue *queue, uint32_t cpu);
/* Brings a waiting thread from another CPU's queue to this one's, if there is one. Interrupts off. */
bool sched_steal(struct run_queue *local);
/* Interrupts a halted CPU that could take a waiting thread of `queue`, which is locked. */
void sched_kick_idle(const struct run_queue *queue);

/* sched.c */

/* From the timer interrupt: the running thread's slice is over. */
void sched_slice_over(void);
/* thread_exit's end: never comes back. Interrupts off. */
noreturn void sched_exit(void);
/* The first thing that a new thread does: it comes out of a switch. Turns interrupts on. */
void sched_thread_begins(void);
/* thread.c: `thread` is off its stack for good. Interrupts off, no lock held. */
void thread_has_left(struct thread *thread);
/* thread.c: sets up an idle thread or "main", which need no table entry's worth of creation. */
void thread_init_special(struct thread *thread, const char *name, uint32_t cpu, uint8_t priority);

/* Ends the accounting of a halt. Interrupts off. */
void sched_end_halt(void);
/* At the start of an interrupt handler: what follows is not halted time. */
static always_inline void sched_interrupt_begins(void)
{
    if (unlikely(cpu_read(is_idle)))
        sched_end_halt();
}

/* sched_wake_batch_begin and _end for callers with interrupts off. */
static always_inline void wake_batch_begin(struct run_queue *local)
{
    local->wake_batch_depth++;
}
static always_inline void wake_batch_end(struct run_queue *local)
{
    debug_assert(local->wake_batch_depth > 0);
    if (--local->wake_batch_depth == 0 && !fifo_is_empty(&local->wakes))
        sched_wake_collected(local);
}

#endif
