/* SPDX-License-Identifier: MIT */
/* The scheduler: a run queue a CPU, 32 priorities in FIFO order, time slices only while there is competition,
 * wake-up preemption, idle stealing, and the two batch devices that make block I/O cheap:
 *
 * Deferred calls. A thread that will sleep at once hands "dispatch and ring the doorbell" to its CPU, which
 * makes the call when the batch is worth it: before it goes idle, before it switches to a thread that was
 * not just woken by I/O (and so will hardly submit again), or at the end of the time slice (which is armed
 * while a call is pending). So 32 threads that submit one read each share one doorbell, and a lone thread's
 * doorbell rings just before its CPU halts.
 *
 * Wake batches. Between sched_wake_batch_begin and _end on a CPU, thread_wake collects; the end puts all of
 * them on run queues under one lock a queue, with at most one IPI a CPU. */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include <kernel/base/list.h>
#include <kernel/thread.h>

#define SCHED_SLICE_NS (4 * NSEC_PER_MSEC)

/* A deferred call waits for at most this many switches to threads woken by I/O: so many submitters share
 * one doorbell, and with twice as many of them one batch is in the device while the next is being made. */
#define SCHED_DEFER_MAX 16u

/* Sets up CPU `cpu`'s run queue and idle thread. The boot CPU's in thread_init; others before smp_start. */
void sched_init_cpu(uint32_t cpu);
/* Turns the caller into this CPU's idle loop. */
noreturn void sched_idle(void);

/* Gives up the CPU to the next thread of the same or higher priority. */
void sched_yield(void);
/* After thread_prepare_sleep: runs others until woken. Debug builds check the context. */
void sched_sleep(void);
/* Same with a limit; 0 or -ETIMEDOUT. UINT64_MAX: no limit. */
int sched_sleep_until(uint64_t deadline_ns);

/* A pending call of one CPU; embedded by its owner, zeroed. `call` runs in thread context (any thread's) with
 * preemption off and interrupts on; it must not sleep, and not defer itself again. */
struct sched_deferred {
    struct fifo_node node;
    void (*call)(struct sched_deferred *deferred);
    bool is_pending; /* this CPU's, with preemption off */
};
/* Queues it on this CPU unless it is pending there. Thread context, preemption off. */
void sched_defer(struct sched_deferred *deferred);
/* False: nobody waits for this CPU, so a call would be made at once, when the caller sleeps; it may as well
 * make it itself. A guess. Preemption off. */
bool sched_is_worth_deferring(void);
/* Makes all pending calls of this CPU now. Thread context. */
void sched_run_deferred(void);

/* Runs the caller on that CPU, or on each in turn, for a moment: what ran there with preemption or interrupts
 * off before the call is over after it. Thread context; sleeps. */
void sched_wait_for_cpu(uint32_t cpu);
void sched_wait_for_cpus(void);

/* Interrupt context, or preemption off. Nest. Marks the woken threads as woken by I/O. */
void sched_wake_batch_begin(void);
void sched_wake_batch_end(void);

struct sched_stats {
    uint64_t switches, preemptions, migrations, idle_ns, deferred_runs;
    uint32_t runnable;
};
void sched_stats(uint32_t cpu, struct sched_stats *stats);
/* All CPUs' context switches and busy (not halted) time since boot. */
uint64_t sched_total_switches(void);
uint64_t sched_busy_ns(void);

#endif
