/* SPDX-License-Identifier: MIT */
/* No wake-up is lost, whenever it comes (hazard 17): the kernel's own waiting, single-stepped by the CPU's
 * trap flag, with the interrupt that ends the wait after its first instruction, then after its second, and so
 * on. A sleep that begins after the wake-up and with nothing else to come would be for ever. */
#include <kernel/base/assert.h>
#include <kernel/base/error.h>
#include <kernel/base/list.h>

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "check.h"

/* ---- One CPU with one thread, in place of the kernel's headers ---------------------------------------- */

#define KERNEL_THREAD_H
#define KERNEL_SCHED_H
#define KERNEL_SPINLOCK_H

enum thread_state { THREAD_RUNNABLE, THREAD_RUNNING, THREAD_BLOCKED };
struct completion {
    uintptr_t state;
};
struct thread {
    uint32_t state;
    const void *waiting_for;
    const char *waiting_why;
};
struct spinlock {
    bool is_locked;
};
#define SPINLOCK_INIT(name) \
    {                       \
        false               \
    }

static struct thread thread;
static volatile uint32_t interrupts_off;
static volatile bool is_waiting;

static struct thread *thread_current(void)
{
    return &thread;
}
static bool thread_wake(struct thread *one)
{
    check(one == &thread && is_waiting); /* afterwards it might be gone */
    bool was_blocked = read_once(one->state) == THREAD_BLOCKED;
    if (was_blocked)
        write_once(one->state, THREAD_RUNNING);
    return was_blocked;
}
static void thread_prepare_sleep(const char *why, const void *object)
{
    (void)why, (void)object;
    __atomic_exchange_n(&thread.state, THREAD_BLOCKED, __ATOMIC_SEQ_CST);
}
static void thread_cancel_sleep(void)
{
    write_once(thread.state, THREAD_RUNNING);
}
static void lockdep_might_sleep(const char *what)
{
    (void)what;
    check(interrupts_off == 0);
}
static void spinlock_init(struct spinlock *lock, const char *name)
{
    (void)name;
    lock->is_locked = false;
}
static struct spinlock *lock_irq(struct spinlock *lock)
{
    interrupts_off++;
    check(!lock->is_locked);
    lock->is_locked = true;
    return lock;
}
static void unlock_irq(struct spinlock *const *lock)
{
    (*lock)->is_locked = false;
    interrupts_off--;
}
static uint64_t spin_lock_irq(struct spinlock *lock)
{
    lock_irq(lock);
    return 0;
}
static void spin_unlock_irq(struct spinlock *lock, uint64_t flags)
{
    (void)flags;
    unlock_irq(&lock);
}
#define SPIN_SCOPED_IRQ(l) __attribute__((cleanup(unlock_irq), unused)) struct spinlock *scope = lock_irq(l)

static void sched_sleep(void);
static int sched_sleep_until(uint64_t deadline_ns);

#include "../../src/kernel/completion.h"
#include "../../src/kernel/wait.h"

#include "../../src/kernel/semaphore.h"

#include "../../src/kernel/completion.c"
#include "../../src/kernel/semaphore.c"
#include "../../src/kernel/wait.c"

/* ---- Stepping ----------------------------------------------------------------------------------------- */

#define TRAP_FLAG 0x100

static void (*interrupt)(void); /* ends the wait */
static bool is_early_wake;      /* the first sleep ends by itself, as it may */
static volatile bool is_stepping, has_come, has_come_by_step;
static volatile uint32_t steps, interrupt_at;
static bool is_lost;

static void come(void)
{
    has_come = true;
    interrupts_off++;
    interrupt();
    interrupts_off--;
}

/* After each instruction. An interrupt waits while they are off. */
static void step(int number, siginfo_t *info, void *context)
{
    ucontext_t *interrupted = context;
    (void)number, (void)info;
    if (!is_stepping || has_come) {
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    } else if (steps++ >= interrupt_at && interrupts_off == 0) {
        has_come_by_step = true;
        come();
    }
}

static void set_trap_flag(void)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
                     :
                     : "i"(TRAP_FLAG)
                     : "cc", "memory");
}

/* As leave_cpu: woken since the announcement, or until an interrupt wakes. One that has come already does not
 * come again. */
static void sched_sleep(void)
{
    interrupts_off++;
    if (is_early_wake) {
        is_early_wake = false;
        write_once(thread.state, THREAD_RUNNING);
    }
    if (read_once(thread.state) == THREAD_BLOCKED && !has_come)
        come();
    if (read_once(thread.state) == THREAD_BLOCKED) {
        is_lost = true;
        interrupt(); /* so that the test ends */
        write_once(thread.state, THREAD_RUNNING);
    }
    interrupts_off--;
}

static int sched_sleep_until(uint64_t deadline_ns)
{
    if (deadline_ns == WAIT_FOREVER) {
        sched_sleep();
        return 0;
    }
    write_once(thread.state, THREAD_RUNNING); /* by the timer */
    return -ETIMEDOUT;
}

/* Runs `begin`, then `wait` with an interrupt at each place where one can come. `expect` looks at the
 * outcome. */
static void at_every_step(void (*begin)(void), void (*wait)(void), void (*wake)(void), void (*expect)(void))
{
    interrupt = wake;
    for (unsigned early = 0; early < 2; early++) {
        interrupt_at = 0;
        do {
            is_early_wake = early;
            is_lost = has_come = has_come_by_step = false;
            steps = 0;
            begin();
            is_stepping = is_waiting = true;
            set_trap_flag();
            wait();
            is_stepping = is_waiting = false;
            if (!has_come)
                come();
            expect();
            check(!is_lost && interrupts_off == 0);
            check(read_once(thread.state) == THREAD_RUNNING);
            interrupt_at++;
        } while (has_come_by_step); /* else it is past the end */
        check(interrupt_at > 20);
    }
}

/* ---- Waits -------------------------------------------------------------------------------------------- */

static struct completion done;
static struct semaphore semaphore;
static struct wait_queue queue = WAIT_QUEUE_INIT(queue);
static volatile bool condition;
static int result;

static void begin_completion(void)
{
    completion_init(&done);
}
static void wait_completion(void)
{
    completion_wait(&done);
}
static void wait_completion_until(void)
{
    result = completion_wait_until(&done, 1);
}
static void wake_completion(void)
{
    if (!completion_is_done(&done)) /* or it is the end of a test that has failed */
        complete(&done);
}
static void expect_done(void)
{
    check(completion_is_done(&done));
}
static void expect_done_or_late(void)
{
    check(result == 0 || result == -ETIMEDOUT);
    check(completion_is_done(&done)); /* and not the waiter's name, which complete would have followed */
}

static void test_completion(void)
{
    at_every_step(begin_completion, wait_completion, wake_completion, expect_done);
    at_every_step(begin_completion, wait_completion_until, wake_completion, expect_done_or_late);
}

static void begin_queue(void)
{
    condition = false;
}
static void wait_queue(void)
{
    wait_event(&queue, condition);
}
static void wake_queue(void)
{
    condition = true;
    wait_wake(&queue, 1);
}
static void expect_condition(void)
{
    check(condition && list_is_empty(&queue.waiters));
}

static void test_wait_queue(void)
{
    at_every_step(begin_queue, wait_queue, wake_queue, expect_condition);
}

static void begin_semaphore(void)
{
    semaphore_init(&semaphore, 0);
}
static void wait_semaphore(void)
{
    semaphore_down(&semaphore);
}
static void wait_semaphore_until(void)
{
    result = semaphore_down_until(&semaphore, 1);
}
static void wake_semaphore(void)
{
    semaphore_up(&semaphore);
}
static void expect_down(void)
{
    check(semaphore.count == 0 && list_is_empty(&semaphore.waiters.waiters));
}
static void expect_down_or_late(void)
{
    check_equal(semaphore.count, result == 0 ? 0 : 1); /* the count is not lost with the wait */
}

static void test_semaphore(void)
{
    at_every_step(begin_semaphore, wait_semaphore, wake_semaphore, expect_down);
    at_every_step(begin_semaphore, wait_semaphore_until, wake_semaphore, expect_down_or_late);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    thread.state = THREAD_RUNNING;
    test_completion();
    test_wait_queue();
    test_semaphore();
    return check_finish();
}
