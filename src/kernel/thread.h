/* SPDX-License-Identifier: MIT */
/* Kernel threads. Preemptive, 32 priorities, one run queue a CPU (kernel/sched.h).
 *
 * States and who moves a thread between them:
 *     RUNNABLE -> RUNNING  schedule(), on the CPU that takes it
 *     RUNNING -> RUNNABLE  schedule(), when preempted or yielding
 *     RUNNING -> BLOCKED   the thread itself: thread_prepare_sleep (it still runs, until sched_sleep)
 *     BLOCKED -> RUNNABLE  thread_wake, by anyone; schedule(), when preempted before it slept
 *     BLOCKED -> RUNNING   thread_wake before it slept; the thread itself: thread_cancel_sleep
 *     RUNNING -> DEAD      the thread itself: thread_exit
 * Thread structures never go back to other uses, so that a late thread_wake finds a struct thread; and a
 * thread preempted between the announcement and the sleep does not sleep. Therefore every sleep is a loop
 * over its condition. */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <arch/context.h>
#include <arch/cpu.h>
#include <kernel/base/list.h>
#include <kernel/spinlock.h>

#define THREAD_NAME_BYTES  24
#define THREAD_STACK_BYTES 16384u

enum thread_state { THREAD_RUNNABLE, THREAD_RUNNING, THREAD_BLOCKED, THREAD_DEAD };

/* Higher runs first. */
enum thread_priority {
    PRIORITY_IDLE = 0, /* the idle threads only */
    PRIORITY_LOW = 8,
    PRIORITY_NORMAL = 16,
    PRIORITY_HIGH = 24,
    PRIORITY_MAX = 31,
};

struct block_plug;
struct console_output;

/* kernel/completion.h; here because a thread embeds one. */
struct completion {
    uintptr_t state; /* a: 0, COMPLETION_DONE, or the waiting thread */
};

/* Lock legend: I constant after creation; q lock of `cpu`'s run queue; s the thread itself only; a atomic;
 * t the thread table's lock. The run queue's lock is held across the context switch, so whoever holds it
 * sees a thread either as the queue's current one or wholly off its stack. */
struct thread {
    struct context context;        /* q; first: switch.S and debuggers find it there */
    uint32_t state;                /* q: enum thread_state; s: announcing and cancelling a sleep */
    uint32_t cpu;                  /* q: whose run queue it is or was last on */
    uint8_t priority;              /* q */
    bool was_woken_by_io;          /* q: likely to submit again soon; see sched_defer */
    uint64_t affinity;             /* q: CPUs it may run on, a bit each */
    struct list run_node;          /* q: next is NULL while it is on no run queue */
    struct fifo_node wake_node;    /* whoever set is_in_wake_batch; survives the thread, see thread.c */
    uint32_t is_in_wake_batch;     /* a: likewise */
    struct block_plug *plug;       /* s: the block layer's open plug, NULL without */
    struct console_output *output; /* s: kernel/log.h; NULL: the consoles */
    uint64_t cpu_ns;               /* q: time it has run, up to the last switch */
    uint64_t last_switch_ns;       /* q */
    uint64_t switches;             /* q: context switches to it */
    void *stack;                   /* I: lowest byte */
    void (*entry)(void *);         /* I */
    void *argument;                /* I */
    int exit_status;               /* s, then whoever saw `exited` */
    struct completion exited;      /* done when it is off its stack for good */
    uint32_t id;                   /* I: unique, from 1; idle threads have 0 */
    uint32_t references;           /* a */
    struct list all_node;          /* t */
    const void *waiting_for;       /* s: what it sleeps on, for ps and the debugger; stale while it runs */
    const char *waiting_why;       /* s: "mutex", "completion", … */
    char name[THREAD_NAME_BYTES];  /* I */
#ifdef UMBRA_DEBUG
    struct lockdep_stack held; /* s: sleeping locks */
#endif
};
_Static_assert(offsetof(struct thread, context) == 0, "switch.S and the debugger's helpers");

/* The running thread. Any context (in an interrupt: the one that it interrupted). */
static always_inline struct thread *thread_current(void)
{
    return cpu_read(current);
}

/* Makes the boot code that calls it the boot CPU's thread "main". Once, before anything may sleep. */
void thread_init(void);

struct thread_config {
    const char *name;
    void (*entry)(void *argument);
    void *argument;
    uint8_t priority;  /* 0: PRIORITY_NORMAL */
    uint64_t affinity; /* 0: all CPUs */
};
/* A new runnable thread, with one reference for the caller, who ends with thread_join or thread_detach.
 * -ENOMEM; -EINVAL when no running CPU is in `affinity`. Thread context. */
must_check int thread_create(const struct thread_config *config, struct thread **thread);

/* Returning from `entry` is thread_exit(0). */
noreturn void thread_exit(int status);
/* Sleeps until it has exited, drops the reference, returns its exit status. */
int thread_join(struct thread *thread);
void thread_detach(struct thread *thread);

/* Moves the thread to other CPUs if it must: at once when it is the caller or not running, else soon.
 * -EINVAL when no running CPU is in `affinity`. Thread context. */
int thread_set_affinity(struct thread *thread, uint64_t affinity);
void thread_set_priority(struct thread *thread, uint8_t priority);

void thread_sleep_until(uint64_t deadline_ns);
void thread_sleep_ns(uint64_t ns);

/* The bare sleep: announce, look at the condition, then sched_sleep() or thread_cancel_sleep().
 *
 *     for (;;) {
 *         thread_prepare_sleep("why", object);
 *         if (condition) break;
 *         sched_sleep();              // or sched_sleep_until(deadline): -ETIMEDOUT
 *     }
 *     thread_cancel_sleep();
 *
 * A thread_wake after the announcement makes sched_sleep return at once: no wake-up is lost. */
void thread_prepare_sleep(const char *why, const void *object);
void thread_cancel_sleep(void);

/* Makes a blocked thread runnable; nothing when it is not blocked. True when it was. Any context; within a
 * wake batch (kernel/sched.h) it takes effect at the batch's end. */
bool thread_wake(struct thread *thread);

/* Bytes of its stack never used so far: debug builds fill stacks with a pattern; 0 in release builds. */
size_t thread_stack_unused(const struct thread *thread);

/* Calls `each` for all threads under the table's lock (it must not sleep). */
void thread_for_each(void (*each)(const struct thread *thread, void *context), void *context);
/* "running" for THREAD_RUNNING. */
const char *thread_state_name(uint32_t state);

#endif
