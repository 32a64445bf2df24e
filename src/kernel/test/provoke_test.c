/* SPDX-License-Identifier: MIT */
/* Failures on purpose, one a test: what the kernel says of each is checked from outside
 * (tests/test_panic.py). Those of the second half do harm that only debug builds notice. */
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/panic.h>
#include <kernel/string.h>

#include "threads_internal.h"

static void *kept;

KTEST(provoke_failure, KTEST_PROVOKE)
{
    ktest_expect(ktest_random() == 0);
    ktest_expect_equal(1 + 1, 3);
}

KTEST(provoke_leak, KTEST_PROVOKE)
{
    kept = heap_alloc(100);
}

KTEST(provoke_assertion, KTEST_PROVOKE)
{
    assert(kept == &kept);
}

KTEST(provoke_write_to_text, KTEST_PROVOKE)
{
    *(volatile char *)(uintptr_t)backtrace_print = 0;
}

KTEST(provoke_read_of_nothing, KTEST_PROVOKE)
{
    (void)*(volatile char *)0x1230;
}

KTEST(provoke_execution_of_data, KTEST_PROVOKE)
{
    static const char code[] = "\xc3";
    void (*volatile run)(void) = (void (*)(void))(uintptr_t)code;
    run();
    __asm__ volatile(""); /* it stays a call, which has a return address */
}

static noinline uint64_t recurse(uint64_t depth)
{
    volatile uint64_t frame[32];
    frame[depth % 32] = depth;
    return depth == UINT64_MAX ? 0 : recurse(depth + 1) + frame[depth % 32];
}

KTEST(provoke_stack_overflow, KTEST_PROVOKE)
{
    ktest_expect(recurse(0) != 0);
}

/* Both CPUs panic at once: one report, which has the backtrace of both. */
static uint32_t racers;

static noinline void race_to_panic(void)
{
    __atomic_fetch_add(&racers, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&racers, __ATOMIC_ACQUIRE) < 2)
        cpu_relax();
    panic("raced on purpose");
}

static void race_thread(void *unused)
{
    (void)unused;
    race_to_panic();
}

KTEST(provoke_two_panics, KTEST_PROVOKE | KTEST_SMP)
{
    test_spawn(race_thread, NULL, 0, 1ull << (cpu_id() ^ 1));
    race_to_panic();
}

/* ---- Debug builds
 * ------------------------------------------------------------------------------------------ */

KTEST(provoke_heap_overrun, KTEST_PROVOKE)
{
    volatile char *block = heap_alloc(64);
    if (block)
        block[64] = 1;
    heap_free((void *)block);
}

KTEST(provoke_heap_double_free, KTEST_PROVOKE)
{
    void *block = heap_alloc(64);
    heap_free(block);
    heap_free(block);
}

static volatile int too_much = 40; /* the compiler must not know it */

KTEST(provoke_shift_by_too_much, KTEST_PROVOKE)
{
    /* cppcheck-suppress[shiftTooManyBits,integerOverflow] on purpose */
    ktest_expect((1 << too_much) != 0);
}

static noinline void smash(volatile char *frame, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        frame[i] = 1;
}

static noinline void smashed(void)
{
    char frame[16];
    smash(frame, 48);
}

KTEST(provoke_stack_smash, KTEST_PROVOKE)
{
    smashed();
}
