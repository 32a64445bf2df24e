/* SPDX-License-Identifier: MIT */
/* Locks, completions, wait queues and work: exclusion, limits, and that no wake-up is lost or wasted. */
#include <kernel/completion.h>
#include <kernel/heap.h>
#include <kernel/mutex.h>
#include <kernel/semaphore.h>
#include <kernel/timer.h>
#include <kernel/work.h>

#include "threads_internal.h"

#define WORKERS 4u
#define SOON_NS (2 * NSEC_PER_MSEC)

/* ---- Spinlocks and mutexes ------------------------------------------------------------------------- */

struct counter {
    struct spinlock spin;
    struct mutex mutex;
    uint64_t value;  /* spin, or mutex */
    uint32_t inside; /* mutex */
    uint32_t rounds; /* I */
};

/* Read, dawdle, write: a second one inside would lose a count. */
static void count_slowly(struct counter *counter)
{
    uint64_t seen = read_once(counter->value);
    for (unsigned i = 0; i < seen % 16; i++)
        cpu_relax();
    write_once(counter->value, seen + 1);
}

static void count_under_spinlock(void *argument)
{
    struct counter *counter = argument;
    for (uint32_t i = 0; i < counter->rounds; i++) {
        SPIN_SCOPED(&counter->spin);
        count_slowly(counter);
    }
}

static void count_under_mutex(void *argument)
{
    struct counter *counter = argument;
    for (uint32_t i = 0; i < counter->rounds; i++) {
        MUTEX_SCOPED(&counter->mutex);
        ktest_expect_equal(++counter->inside, 1);
        if (i % 8 == 0)
            sched_yield(); /* to those who want in */
        count_slowly(counter);
        counter->inside--;
    }
}

static void count_together(void (*entry)(void *), uint32_t rounds)
{
    struct counter counter = {.rounds = rounds};
    struct thread *threads[WORKERS];
    spinlock_init(&counter.spin, "test-counter");
    mutex_init(&counter.mutex, "test-counter-mutex");
    for (unsigned i = 0; i < WORKERS; i++)
        threads[i] = test_spawn(entry, &counter, 0, 0);
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(threads[i]);
    ktest_expect_equal(counter.value, WORKERS * rounds);
}

KTEST(spinlock_excludes, KTEST_FAST)
{
    count_together(count_under_spinlock, 20000);
}

KTEST(mutex_excludes, KTEST_FAST)
{
    count_together(count_under_mutex, 4000);
}

struct holder {
    struct mutex mutex;
    struct completion is_held, may_unlock;
};

static void hold(void *argument)
{
    struct holder *holder = argument;
    mutex_lock(&holder->mutex);
    complete(&holder->is_held);
    completion_wait(&holder->may_unlock);
    mutex_unlock(&holder->mutex);
}

static struct thread *start_holder(struct holder *holder)
{
    mutex_init(&holder->mutex, "test-held-mutex");
    completion_init(&holder->is_held);
    completion_init(&holder->may_unlock);
    struct thread *thread = test_spawn(hold, holder, 0, 0);
    completion_wait(&holder->is_held);
    return thread;
}

KTEST(mutex_lock_gives_up_at_its_deadline, KTEST_FAST)
{
    struct holder holder;
    struct thread *thread = start_holder(&holder);
    uint64_t deadline_ns = clock_ns() + SOON_NS;
    ktest_expect(mutex_lock_until(&holder.mutex, deadline_ns) < 0);
    ktest_expect(clock_ns() >= deadline_ns);
    ktest_expect(!mutex_try_lock(&holder.mutex));
    ktest_expect(!mutex_is_held(&holder.mutex));
    complete(&holder.may_unlock);
    ktest_expect_equal(mutex_lock_until(&holder.mutex, clock_ns() + TEST_LIMIT_NS), 0);
    ktest_expect(mutex_is_held(&holder.mutex));
    mutex_unlock(&holder.mutex);
    ktest_expect(mutex_try_lock(&holder.mutex));
    mutex_unlock(&holder.mutex);
    thread_join(thread);
}

struct greedy {
    struct mutex mutex;
    bool stop; /* a */
};

/* Gives the mutex up only to take it again. */
static void hog(void *argument)
{
    struct greedy *greedy = argument;
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    while (!read_once(greedy->stop) && clock_ns() < limit_ns) {
        mutex_lock(&greedy->mutex);
        for (unsigned i = 0; i < 1000; i++)
            cpu_relax();
        mutex_unlock(&greedy->mutex);
    }
}

KTEST(mutex_starves_nobody, KTEST_FAST)
{
    struct greedy greedy = {.stop = false};
    mutex_init(&greedy.mutex, "test-greedy-mutex");
    struct thread *thread = test_spawn(hog, &greedy, 0, test_stay_here());
    for (int i = 0; i < 3; i++) {
        thread_sleep_ns(NSEC_PER_MSEC);
        ktest_expect_equal(mutex_lock_until(&greedy.mutex, clock_ns() + TEST_LIMIT_NS), 0);
        if (mutex_is_held(&greedy.mutex))
            mutex_unlock(&greedy.mutex);
    }
    write_once(greedy.stop, true);
    thread_join(thread);
}

/* Waiters with limits come and go while the mutex changes hands; a wake-up that one of them swallowed would
 * leave the others asleep with the mutex free. */
static void try_briefly(void *argument)
{
    struct counter *counter = argument;
    for (uint32_t i = 0; i < counter->rounds; i++) {
        if (mutex_lock_until(&counter->mutex, clock_ns() + ktest_random() % (100 * NSEC_PER_USEC)) != 0)
            continue;
        ktest_expect_equal(++counter->inside, 1);
        thread_sleep_ns(ktest_random() % (50 * NSEC_PER_USEC));
        counter->inside--;
        mutex_unlock(&counter->mutex);
    }
}

KTEST(mutex_limits_lose_no_wakeup, KTEST_FAST)
{
    struct counter counter = {.rounds = 300};
    struct thread *threads[WORKERS];
    mutex_init(&counter.mutex, "test-brief-mutex");
    for (unsigned i = 0; i < WORKERS; i++)
        threads[i] = test_spawn(try_briefly, &counter, 0, 0);
    for (unsigned i = 0; i < 200; i++) {
        int result = mutex_lock_until(&counter.mutex, clock_ns() + TEST_LIMIT_NS);
        ktest_expect_equal(result, 0);
        if (result != 0)
            break;
        mutex_unlock(&counter.mutex);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(threads[i]);
    ktest_expect(!counter.mutex.owner && list_is_empty(&counter.mutex.waiters.waiters));
}

/* ---- Semaphores, conditions ------------------------------------------------------------------------ */

struct channel {
    struct semaphore full, empty;
    uint32_t slots[4];
    uint64_t sum;
};

#define MESSAGES 5000u

static void produce(void *argument)
{
    struct channel *channel = argument;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        semaphore_down(&channel->empty);
        channel->slots[i % ARRAY_SIZE(channel->slots)] = i;
        semaphore_up(&channel->full);
    }
}

KTEST(semaphore_counts, KTEST_FAST)
{
    struct channel channel = {.sum = 0};
    semaphore_init(&channel.full, 0);
    semaphore_init(&channel.empty, ARRAY_SIZE(channel.slots));
    struct thread *thread = test_spawn(produce, &channel, 0, 0);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        semaphore_down(&channel.full);
        channel.sum += channel.slots[i % ARRAY_SIZE(channel.slots)];
        semaphore_up(&channel.empty);
    }
    thread_join(thread);
    ktest_expect_equal(channel.sum, (uint64_t)MESSAGES * (MESSAGES - 1) / 2);
    ktest_expect(!semaphore_try_down(&channel.full));
    ktest_expect(semaphore_down_until(&channel.full, clock_ns() + SOON_NS) < 0);
    semaphore_up(&channel.full);
    ktest_expect_equal(semaphore_down_until(&channel.full, clock_ns() + SOON_NS), 0);
}

struct gate {
    struct mutex mutex;
    struct condition condition;
    bool is_open;     /* mutex */
    uint32_t waiting; /* mutex to write */
    uint32_t passed;  /* mutex */
};

static void pass(void *argument)
{
    struct gate *gate = argument;
    MUTEX_SCOPED(&gate->mutex);
    gate->waiting++;
    while (!gate->is_open)
        condition_wait(&gate->condition, &gate->mutex);
    gate->passed++;
}

static void open_gate(struct gate *gate)
{
    MUTEX_SCOPED(&gate->mutex);
    gate->is_open = true;
    ktest_expect_equal(gate->passed, 0);
    condition_broadcast(&gate->condition);
}

KTEST(condition_broadcast_wakes_all, KTEST_FAST)
{
    struct gate gate = {.is_open = false};
    struct thread *threads[WORKERS];
    mutex_init(&gate.mutex, "test-gate");
    condition_init(&gate.condition);
    for (unsigned i = 0; i < WORKERS; i++)
        threads[i] = test_spawn(pass, &gate, 0, 0);
    ktest_expect(test_wait_for_count(&gate.waiting, WORKERS));
    open_gate(&gate); /* the mutex is free only when the last of them waits */
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(threads[i]);
    ktest_expect_equal(gate.passed, WORKERS);
}

KTEST(condition_wait_has_a_limit, KTEST_FAST)
{
    struct gate gate = {.is_open = false};
    mutex_init(&gate.mutex, "test-gate");
    condition_init(&gate.condition);
    condition_signal(&gate.condition); /* to nobody: not kept */
    mutex_lock(&gate.mutex);
    uint64_t deadline_ns = clock_ns() + SOON_NS;
    int result = 0;
    while (result == 0 && clock_ns() < deadline_ns + TEST_LIMIT_NS) /* early returns are allowed */
        result = condition_wait_until(&gate.condition, &gate.mutex, deadline_ns);
    ktest_expect(result < 0);
    ktest_expect(mutex_is_held(&gate.mutex));
    mutex_unlock(&gate.mutex);
}

/* ---- Wait queues ----------------------------------------------------------------------------------- */

struct queueing {
    struct wait_queue queue;
    uint32_t tickets; /* a */
    uint32_t served;  /* a */
};

static bool take_ticket(struct queueing *queueing)
{
    uint32_t tickets = __atomic_load_n(&queueing->tickets, __ATOMIC_RELAXED);
    while (tickets != 0)
        if (__atomic_compare_exchange_n(&queueing->tickets, &tickets, tickets - 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

static void queue_up(void *argument)
{
    struct queueing *queueing = argument;
    wait_event(&queueing->queue, take_ticket(queueing));
    __atomic_fetch_add(&queueing->served, 1, __ATOMIC_RELAXED);
}

/* Hazard 18: two wakes, however close, wake two. */
KTEST(wait_queue_wakes_as_many_as_asked, KTEST_FAST)
{
    struct queueing queueing = {.tickets = 0};
    struct thread *threads[WORKERS];
    wait_queue_init(&queueing.queue);
    ktest_expect_equal(wait_wake_all(&queueing.queue), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        threads[i] = test_spawn(queue_up, &queueing, 0, 0);
        ktest_expect(test_wait_until_asleep(threads[i]));
    }
    preempt_disable(); /* so that none of them runs between */
    __atomic_store_n(&queueing.tickets, 2, __ATOMIC_RELEASE);
    ktest_expect_equal(wait_wake(&queueing.queue, 1), 1);
    ktest_expect_equal(wait_wake(&queueing.queue, 1), 1);
    preempt_enable();
    ktest_expect(test_wait_for_count(&queueing.served, 2));
    __atomic_store_n(&queueing.tickets, WORKERS - 2, __ATOMIC_RELEASE);
    ktest_expect_equal(wait_wake_all(&queueing.queue), WORKERS - 2);
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(threads[i]);
    ktest_expect(list_is_empty(&queueing.queue.waiters));
}

KTEST(wait_event_has_a_limit, KTEST_FAST)
{
    struct wait_queue queue;
    wait_queue_init(&queue);
    uint64_t deadline_ns = clock_ns() + SOON_NS;
    ktest_expect(wait_event_until(&queue, false, deadline_ns) < 0);
    ktest_expect(clock_ns() >= deadline_ns);
    ktest_expect_equal(wait_event_until(&queue, clock_ns() > deadline_ns, deadline_ns), 0);
    ktest_expect(list_is_empty(&queue.waiters));
}

/* ---- Completions ----------------------------------------------------------------------------------- */

#define MAILS 2000u

struct post {
    struct completion *mail; /* a: NULL: none */
    bool stop;               /* a */
};

static void deliver(void *argument)
{
    struct post *post = argument;
    while (!read_once(post->stop)) {
        struct completion *mail = __atomic_exchange_n(&post->mail, NULL, __ATOMIC_ACQUIRE);
        if (mail)
            complete(mail);
        else
            sched_yield();
    }
}

/* The waiter frees the completion as soon as it is done: debug builds see a write after that. */
KTEST(completion_may_be_freed_after_the_wait, KTEST_FAST)
{
    struct post post = {.stop = false};
    struct thread *thread = test_spawn(deliver, &post, 0, 0);
    for (unsigned i = 0; i < MAILS; i++) {
        struct completion *mail = heap_alloc(sizeof(*mail));
        ktest_expect(mail);
        if (!mail)
            break;
        completion_init(mail);
        __atomic_store_n(&post.mail, mail, __ATOMIC_RELEASE);
        completion_wait(mail);
        mail->state = 0x5a5a5a5a5a5a5a5aul; /* as a new owner might */
        ktest_expect_equal(read_once(mail->state), 0x5a5a5a5a5a5a5a5aul);
        heap_free(mail);
    }
    write_once(post.stop, true);
    thread_join(thread);
}

KTEST(completion_before_the_wait_is_kept, KTEST_FAST)
{
    struct completion done;
    completion_init(&done);
    ktest_expect(!completion_is_done(&done));
    ktest_expect(completion_wait_until(&done, clock_ns() + SOON_NS) < 0);
    ktest_expect_equal(done.state, 0); /* nobody is registered any more */
    complete(&done);
    completion_wait(&done);
    ktest_expect_equal(completion_wait_until(&done, 0), 0);
}

/* ---- Work ------------------------------------------------------------------------------------------ */

struct task {
    struct work work;
    struct timer timer;
    uint32_t runs, again; /* a */
};

static void run_task(struct work *work)
{
    struct task *task = container_of(work, struct task, work);
    thread_sleep_ns(100 * NSEC_PER_USEC); /* it may */
    write_once(task->runs, task->runs + 1);
    if (task->again > 0) {
        task->again--;
        ktest_expect(work_queue(work));
    }
}

static void queue_task(struct timer *timer)
{
    work_queue(&container_of(timer, struct task, timer)->work);
}

KTEST(work_runs_once_and_flush_waits, KTEST_FAST)
{
    struct task task = {.work.run = run_task, .timer.expired = queue_task, .again = 1};
    preempt_disable(); /* the worker is more urgent; but another CPU may have it */
    ktest_expect(work_queue(&task.work));
    if (cpu_count() == 1)
        ktest_expect(!work_queue(&task.work));
    preempt_enable();
    work_flush();
    work_flush(); /* it queued itself */
    ktest_expect_equal(task.runs, 2);
    timer_start(&task.timer, clock_ns());
    ktest_expect(test_wait_for_count(&task.runs, 3));
    timer_cancel(&task.timer);
    work_flush();
    ktest_expect_equal(task.runs, 3);
}
