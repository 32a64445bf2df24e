/* SPDX-License-Identifier: MIT */
/* Threads: creation, exit, join, the table. The scheduler moves them between states; here is their life.
 *
 * References: one of the creator, until thread_join or thread_detach; one of the thread itself, until it is
 * off its stack. The structure then goes to a free list of its own, never anywhere else, and two of its
 * fields outlive the thread: a waker that is late may still hold it in a batch by wake_node.
 *
 * A stack goes to a short list for the next thread; a work item unmaps what is too many, since that needs
 * thread context.
 *
 * Locks: "threads" guards the table, the free list and the spare stacks; a leaf, safe in interrupts, since
 * an exit ends in a context switch. */
#include <arch/mmu.h>
#include <kernel/base/error.h>
#include <kernel/completion.h>
#include <kernel/pool.h>
#include <kernel/string.h>
#include <kernel/wait.h>
#include <kernel/work.h>

#include "sched_internal.h"

#define SPARE_STACKS_MAX 8u
#define STACK_PATTERN    0xa5

struct spare_stack {
    struct fifo_node node; /* at the stack's lowest byte */
};

static struct spinlock threads_lock = SPINLOCK_INIT("threads");
static struct list all_threads = LIST_INIT(all_threads);   /* threads_lock */
static struct list free_threads = LIST_INIT(free_threads); /* threads_lock: by all_node */
static struct fifo spare_stacks = FIFO_INIT(spare_stacks); /* threads_lock */
static uint32_t spare_stack_count, last_id;                /* threads_lock */
static struct pool thread_pool;
static struct thread main_thread;

static void trim_stacks(struct work *work);
static struct work trim_work = {.run = trim_stacks};

static void *pop_spare_stack(uint32_t keep)
{
    SPIN_SCOPED_IRQ(&threads_lock);
    if (spare_stack_count <= keep)
        return NULL;
    spare_stack_count--;
    return container_of(fifo_pop(&spare_stacks), struct spare_stack, node);
}

static void trim_stacks(struct work *work)
{
    for (void *stack; (stack = pop_spare_stack(SPARE_STACKS_MAX)) != NULL;)
        mmu_stack_free(stack, THREAD_STACK_BYTES);
}

static void *stack_get(void)
{
    void *stack = pop_spare_stack(0);
    if (!stack)
        stack = mmu_stack_alloc(THREAD_STACK_BYTES);
#ifdef UMBRA_DEBUG
    if (stack)
        memset(stack, STACK_PATTERN, THREAD_STACK_BYTES);
#endif
    return stack;
}

/* Under the lock, so that thread_for_each never sees a stack that is going. */
static void stack_put(struct thread *thread)
{
    uint64_t flags = spin_lock_irq(&threads_lock);
    struct spare_stack *spare = thread->stack;
    thread->stack = NULL;
    fifo_push(&spare_stacks, &spare->node);
    bool is_enough = ++spare_stack_count > SPARE_STACKS_MAX;
    spin_unlock_irq(&threads_lock, flags);
    if (is_enough)
        work_queue(&trim_work);
}

static void table_add(struct thread *thread)
{
    SPIN_SCOPED_IRQ(&threads_lock);
    thread->id = thread->priority == PRIORITY_IDLE ? 0 : ++last_id;
    list_push_back(&all_threads, &thread->all_node);
}

/* All fields but wake_node and is_in_wake_batch, which a late waker may be using, and state, which keeps it
 * off (DEAD) until the thread is placed. */
static void thread_reset(struct thread *thread, const char *name, uint8_t priority, uint64_t affinity)
{
    thread->priority = priority;
    thread->was_woken_by_io = false;
    thread->affinity = affinity;
    thread->run_node.next = NULL;
    thread->cpu_ns = thread->switches = 0;
    thread->last_switch_ns = clock_ns();
    thread->plug = NULL;
    thread->stack = NULL;
    thread->entry = NULL;
    thread->argument = NULL;
    thread->exit_status = 0;
    completion_init(&thread->exited);
    thread->references = 2;
    thread->waiting_for = NULL;
    thread->waiting_why = NULL;
    string_copy(thread->name, name, sizeof(thread->name));
#ifdef UMBRA_DEBUG
    thread->held.depth = 0;
#endif
}

void thread_init_special(struct thread *thread, const char *name, uint32_t cpu, uint8_t priority)
{
    thread_reset(thread, name, priority, priority == PRIORITY_IDLE ? 1ull << cpu : UINT64_MAX);
    thread->cpu = cpu;
    thread->state = THREAD_RUNNING;
    table_add(thread);
}

void thread_init(void)
{
    struct run_queue *queue = &run_queues[0];
    assert(cpu_id() == 0 && !thread_current() && !interrupts_are_enabled());
    pool_init(&thread_pool, "thread", sizeof(struct thread), CACHE_LINE_BYTES);
    sched_init_cpu(0);
    thread_init_special(&main_thread, "main", 0, PRIORITY_NORMAL);
    queue->online_since_ns = clock_ns();
    queue->current = &main_thread;
    cpu_write(current, &main_thread);
    __atomic_store_n(&queue->is_online, true, __ATOMIC_RELEASE);
}

static struct thread *thread_allocate(void)
{
    uint64_t flags = spin_lock_irq(&threads_lock);
    struct list *node = list_pop_front(&free_threads);
    spin_unlock_irq(&threads_lock, flags);
    if (node)
        return list_entry(node, struct thread, all_node);
    struct thread *thread = pool_alloc(&thread_pool);
    if (thread) {
        memset(thread, 0, sizeof(*thread));
        thread->state = THREAD_DEAD;
    }
    return thread;
}

static void thread_put(struct thread *thread)
{
    uint32_t before = __atomic_fetch_sub(&thread->references, 1, __ATOMIC_ACQ_REL);
    assert(before == 1 || before == 2);
    if (before != 1)
        return;
    SPIN_SCOPED_IRQ(&threads_lock);
    list_remove(&thread->all_node);
    list_push_back(&free_threads, &thread->all_node);
}

static void thread_begin(void *argument)
{
    struct thread *self = argument;
    sched_thread_begins();
    self->entry(self->argument);
    thread_exit(0);
}

int thread_create(const struct thread_config *config, struct thread **thread)
{
    uint8_t priority = config->priority ? config->priority : PRIORITY_NORMAL;
    assert(priority <= PRIORITY_MAX && config->entry);
    uint64_t affinity = config->affinity ? config->affinity : UINT64_MAX;
    if ((affinity & sched_online_cpus()) == 0)
        return -EINVAL;
    struct thread *new = thread_allocate();
    void *stack = new ? stack_get() : NULL;
    if (!new)
        return -ENOMEM;
    thread_reset(new, config->name, priority, affinity);
    new->stack = stack;
    new->entry = config->entry;
    new->argument = config->argument;
    table_add(new);
    if (!stack) {
        new->references = 1;
        thread_put(new);
        return -ENOMEM;
    }
    context_init(&new->context, (char *)stack + THREAD_STACK_BYTES, thread_begin, new);
    *thread = new; /* before it may run and look there */
    uint64_t flags = interrupts_save();
    write_once(new->cpu, cpu_id());
    write_once(new->state, THREAD_RUNNABLE);
    sched_place(new);
    interrupts_restore(flags);
    if (cpu_read(preempt_count) == 0)
        sched_preempt();
    return 0;
}

noreturn void thread_exit(int status)
{
    struct thread *self = thread_current();
    lockdep_might_sleep("thread_exit");
    assert(self->stack && preempt_is_enabled() && !self->plug);
#ifdef UMBRA_DEBUG
    assert(self->held.depth == 0); /* it would never unlock them */
#endif
    self->exit_status = status;
    interrupts_disable();
    write_once(self->state, THREAD_DEAD);
    sched_exit();
}

void thread_has_left(struct thread *thread)
{
    debug_assert(thread->state == THREAD_DEAD && !is_queued(thread));
    stack_put(thread);
    complete(&thread->exited);
    thread_put(thread);
}

int thread_join(struct thread *thread)
{
    assert(thread != thread_current());
    completion_wait(&thread->exited);
    int status = thread->exit_status;
    thread_put(thread);
    return status;
}

void thread_detach(struct thread *thread)
{
    thread_put(thread);
}

void thread_prepare_sleep(const char *why, const void *object)
{
    struct thread *self = thread_current();
    debug_assert(cpu_read(interrupt_depth) == 0);
    self->waiting_for = object;
    self->waiting_why = why;
    /* A full barrier: the caller's look at its condition comes after this. Pairs with the exchanges in
     * thread_wake's locks and batches, before which the waker has made the condition true. */
    __atomic_exchange_n(&self->state, THREAD_BLOCKED, __ATOMIC_SEQ_CST);
}

void thread_cancel_sleep(void)
{
    write_once(thread_current()->state, THREAD_RUNNING);
}

/* A timer that wakes a sleeper; on the sleeper's stack. */
struct alarm {
    struct timer timer;
    struct thread *thread;
    bool has_rung; /* a */
};

static void alarm_ring(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    __atomic_store_n(&alarm->has_rung, true, __ATOMIC_RELEASE);
    thread_wake(alarm->thread);
}

int sched_sleep_until(uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        sched_sleep();
        return 0;
    }
    struct alarm alarm = {.timer.expired = alarm_ring, .thread = thread_current()};
    timer_start(&alarm.timer, deadline_ns);
    sched_sleep();
    timer_cancel(&alarm.timer); /* from here on nobody uses it */
    return __atomic_load_n(&alarm.has_rung, __ATOMIC_ACQUIRE) ? -ETIMEDOUT : 0;
}

void thread_sleep_until(uint64_t deadline_ns)
{
    while (clock_ns() < deadline_ns) {
        thread_prepare_sleep("sleep", NULL);
        (void)sched_sleep_until(deadline_ns);
    }
}

void thread_sleep_ns(uint64_t ns)
{
    uint64_t now_ns = clock_ns();
    thread_sleep_until(now_ns + MIN(ns, UINT64_MAX - 1 - now_ns));
}

size_t thread_stack_unused(const struct thread *thread)
{
#ifdef UMBRA_DEBUG
    const uint8_t *stack = thread->stack;
    size_t unused = 0;
    while (stack && unused < THREAD_STACK_BYTES && stack[unused] == STACK_PATTERN)
        unused++;
    return unused;
#else
    return 0;
#endif
}

void thread_for_each(void (*each)(const struct thread *thread, void *context), void *context)
{
    SPIN_SCOPED_IRQ(&threads_lock);
    list_foreach (node, &all_threads) {
        each(list_entry(node, struct thread, all_node), context);
    }
}

const char *thread_state_name(uint32_t state)
{
    static const char *const names[] = {
        [THREAD_RUNNABLE] = "runnable",
        [THREAD_RUNNING] = "running",
        [THREAD_BLOCKED] = "blocked",
        [THREAD_DEAD] = "dead",
    };
    return state < ARRAY_SIZE(names) ? names[state] : "?";
}
