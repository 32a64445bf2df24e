/* SPDX-License-Identifier: MIT */
/* The scheduler and threads. Tests that count on the order of threads on one CPU pin them there. Where a
 * slice that happens to end would spoil one try, a test tries again: what it looks for, a wrong kernel never
 * does. */
#include <kernel/completion.h>
#include <kernel/heap.h>
#include <kernel/page.h>
#include <kernel/string.h>
#include <kernel/timer.h>
#include <kernel/wait.h>
#include <kernel/work.h>

#include "threads_internal.h"

#define TRIES 10

/* ---- Preemption and priorities --------------------------------------------------------------------- */

struct spinner {
    uint64_t rounds; /* a */
    uint32_t cpu;    /* a: where it was last seen */
    bool stop;       /* a */
};

static void spin(void *argument)
{
    struct spinner *spinner = argument;
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    while (!read_once(spinner->stop) && clock_ns() < limit_ns) {
        write_once(spinner->rounds, spinner->rounds + 1);
        write_once(spinner->cpu, cpu_id());
        cpu_relax();
    }
}

/* Neither yields; both get on. */
KTEST(sched_spinner_does_not_stop_others, KTEST_FAST)
{
    struct spinner spinner = {0};
    struct thread *thread = test_spawn(spin, &spinner, 0, test_stay_here());
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS / 2, changes = 0;
    for (uint64_t seen = 0; changes < 3 && clock_ns() < limit_ns; cpu_relax())
        if (read_once(spinner.rounds) != seen) {
            seen = read_once(spinner.rounds);
            changes++;
        }
    ktest_expect_equal(changes, 3);
    write_once(spinner.stop, true);
    thread_join(thread);
}

struct order {
    uint32_t next; /* a */
    uint32_t place[8];
};
struct runner {
    struct order *order;
    uint32_t place;
};

static void take_place(void *argument)
{
    struct runner *runner = argument;
    runner->place = __atomic_add_fetch(&runner->order->next, 1, __ATOMIC_RELAXED);
}

KTEST(sched_higher_priority_runs_at_once, KTEST_FAST)
{
    struct order order = {0};
    struct runner high = {.order = &order}, low = {.order = &order};
    uint64_t here = test_stay_here();
    struct thread *low_thread = test_spawn(take_place, &low, PRIORITY_LOW, here);
    struct thread *high_thread = test_spawn(take_place, &high, PRIORITY_HIGH, here);
    ktest_expect_equal(read_once(high.place), 1); /* before thread_create returned */
    ktest_expect_equal(read_once(low.place), 0);
    thread_join(low_thread);
    thread_join(high_thread);
    ktest_expect_equal(low.place, 2);
}

KTEST(sched_equal_priority_does_not_preempt, KTEST_FAST)
{
    uint64_t here = test_stay_here();
    bool has_waited = false;
    for (int i = 0; i < TRIES && !has_waited; i++) {
        struct order order = {0};
        struct runner other = {.order = &order};
        sched_yield(); /* a fresh slice */
        struct thread *thread = test_spawn(take_place, &other, 0, here);
        has_waited = read_once(other.place) == 0;
        thread_join(thread);
    }
    ktest_expect(has_waited);
}

KTEST(sched_raised_priority_preempts, KTEST_FAST)
{
    struct order order = {0};
    struct runner low = {.order = &order};
    struct thread *thread = test_spawn(take_place, &low, PRIORITY_LOW, test_stay_here());
    ktest_expect_equal(read_once(low.place), 0);
    thread_set_priority(thread, PRIORITY_HIGH);
    ktest_expect_equal(read_once(low.place), 1);
    thread_join(thread);
}

#define YIELDERS     4
#define YIELD_ROUNDS 1000u

struct yielders {
    uint32_t rounds[YIELDERS];
    uint32_t least_at_end; /* of the others, when the first was done */
    bool is_over;
};
struct yielder {
    struct yielders *all;
    unsigned index;
};

static void yield_often(void *argument)
{
    struct yielder *me = argument;
    struct yielders *all = me->all;
    while (all->rounds[me->index] < YIELD_ROUNDS && !all->is_over) {
        all->rounds[me->index]++;
        sched_yield();
    }
    if (all->is_over)
        return;
    all->is_over = true;
    all->least_at_end = UINT32_MAX;
    for (unsigned i = 0; i < YIELDERS; i++)
        all->least_at_end = MIN(all->least_at_end, all->rounds[i]);
}

KTEST(sched_yield_is_fair, KTEST_FAST)
{
    struct yielders all = {0};
    struct yielder yielders[YIELDERS];
    struct thread *threads[YIELDERS];
    uint64_t here = test_stay_here();
    for (unsigned i = 0; i < YIELDERS; i++) {
        yielders[i] = (struct yielder){.all = &all, .index = i};
        threads[i] = test_spawn(yield_often, &yielders[i], 0, here);
    }
    for (unsigned i = 0; i < YIELDERS; i++)
        thread_join(threads[i]);
    ktest_expect(all.least_at_end >= YIELD_ROUNDS * 9 / 10);
}

/* ---- Life of a thread ------------------------------------------------------------------------------ */

static void exit_with(void *argument)
{
    int status = *(int *)argument;
    if (status != 0)
        thread_exit(status);
}

KTEST(thread_join_returns_the_exit_status, KTEST_FAST)
{
    static const int statuses[] = {0, 42, -5};
    for (unsigned i = 0; i < ARRAY_SIZE(statuses); i++) {
        int status = statuses[i];
        ktest_expect(thread_join(test_spawn(exit_with, &status, 0, 0)) == status);
    }
}

static void count_self(const struct thread *thread, void *context)
{
    unsigned *count = context;
    *count += thread == thread_current() && thread->state == THREAD_RUNNING && thread->id != 0;
}

KTEST(thread_table_lists_each_once, KTEST_FAST)
{
    unsigned count = 0;
    thread_for_each(count_self, &count);
    ktest_expect_equal(count, 1);
    ktest_expect(strcmp(thread_state_name(THREAD_RUNNING), "running") == 0);
}

#define CROWD 16u

static void signal_done(void *argument)
{
    complete(argument);
}

static void count_one(const struct thread *thread, void *context)
{
    *(unsigned *)context += 1;
}

/* A detached thread signals before it is gone, and then leaves its stack, which may be trimmed. */
static void wait_for_the_detached(unsigned threads_before)
{
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    unsigned count = 0;
    thread_for_each(count_one, &count);
    while (count > threads_before && clock_ns() < limit_ns) {
        thread_sleep_ns(NSEC_PER_MSEC);
        count = 0;
        thread_for_each(count_one, &count);
    }
    ktest_expect_equal(count, threads_before);
    work_flush();
}

/* 200 threads, some joined, some detached. */
static void run_crowds(void)
{
    unsigned threads_before = 0;
    thread_for_each(count_one, &threads_before);
    for (unsigned crowd = 0; crowd < 200 / CROWD + 1; crowd++) {
        struct completion done[CROWD];
        struct thread *threads[CROWD];
        for (unsigned i = 0; i < CROWD; i++) {
            completion_init(&done[i]);
            threads[i] = test_spawn(signal_done, &done[i], 0, 0);
            if (i % 2)
                thread_detach(threads[i]);
        }
        for (unsigned i = 0; i < CROWD; i++) {
            completion_wait(&done[i]);
            if (i % 2 == 0)
                thread_join(threads[i]);
        }
    }
    wait_for_the_detached(threads_before);
}

KTEST(thread_create_and_exit_leak_nothing, KTEST_FAST)
{
    struct page_stats before, after;
    run_crowds(); /* fills the spare lists */
    page_stats(&before);
    run_crowds();
    page_stats(&after);
    /* Others allocate too; a leak would be of 200 stacks or structures. */
    ktest_expect(after.free_bytes + CROWD * THREAD_STACK_BYTES >= before.free_bytes);
}

/* ---- Several CPUs ---------------------------------------------------------------------------------- */

static void check_cpu(void *argument)
{
    for (int i = 0; i < 100; i++) {
        ktest_expect_equal(1ull << cpu_id(), *(uint64_t *)argument);
        sched_yield();
    }
}

KTEST(thread_runs_where_its_affinity_says, KTEST_FAST)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        uint64_t affinity = 1ull << cpu;
        thread_join(test_spawn(check_cpu, &affinity, 0, affinity));
        ktest_expect_equal(thread_set_affinity(thread_current(), affinity), 0);
        ktest_expect_equal(cpu_id(), cpu);
    }
    ktest_expect(thread_set_affinity(thread_current(), 1ull << 63) < 0);
    struct thread *nowhere = NULL;
    struct thread_config config = {.name = "nowhere", .entry = check_cpu, .affinity = 1ull << 63};
    ktest_expect(thread_create(&config, &nowhere) < 0);
}

KTEST(thread_moves_while_it_runs_waits_and_sleeps, KTEST_SMP)
{
    struct spinner spinners[2] = {{0}, {0}};
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    test_stay_here();
    uint32_t other = cpu_id() == 0 ? 1 : 0;
    struct thread *threads[2] = {test_spawn(spin, &spinners[0], 0, 1ull << other),
                                 test_spawn(spin, &spinners[1], 0, 1ull << other)};
    ktest_expect_equal(thread_set_affinity(threads[0], 1ull << cpu_id()), 0);
    ktest_expect_equal(thread_set_affinity(threads[1], 1ull << cpu_id()), 0);
    for (unsigned i = 0; i < 2; i++)
        while ((read_once(spinners[i].rounds) == 0 || read_once(spinners[i].cpu) != cpu_id()) &&
               clock_ns() < limit_ns)
            sched_yield();
    for (unsigned i = 0; i < 2; i++) {
        ktest_expect_equal(read_once(spinners[i].cpu), cpu_id());
        write_once(spinners[i].stop, true);
        thread_join(threads[i]);
    }
}

/* Two that compute, both on one CPU: another that has nothing to do takes one. */
KTEST(sched_idle_cpu_steals, KTEST_SMP)
{
    struct spinner spinners[2] = {{0}, {0}};
    uint64_t here = test_stay_here(), limit_ns = clock_ns() + TEST_LIMIT_NS;
    struct thread *threads[2];
    for (unsigned i = 0; i < 2; i++)
        threads[i] = test_spawn(spin, &spinners[i], 0, here);
    for (unsigned i = 0; i < 2; i++)
        ktest_expect_equal(thread_set_affinity(threads[i], UINT64_MAX), 0);
    bool are_apart = false;
    while (!are_apart && clock_ns() < limit_ns) {
        thread_sleep_ns(NSEC_PER_MSEC);
        are_apart = read_once(spinners[0].rounds) > 0 && read_once(spinners[1].rounds) > 0 &&
                    read_once(spinners[0].cpu) != read_once(spinners[1].cpu);
    }
    ktest_expect(are_apart);
    for (unsigned i = 0; i < 2; i++) {
        write_once(spinners[i].stop, true);
        thread_join(threads[i]);
    }
}

KTEST(sched_idle_time_is_halted_time, KTEST_FAST)
{
    struct sched_stats before, after;
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    test_stay_here();
    sched_stats(cpu_id(), &before);
    do { /* others may have work here meanwhile */
        thread_sleep_ns(20 * NSEC_PER_MSEC);
        sched_stats(cpu_id(), &after);
    } while (after.idle_ns - before.idle_ns <= NSEC_PER_MSEC && clock_ns() < limit_ns);
    ktest_expect(after.idle_ns - before.idle_ns > NSEC_PER_MSEC);
    ktest_expect(sched_busy_ns() < clock_ns() * cpu_count());
}

/* S3: who sleeps and wakes with nobody to run between is not switched (somebody may be, now and then), and
 * the halt is not counted as running: the start of what counts moves on by it. */
KTEST(sched_rests_without_a_switch, KTEST_FAST)
{
    const struct thread *self = thread_current();
    unsigned rests = 0;
    test_stay_here();
    for (unsigned i = 0; i < 20; i++) {
        uint64_t switches = self->switches, counted_from_ns = self->last_switch_ns, start_ns = clock_ns();
        thread_sleep_ns(NSEC_PER_MSEC);
        ktest_expect(clock_ns() - start_ns >= NSEC_PER_MSEC);
        rests += self->switches == switches && self->last_switch_ns > counted_from_ns;
    }
    ktest_expect(rests > 0); /* not each time: another thread may come, or the time be over at once */
}

static void rest_and_report(void *argument)
{
    uint32_t *woke_on = argument;
    thread_prepare_sleep("test", woke_on);
    if (read_once(*woke_on) == CPU_MAX)
        (void)sched_sleep_until(clock_ns() + TEST_LIMIT_NS);
    thread_cancel_sleep();
    write_once(*woke_on, cpu_id());
}

/* Its CPU halts on its stack, and yet it must go on elsewhere. */
KTEST(sched_moves_a_resting_thread, KTEST_SMP)
{
    test_stay_here();
    uint32_t here = cpu_id(), there = here == 0 ? 1 : 0, woke_on = CPU_MAX;
    struct thread *thread = test_spawn(rest_and_report, &woke_on, 0, 1ull << there);
    while (read_once(thread->state) != THREAD_BLOCKED)
        thread_sleep_ns(NSEC_PER_MSEC); /* not by moving there: that would end its rest */
    ktest_expect_equal(thread_set_affinity(thread, 1ull << here), 0);
    thread_wake(thread);
    thread_join(thread);
    ktest_expect_equal(woke_on, here);
}

/* ---- Sleeping and waking --------------------------------------------------------------------------- */

struct rescue {
    struct timer timer;
    struct thread *thread;
    bool was_needed; /* a */
};

static void rescue_fires(struct timer *timer)
{
    struct rescue *rescue = container_of(timer, struct rescue, timer);
    write_once(rescue->was_needed, true);
    thread_wake(rescue->thread);
}

/* S2: the wake-up was before the announcement; a switch between announcement and sleep must come back. */
KTEST(sched_switch_while_announced_comes_back, KTEST_FAST)
{
    struct spinner spinner = {0};
    struct rescue rescue = {.timer.expired = rescue_fires, .thread = thread_current()};
    struct thread *thread = test_spawn(spin, &spinner, 0, test_stay_here());
    timer_start(&rescue.timer, clock_ns() + TEST_LIMIT_NS);
    thread_wake(thread_current());
    thread_prepare_sleep("test", NULL);
    sched_yield();
    sched_sleep(); /* called off: returns at once */
    thread_cancel_sleep();
    timer_cancel(&rescue.timer);
    ktest_expect(!rescue.was_needed);
    write_once(spinner.stop, true);
    thread_join(thread);
}

KTEST(sched_wake_after_announcement_is_kept, KTEST_FAST)
{
    /* Many times: some interrupt might end one sleep that should not have begun. */
    for (int i = 0, result = 0; i < 100 && result == 0; i++) {
        thread_prepare_sleep("test", NULL);
        ktest_expect(thread_wake(thread_current()));
        result = sched_sleep_until(clock_ns() + TEST_LIMIT_NS);
        ktest_expect_equal(result, 0);
        ktest_expect(!thread_wake(thread_current())); /* not blocked */
    }
}

#define ROUNDS 20000u

struct rally {
    struct thread *players[2]; /* a */
    uint32_t ball;             /* a: whose turn */
    uint32_t lost;             /* a: sleeps that only their limit ended */
};
struct player {
    struct rally *rally;
    uint32_t me;
};

/* A sleep that runs into its limit has lost its wake-up only if the ball is there. */
static void wait_for_ball(struct rally *rally, uint32_t me)
{
    int result = 0;
    for (;;) {
        thread_prepare_sleep("ball", rally);
        if (__atomic_load_n(&rally->ball, __ATOMIC_ACQUIRE) == me)
            break;
        result = sched_sleep_until(clock_ns() + TEST_LIMIT_NS);
    }
    thread_cancel_sleep();
    if (result != 0)
        __atomic_fetch_add(&rally->lost, 1, __ATOMIC_RELAXED);
}

static void play(void *argument)
{
    struct player *player = argument;
    struct rally *rally = player->rally;
    uint32_t other = 1 - player->me;
    for (uint32_t i = 0; i < ROUNDS && read_once(rally->lost) < 3; i++) {
        wait_for_ball(rally, player->me);
        __atomic_store_n(&rally->ball, other, __ATOMIC_RELEASE);
        struct thread *thread = __atomic_load_n(&rally->players[other], __ATOMIC_ACQUIRE);
        if (thread)
            thread_wake(thread);
    }
}

/* Hazard 17: the wake-up that comes just as the sleeper falls asleep. */
static void play_rally(uint64_t first_cpus, uint64_t second_cpus)
{
    struct rally rally = {.ball = 2};
    struct player players[2] = {{&rally, 0}, {&rally, 1}};
    struct thread *first = test_spawn(play, &players[0], 0, first_cpus);
    struct thread *second = test_spawn(play, &players[1], 0, second_cpus);
    __atomic_store_n(&rally.players[0], first, __ATOMIC_RELEASE);
    __atomic_store_n(&rally.players[1], second, __ATOMIC_RELEASE);
    __atomic_store_n(&rally.ball, 0, __ATOMIC_RELEASE);
    thread_wake(first);
    thread_join(first);
    thread_join(second);
    ktest_expect_equal(rally.lost, 0);
}

KTEST(sched_loses_no_wakeup, KTEST_FAST)
{
    uint64_t here = 1ull << cpu_id();
    play_rally(here, here);
}

KTEST(sched_loses_no_wakeup_across_cpus, KTEST_SMP)
{
    play_rally(1, 2);
}

/* ---- Wake batches ---------------------------------------------------------------------------------- */

#define HERD 32u

struct sleeper {
    struct completion ready;
    bool was_io, has_run; /* a */
    struct thread *thread;
};

static void sleep_once(void *argument)
{
    struct sleeper *me = argument;
    completion_wait(&me->ready);
    me->was_io = thread_current()->was_woken_by_io;
    write_once(me->has_run, true);
}

/* Hazard 18, and all of them at the end rather than one by one. */
KTEST(sched_wake_batch_wakes_the_herd_at_its_end, KTEST_FAST)
{
    struct sleeper *herd = heap_alloc_zeroed(HERD * sizeof(*herd));
    ktest_expect(herd);
    for (unsigned i = 0; herd && i < HERD; i++) {
        completion_init(&herd[i].ready);
        herd[i].thread = test_spawn(sleep_once, &herd[i], PRIORITY_HIGH, 0);
        ktest_expect(test_wait_until_asleep(herd[i].thread));
    }
    preempt_disable();
    sched_wake_batch_begin();
    for (unsigned i = 0; herd && i < HERD; i++) {
        complete(&herd[i].ready);
        thread_wake(herd[i].thread); /* twice in a batch is once */
        ktest_expect_equal(read_once(herd[i].thread->state), THREAD_BLOCKED);
    }
    sched_wake_batch_begin(); /* the inner end is not the end */
    sched_wake_batch_end();
    ktest_expect(herd && read_once(herd[0].thread->state) == THREAD_BLOCKED);
    sched_wake_batch_end();
    preempt_enable();
    for (unsigned i = 0; herd && i < HERD; i++) {
        thread_join(herd[i].thread);
        ktest_expect(herd[i].has_run && herd[i].was_io);
    }
    heap_free(herd);
}
