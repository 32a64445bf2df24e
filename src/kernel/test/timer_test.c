/* SPDX-License-Identifier: MIT */
/* Timers. */
#include <kernel/timer.h>
#include <kernel/heap.h>

#include "threads_internal.h"

#define TIMERS  200u
#define SOON_NS (2 * NSEC_PER_MSEC)

struct shot {
    struct timer timer;
    uint32_t *fired; /* a: how many before */
    uint32_t place;
    uint64_t fired_ns;
};

static void note_shot(struct timer *timer)
{
    struct shot *shot = container_of(timer, struct shot, timer);
    shot->fired_ns = clock_ns();
    shot->place = __atomic_add_fetch(shot->fired, 1, __ATOMIC_RELEASE);
}

/* The last started is the first due; the hardware has to follow. */
KTEST(timer_fires_in_order_and_not_early, KTEST_FAST)
{
    uint32_t fired = 0;
    struct shot shots[3];
    test_stay_here();
    uint64_t flags = interrupts_save(); /* all are started before one fires */
    uint64_t start_ns = clock_ns();
    for (uint32_t i = 0; i < 3; i++) {
        shots[i] = (struct shot){.timer.expired = note_shot, .fired = &fired};
        timer_start(&shots[i].timer, start_ns + (3 - i) * SOON_NS);
    }
    interrupts_restore(flags);
    ktest_expect(test_wait_for_count(&fired, 3));
    for (uint32_t i = 0; i < 3; i++) {
        ktest_expect_equal(shots[i].place, 3 - i);
        ktest_expect(shots[i].fired_ns >= start_ns + (3 - i) * SOON_NS);
    }
}

/* Deadlines at random, a third of them cancelled: the rest fire, by deadline. */
static void fire_many(struct shot *shots)
{
    uint32_t fired = 0, cancelled = 0;
    uint64_t flags = interrupts_save(), start_ns = clock_ns() + SOON_NS;
    for (uint32_t i = 0; i < TIMERS; i++) {
        shots[i] = (struct shot){.timer.expired = note_shot, .fired = &fired};
        timer_start(&shots[i].timer, start_ns + (ktest_random() % TIMERS) * 100 * NSEC_PER_USEC);
        if (i % 3 == 1)
            timer_start(&shots[i - 1].timer, start_ns + (ktest_random() % TIMERS) * 100 * NSEC_PER_USEC);
        if (i % 3 == 2)
            cancelled += timer_cancel(&shots[i - 1].timer);
    }
    interrupts_restore(flags);
    ktest_expect(test_wait_for_count(&fired, TIMERS - cancelled));
    ktest_expect(cancelled > 0);
    for (uint32_t i = 0; i < TIMERS; i++)
        for (uint32_t k = 0; k < i; k++)
            if (shots[i].place && shots[k].place && shots[i].timer.deadline_ns < shots[k].timer.deadline_ns)
                ktest_expect(shots[i].place < shots[k].place);
}

KTEST(timer_heap_keeps_the_order_of_many, KTEST_FAST)
{
    struct shot *shots = heap_alloc(TIMERS * sizeof(*shots));
    test_stay_here();
    ktest_expect(shots);
    if (shots)
        fire_many(shots);
    heap_free(shots);
}

KTEST(timer_cancelled_does_not_fire, KTEST_FAST)
{
    uint32_t fired = 0;
    struct shot shot = {.timer.expired = note_shot, .fired = &fired};
    ktest_expect(!timer_cancel(&shot.timer)); /* never started */
    uint64_t flags = interrupts_save();       /* or it may be due before it is cancelled */
    timer_start(&shot.timer, clock_ns() + SOON_NS);
    bool was_pending = timer_cancel(&shot.timer);
    interrupts_restore(flags);
    ktest_expect(was_pending);
    thread_sleep_ns(3 * SOON_NS);
    ktest_expect_equal(fired, 0);
    timer_start(&shot.timer, clock_ns() + TEST_LIMIT_NS); /* restarted, earlier */
    timer_start(&shot.timer, clock_ns() + SOON_NS);
    ktest_expect(test_wait_for_count(&fired, 1));
    ktest_expect(!timer_cancel(&shot.timer));
    timer_start(&shot.timer, 0); /* long ago: at once */
    ktest_expect(test_wait_for_count(&fired, 2));
}

struct ticker {
    struct timer timer;
    uint32_t ticks; /* a */
};

static void tick(struct timer *timer)
{
    struct ticker *ticker = container_of(timer, struct ticker, timer);
    if (__atomic_add_fetch(&ticker->ticks, 1, __ATOMIC_RELEASE) < 5)
        timer_start(timer, clock_ns() + 100 * NSEC_PER_USEC);
}

/* Awake all the time, so that no sleep's timer helps. */
KTEST(timer_that_is_earlier_moves_the_hardware, KTEST_FAST)
{
    uint32_t fired = 0;
    struct shot late = {.timer.expired = note_shot, .fired = &fired};
    struct shot soon = {.timer.expired = note_shot, .fired = &fired};
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    test_stay_here();
    timer_start(&late.timer, clock_ns() + 10 * TEST_LIMIT_NS);
    timer_start(&soon.timer, clock_ns() + SOON_NS);
    while (read_once(fired) == 0 && clock_ns() < limit_ns)
        cpu_relax();
    ktest_expect_equal(soon.place, 1);
    ktest_expect(timer_cancel(&late.timer));
    timer_cancel(&soon.timer);
}

KTEST(timer_may_restart_itself, KTEST_FAST)
{
    struct ticker ticker = {.timer.expired = tick};
    timer_start(&ticker.timer, clock_ns());
    ktest_expect(test_wait_for_count(&ticker.ticks, 5));
    ktest_expect(!timer_cancel(&ticker.timer));
}

KTEST(thread_sleeps_no_shorter_than_asked, KTEST_FAST)
{
    for (uint64_t ns = NSEC_PER_USEC; ns <= 10 * NSEC_PER_MSEC; ns *= 10) {
        uint64_t start_ns = clock_ns();
        thread_sleep_ns(ns);
        ktest_expect(clock_ns() - start_ns >= ns);
    }
    thread_sleep_until(0);
}

#define ROUNDS 100u
#define DUELS  16u /* a round: many, as the CPUs wait for each other only between rounds */

struct duels {
    struct duel {
        struct timer timer;
        struct duels *all;
        bool is_dead; /* a: cancelled, so `expired` must not run */
    } duels[DUELS];
    uint32_t fired;          /* a */
    uint32_t too_late;       /* a */
    uint32_t armed, settled; /* a: rounds begun and done */
};

static void duel_fires(struct timer *timer)
{
    struct duel *duel = container_of(timer, struct duel, timer);
    for (int i = 0; i < 50; i++)
        cpu_relax();
    if (read_once(duel->is_dead))
        __atomic_fetch_add(&duel->all->too_late, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&duel->all->fired, 1, __ATOMIC_RELAXED);
}

static void arm_duels(void *argument)
{
    struct duels *all = argument;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (uint32_t i = 0; i < DUELS; i++) {
            write_once(all->duels[i].is_dead, false);
            timer_start(&all->duels[i].timer, clock_ns() + ktest_random() % (DUELS * 5 * NSEC_PER_USEC));
        }
        __atomic_store_n(&all->armed, round, __ATOMIC_RELEASE);
        while (__atomic_load_n(&all->settled, __ATOMIC_ACQUIRE) != round)
            cpu_relax();
    }
}

/* How many were cancelled. */
static uint32_t cancel_duels(struct duels *all)
{
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < DUELS; i++) {
        for (uint64_t spins = ktest_random() % 256; spins > 0; spins--)
            cpu_relax();
        cancelled += timer_cancel(&all->duels[i].timer);
        write_once(all->duels[i].is_dead, true);
    }
    return cancelled;
}

/* One CPU arms, another cancels at about the time that they fire. After timer_cancel a timer neither fires
 * nor is in the middle of it. */
KTEST(timer_cancel_from_another_cpu_waits, KTEST_SMP)
{
    struct duels all = {.fired = 0};
    uint32_t cancelled = 0;
    int result = thread_set_affinity(thread_current(), 1);
    ktest_expect_equal(result, 0);
    for (uint32_t i = 0; i < DUELS; i++)
        all.duels[i] = (struct duel){.timer.expired = duel_fires, .all = &all};
    struct thread *thread = test_spawn(arm_duels, &all, 0, 2);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        while (__atomic_load_n(&all.armed, __ATOMIC_ACQUIRE) != round)
            cpu_relax();
        cancelled += cancel_duels(&all);
        __atomic_store_n(&all.settled, round, __ATOMIC_RELEASE);
    }
    thread_join(thread);
    ktest_expect_equal(all.too_late, 0);
    ktest_expect_equal(all.fired + cancelled, ROUNDS * DUELS);
}
