/* SPDX-License-Identifier: MIT */
/* The lock checker, shown each of the mistakes that it is for. Its reports are caught by a hook; what it
 * refused it does not learn, so a test can be repeated, and classes are of the test alone. */
#ifdef UMBRA_DEBUG
#include <arch/lapic.h>
#include <kernel/irq.h>
#include <kernel/mutex.h>
#include <kernel/string.h>

#include "threads_internal.h"

static uint32_t report_count;
static char last_report[256];

static void note_report(const char *text)
{
    string_copy(last_report, text, sizeof(last_report));
    report_count++;
}

/* Between begin and end, reports are counted instead of ending the kernel. */
static void expect_begin(void)
{
    report_count = 0;
    last_report[0] = '\0';
    lockdep_set_report_hook(note_report);
}

static void expect_end(uint32_t count, const char *word)
{
    lockdep_set_report_hook(NULL);
    ktest_expect_equal(report_count, count);
    if (count > 0 && !strstr(last_report, word))
        ktest_fail(__FILE__, __LINE__, "the report should say '%s': %s", word, last_report);
}

static void take_both(struct spinlock *first, struct spinlock *second)
{
    spin_lock(first);
    spin_lock(second);
    spin_unlock(second);
    spin_unlock(first);
}

KTEST(lockdep_reports_an_order_that_closes_a_cycle, KTEST_FAST)
{
    struct spinlock a = SPINLOCK_INIT("test-a"), b = SPINLOCK_INIT("test-b"), c = SPINLOCK_INIT("test-c");
    expect_begin();
    take_both(&a, &b);
    take_both(&b, &c);
    take_both(&a, &c);
    expect_end(0, "");
    expect_begin();
    take_both(&b, &a);
    expect_end(1, "lock order");
    expect_begin();
    take_both(&c, &a); /* by way of b, too */
    expect_end(1, "lock order");
}

KTEST(lockdep_reports_sleeping_locks_out_of_order, KTEST_FAST)
{
    struct mutex a, b;
    mutex_init(&a, "test-mutex-a");
    mutex_init(&b, "test-mutex-b");
    mutex_lock(&a);
    mutex_lock(&b);
    mutex_unlock(&a); /* any order of release */
    mutex_unlock(&b);
    expect_begin();
    mutex_lock(&b);
    bool is_taken = mutex_try_lock(&a); /* cannot deadlock */
    ktest_expect(is_taken);
    if (is_taken)
        mutex_unlock(&a);
    expect_end(0, "");
    expect_begin();
    mutex_lock(&a);
    mutex_unlock(&a);
    mutex_unlock(&b);
    expect_end(1, "lock order");
}

KTEST(lockdep_reports_two_of_a_class, KTEST_FAST)
{
    struct spinlock a = SPINLOCK_INIT("test-twin"), b = SPINLOCK_INIT("test-twin");
    expect_begin();
    take_both(&a, &b);
    expect_end(1, "two locks");
}

KTEST(lockdep_reports_recursion, KTEST_FAST)
{
    struct spinlock a = SPINLOCK_INIT("test-recursive");
    expect_begin();
    spin_lock(&a);
    lockdep_acquire(&a.dep, &a, LOCKDEP_SPIN); /* spin_lock itself would hang here */
    lockdep_release(&a.dep, &a);
    spin_unlock(&a);
    expect_end(1, "recursion");
}

KTEST(lockdep_reports_what_is_not_held, KTEST_FAST)
{
    struct spinlock a = SPINLOCK_INIT("test-not-held");
    expect_begin();
    assert_spin_locked(&a);
    expect_end(1, "should be held");
    expect_begin();
    lockdep_release(&a.dep, &a);
    expect_end(1, "not held");
    expect_begin();
    spin_lock(&a);
    assert_spin_locked(&a);
    spin_unlock(&a);
    expect_end(0, "");
}

/* Takes the lock, or both, in an interrupt. */
struct in_interrupt {
    struct spinlock *first, *second;
    bool is_done; /* a */
};

static bool take_in_interrupt(void *context)
{
    struct in_interrupt *in = context;
    uint64_t flags = spin_lock_irq(in->first);
    spin_unlock_irq(in->first, flags);
    __atomic_store_n(&in->is_done, true, __ATOMIC_RELEASE);
    return true;
}

static void interrupt_takes(struct spinlock *lock)
{
    struct in_interrupt in = {.first = lock};
    struct irq *irq = NULL;
    int result = irq_allocate_msi(0, take_in_interrupt, &in, "test", &irq);
    ktest_expect_equal(result, 0);
    if (result != 0)
        return;
    preempt_disable();
    lapic_send_ipi(0, irq_vector(irq));
    preempt_enable();
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    while (!__atomic_load_n(&in.is_done, __ATOMIC_ACQUIRE) && clock_ns() < limit_ns)
        cpu_relax();
    ktest_expect(in.is_done);
    irq_free(irq);
}

/* Each order of finding out; and the same through a lock that is taken under the interrupt's. */
KTEST(lockdep_reports_interrupt_unsafe_locks, KTEST_FAST)
{
    struct spinlock early = SPINLOCK_INIT("test-irq-early"), late = SPINLOCK_INIT("test-irq-late");
    struct spinlock inner = SPINLOCK_INIT("test-irq-inner"), outer = SPINLOCK_INIT("test-irq-outer");
    interrupt_takes(&early);
    expect_begin();
    spin_lock(&early); /* with interrupts on */
    spin_unlock(&early);
    expect_end(1, "interrupts");

    spin_lock(&late);
    spin_unlock(&late);
    expect_begin();
    interrupt_takes(&late);
    expect_end(1, "interrupts");

    interrupt_takes(&outer);
    uint64_t flags = spin_lock_irq(&outer);
    spin_lock(&inner);
    spin_unlock(&inner);
    spin_unlock_irq(&outer, flags);
    expect_begin();
    spin_lock(&inner);
    spin_unlock(&inner);
    expect_end(1, "while that is held");
}

KTEST(lockdep_reports_sleeping_where_one_must_not, KTEST_FAST)
{
    struct spinlock a = SPINLOCK_INIT("test-sleeping");
    expect_begin();
    lockdep_might_sleep("test");
    expect_end(0, "");
    expect_begin();
    spin_lock(&a);
    lockdep_might_sleep("test");
    spin_unlock(&a);
    expect_end(1, "test-sleeping");
    expect_begin();
    preempt_disable();
    lockdep_might_sleep("test");
    preempt_enable();
    expect_end(1, "preemption off");
    expect_begin();
    uint64_t flags = interrupts_save();
    lockdep_might_sleep("test");
    interrupts_restore(flags);
    expect_end(1, "interrupts off");
}
#else
struct ktest; /* nothing to test in release builds */
#endif
