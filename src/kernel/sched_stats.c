/* SPDX-License-Identifier: MIT */
/* The scheduler's figures, read without locks while the CPUs go on: each is right, all of them together are
 * of slightly different times. Set-up of a CPU's run queue and idle thread is here too. Any context, but for
 * sched_init_cpu. */
#include <arch/mmu.h>
#include <kernel/entry.h>
#include <kernel/printf.h>

#include "sched_internal.h"

static struct thread idle_threads[CPU_MAX];

static void idle_entry(void *argument)
{
    sched_thread_begins();
    sched_idle();
}

void sched_init_cpu(uint32_t cpu)
{
    struct run_queue *queue = &run_queues[cpu];
    struct thread *idle = &idle_threads[cpu];
    char name[THREAD_NAME_BYTES];
    assert(cpu < CPU_MAX && !queue->idle);
    spinlock_init(&queue->lock, "run_queue");
    for (unsigned i = 0; i < SCHED_PRIORITIES; i++)
        list_init(&queue->ready[i]);
    fifo_init(&queue->deferred);
    fifo_init(&queue->wakes);
    timer_init_cpu(cpu);
    queue->cpu = cpu;
    queue->timers = &timer_cpus[cpu];
    queue->idle_stack = mmu_stack_alloc(THREAD_STACK_BYTES);
    assert(queue->idle_stack); /* only while booting, and by then memory has been counted */
    snprintf(name, sizeof(name), "idle/%u", cpu);
    thread_init_special(idle, name, cpu, PRIORITY_IDLE);
    idle->stack = queue->idle_stack;
    context_init(&idle->context, kernel_idle_stack(cpu), idle_entry, NULL);
    queue->idle = queue->current = idle;
}

void *kernel_idle_stack(uint32_t cpu)
{
    assert(cpu < CPU_MAX && run_queues[cpu].idle_stack);
    return (char *)run_queues[cpu].idle_stack + THREAD_STACK_BYTES;
}

/* Halted time of a CPU, with the halt that it is in. */
static uint64_t halted_ns_of(uint32_t id)
{
    const struct run_queue *queue = &run_queues[id];
    const struct cpu *cpu = cpu_get(id);
    for (;;) {
        uint32_t sequence = __atomic_load_n(&queue->idle_sequence, __ATOMIC_ACQUIRE);
        uint64_t halted_ns = read_once(cpu->halted_ns), now_ns = clock_ns();
        if (read_once(cpu->is_idle) && now_ns > read_once(queue->halted_since_ns))
            halted_ns += now_ns - read_once(queue->halted_since_ns);
        if ((sequence & 1) == 0 && sequence == __atomic_load_n(&queue->idle_sequence, __ATOMIC_ACQUIRE))
            return halted_ns;
        cpu_relax();
    }
}

void sched_stats(uint32_t cpu, struct sched_stats *stats)
{
    assert(cpu < cpu_count());
    const struct run_queue *queue = &run_queues[cpu];
    *stats = (struct sched_stats){
        .switches = read_once(queue->switches),
        .preemptions = read_once(queue->preemptions),
        .migrations = read_once(queue->migrations),
        .idle_ns = halted_ns_of(cpu),
        .deferred_runs = read_once(queue->deferred_runs),
        .runnable = read_once(queue->waiting) + (read_once(queue->current) != queue->idle),
    };
}

uint64_t sched_total_switches(void)
{
    uint64_t sum = 0;
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
        sum += read_once(run_queues[cpu].switches);
    return sum;
}

uint64_t sched_busy_ns(void)
{
    uint64_t sum = 0;
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        if (!__atomic_load_n(&run_queues[cpu].is_online, __ATOMIC_ACQUIRE))
            continue;
        uint64_t halted_ns = halted_ns_of(cpu), up_ns = clock_ns() - run_queues[cpu].online_since_ns;
        sum += up_ns > halted_ns ? up_ns - halted_ns : 0;
    }
    return sum;
}
