/* SPDX-License-Identifier: MIT */
/* Timers: a pairing heap a CPU (Fredman, Sedgewick, Sleator, Tarjan 1986), so that starting one, which each
 * sleep with a limit does, is one comparison, and most never reach the top before they are cancelled.
 *
 * Heap: `child` is the first child, `sibling` the next in a list of children, `previous` the one before in it
 * or, for the first, the parent; the root has no sibling and no previous. Each is no later than its children.
 *
 * The hardware is programmed for the earliest of the heap's top and the slice's end, and only when it would
 * fire too late: a cancelled deadline costs one early interrupt instead of a device access.
 *
 * Locks: timer_cpu.lock, safe in interrupts, a leaf; not held while `expired` runs. */
#include <arch/clock.h>
#include <arch/lapic.h>

#include "sched_internal.h"
#include "timer_internal.h"

struct timer_cpu timer_cpus[CPU_MAX];

void timer_init_cpu(uint32_t cpu)
{
    struct timer_cpu *timers = &timer_cpus[cpu];
    assert(cpu < CPU_MAX && !timers->heap);
    spinlock_init(&timers->lock, "timer");
    timers->hardware_ns = timers->slice_ns = UINT64_MAX;
}

preserve_registers void timer_program(struct timer_cpu *timers, uint64_t deadline_ns)
{
    debug_assert(!interrupts_are_enabled() && timers == &timer_cpus[cpu_id()]);
    timers->hardware_ns = deadline_ns;
    lapic_timer_set(deadline_ns);
}

/* With interrupts off. */
static always_inline void timers_lock(struct timer_cpu *timers)
{
    lockdep_acquire(&timers->lock.dep, &timers->lock, LOCKDEP_SPIN_IRQ);
    spin_acquire(&timers->lock);
}
static always_inline void timers_unlock(struct timer_cpu *timers)
{
    lockdep_release(&timers->lock.dep, &timers->lock);
    __atomic_store_n(&timers->lock.is_locked, 0, __ATOMIC_RELEASE);
}

/* Two roots become one. Either may be NULL. */
static struct timer *merge(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->deadline_ns < a->deadline_ns) {
        struct timer *swap = a;
        a = b;
        b = swap;
    }
    debug_assert(!a->sibling && !a->previous && !b->sibling && !b->previous); /* roots */
    debug_assert(a->deadline_ns <= b->deadline_ns);
    b->sibling = a->child;
    b->previous = a;
    if (a->child)
        a->child->previous = b;
    a->child = b;
    return a;
}

static struct timer *make_root(struct timer *timer)
{
    timer->sibling = timer->previous = NULL;
    return timer;
}

/* A list of children becomes one heap: merged in pairs from the left, then the pairs from the right. */
static struct timer *merge_children(struct timer *first)
{
    struct timer *pairs = NULL, *heap = NULL;
    while (first) {
        struct timer *a = first, *b = a->sibling;
        first = b ? b->sibling : NULL;
        struct timer *pair = merge(make_root(a), b ? make_root(b) : NULL);
        pair->sibling = pairs;
        pairs = pair;
    }
    while (pairs) {
        struct timer *next = pairs->sibling;
        heap = merge(heap, make_root(pairs));
        pairs = next;
    }
    return heap;
}

static void heap_insert(struct timer_cpu *timers, struct timer *timer)
{
    debug_assert(timer->cpu_plus_1 == 0); /* in no heap */
    timer->child = NULL;
    timers->heap = merge(timers->heap, make_root(timer));
}

static void heap_remove(struct timer_cpu *timers, struct timer *timer)
{
    struct timer *below = merge_children(timer->child);
    if (timer == timers->heap) {
        timers->heap = below;
        return;
    }
    assert(timer->previous != NULL); /* it is in this heap, and not its root */
    if (timer->previous->child == timer) {
        timer->previous->child = timer->sibling;
    } else {
        debug_assert(timer->previous->sibling == timer);
        timer->previous->sibling = timer->sibling;
    }
    if (timer->sibling)
        timer->sibling->previous = timer->previous;
    timers->heap = merge(timers->heap, below);
}

/* Takes it out of whatever heap it is in. Interrupts off. */
static bool stop(struct timer *timer)
{
    for (uint32_t cpu_plus_1; (cpu_plus_1 = read_once(timer->cpu_plus_1)) != 0;) {
        assert(cpu_plus_1 <= CPU_MAX);
        struct timer_cpu *timers = &timer_cpus[cpu_plus_1 - 1];
        timers_lock(timers);
        bool is_here = timer->cpu_plus_1 == cpu_plus_1; /* else it fired just now */
        if (is_here) {
            heap_remove(timers, timer);
            write_once(timer->cpu_plus_1, 0);
        }
        timers_unlock(timers);
        if (is_here)
            return true;
    }
    return false;
}

void timer_start(struct timer *timer, uint64_t deadline_ns)
{
    uint64_t flags = interrupts_save();
    uint32_t cpu = cpu_id();
    struct timer_cpu *timers = &timer_cpus[cpu];
    assert(timer->expired);
    if (timer->cpu_plus_1 != 0)
        stop(timer);
    timers_lock(timers);
    timer->deadline_ns = deadline_ns;
    heap_insert(timers, timer);
    write_once(timer->cpu_plus_1, cpu + 1);
    timers_unlock(timers);
    if (deadline_ns < timers->hardware_ns)
        timer_program(timers, deadline_ns);
    interrupts_restore(flags);
}

/* Until no CPU is in `expired` for it. On this CPU it could only be below us, which the header forbids. */
static void wait_while_running(const struct timer *timer)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
        while (__atomic_load_n(&timer_cpus[cpu].running, __ATOMIC_ACQUIRE) == timer) {
            assert(cpu != cpu_id() || interrupts_are_enabled());
            cpu_relax();
        }
}

bool timer_cancel(struct timer *timer)
{
    for (;;) {
        uint64_t flags = interrupts_save();
        bool was_pending = stop(timer);
        interrupts_restore(flags);
        if (was_pending)
            return true;
        wait_while_running(timer);
        if (read_once(timer->cpu_plus_1) == 0) /* else `expired` has started it again */
            return false;
    }
}

/* The next due timer, out of the heap and marked as running, or NULL. */
static struct timer *take_due(struct timer_cpu *timers, uint64_t now_ns)
{
    timers_lock(timers);
    struct timer *timer = timers->heap;
    debug_assert(timers->running == NULL); /* timer_run does not nest */
    if (timer && timer->deadline_ns <= now_ns) {
        heap_remove(timers, timer);
        __atomic_store_n(&timers->running, timer, __ATOMIC_RELAXED);
        __atomic_store_n(&timer->cpu_plus_1, 0, __ATOMIC_RELEASE); /* after it is seen to run */
    } else {
        timer = NULL;
    }
    timers_unlock(timers);
    return timer;
}

static uint64_t first_deadline_ns(struct timer_cpu *timers)
{
    timers_lock(timers);
    uint64_t deadline_ns = timers->heap ? timers->heap->deadline_ns : UINT64_MAX;
    timers_unlock(timers);
    return MIN(deadline_ns, timers->slice_ns);
}

void timer_run(void)
{
    struct timer_cpu *timers = &timer_cpus[cpu_id()];
    uint64_t now_ns = clock_ns();
    assert(!interrupts_are_enabled());
    timers->hardware_ns = UINT64_MAX; /* one-shot: it has fired */
    for (struct timer *timer; (timer = take_due(timers, now_ns)) != NULL;) {
        timer->expired(timer);
        __atomic_store_n(&timers->running, NULL, __ATOMIC_RELEASE);
    }
    if (timers->slice_ns <= now_ns) {
        timers->slice_ns = UINT64_MAX;
        sched_slice_over();
    }
    uint64_t deadline_ns = first_deadline_ns(timers);
    if (deadline_ns < timers->hardware_ns)
        timer_program(timers, deadline_ns);
}
