/* SPDX-License-Identifier: MIT */
/* What the tests of threads, locks, timers and interrupts share. */
#ifndef KERNEL_TEST_THREADS_INTERNAL_H
#define KERNEL_TEST_THREADS_INTERNAL_H

#include <arch/clock.h>
#include <kernel/sched.h>
#include <kernel/test.h>
#include <kernel/thread.h>

/* Long enough for any host; a test that waits this long has failed. */
#define TEST_LIMIT_NS (5 * NSEC_PER_SEC)

/* `priority` and `affinity` 0: the defaults. A failure ends the kernel: the tests need few threads. */
static inline struct thread *test_spawn(void (*entry)(void *), void *argument, uint8_t priority,
                                        uint64_t affinity)
{
    struct thread_config config = {
        .name = "test", .entry = entry, .argument = argument, .priority = priority, .affinity = affinity};
    struct thread *thread = NULL;
    int result = thread_create(&config, &thread);
    assert(result == 0 && thread);
    return thread;
}

/* Keeps the test on the CPU that it runs on, and returns that CPU's bit. */
static inline uint64_t test_stay_here(void)
{
    uint64_t here = 1ull << cpu_id();
    int result = thread_set_affinity(thread_current(), here);
    assert(result == 0);
    return here;
}

/* Goes to where `thread` is and sleeps there until it does. That it is BLOCKED may only mean that it
 * announced a sleep, which it would call off (kernel/sched.c, S1); not while the caller has the CPU that it
 * belongs to. */
static inline bool test_wait_until_asleep(const struct thread *thread)
{
    uint64_t affinity = thread_current()->affinity, limit_ns = clock_ns() + TEST_LIMIT_NS;
    bool is_asleep = false;
    while (!is_asleep && clock_ns() < limit_ns) {
        thread_sleep_ns(100 * NSEC_PER_USEC);
        int result = thread_set_affinity(thread_current(), 1ull << read_once(thread->cpu));
        assert(result == 0);
        is_asleep = read_once(thread->state) == THREAD_BLOCKED && read_once(thread->cpu) == cpu_id();
    }
    int result = thread_set_affinity(thread_current(), affinity);
    assert(result == 0);
    return is_asleep;
}

/* Sleeps until `*count` has come to `wanted`; false when it does not, or is beyond it. */
static inline bool test_wait_for_count(const uint32_t *count, uint32_t wanted)
{
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < wanted && clock_ns() < limit_ns)
        thread_sleep_ns(100 * NSEC_PER_USEC);
    return read_once(*count) == wanted;
}

#endif
