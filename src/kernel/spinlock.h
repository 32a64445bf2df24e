/* SPDX-License-Identifier: MIT */
/* Spinlocks: test and test-and-set. Hold them for tens of instructions; never sleep with one held.
 *
 * spin_lock: for data that no interrupt handler touches; preemption is off while it is held.
 * spin_lock_irq: for data shared with interrupt handlers; interrupts of this CPU are off while it is held.
 * Debug builds check order, owner and interrupt-safety by the lock's name (kernel/lockdep.h). */
#ifndef KERNEL_SPINLOCK_H
#define KERNEL_SPINLOCK_H

#include <kernel/lockdep.h>
#include <kernel/preempt.h>

struct spinlock {
    uint32_t is_locked; /* a */
    struct lockdep_key dep;
};

/* `name` is the lock's class: a literal, one for all locks that play the same part. */
#define SPINLOCK_INIT(name)                      \
    {                                            \
        .is_locked = 0, .dep = LOCKDEP_KEY(name) \
    }
static inline void spinlock_init(struct spinlock *lock, const char *name)
{
    (void)name;
    *lock = (struct spinlock)SPINLOCK_INIT(name);
}

/* Spins until it is free, and takes it. Not for callers: see below. It saves all registers itself, so that
 * the path on which the lock is free need not. */
preserve_registers void spin_wait(struct spinlock *lock);

static always_inline void spin_acquire(struct spinlock *lock)
{
    if (unlikely(__atomic_exchange_n(&lock->is_locked, 1, __ATOMIC_ACQUIRE)))
        spin_wait(lock);
}

static always_inline bool spin_is_locked(const struct spinlock *lock)
{
    return __atomic_load_n(&lock->is_locked, __ATOMIC_RELAXED) != 0;
}

static always_inline void spin_lock(struct spinlock *lock)
{
    preempt_disable();
    lockdep_acquire(&lock->dep, lock, LOCKDEP_SPIN);
    spin_acquire(lock);
}

static always_inline void spin_unlock(struct spinlock *lock)
{
    lockdep_release(&lock->dep, lock);
    __atomic_store_n(&lock->is_locked, 0, __ATOMIC_RELEASE);
    preempt_enable();
}

/* For an interrupt handler, or whoever else has interrupts off already and leaves them off. */
static always_inline void spin_lock_interrupts_off(struct spinlock *lock)
{
    lockdep_acquire(&lock->dep, lock, LOCKDEP_SPIN_IRQ);
    spin_acquire(lock);
}
static always_inline void spin_unlock_interrupts_off(struct spinlock *lock)
{
    lockdep_release(&lock->dep, lock);
    __atomic_store_n(&lock->is_locked, 0, __ATOMIC_RELEASE);
}

/* False: somebody has it. Never waits, so it teaches lockdep no order. Interrupts are off. */
must_check static always_inline bool spin_try_lock_interrupts_off(struct spinlock *lock)
{
    if (__atomic_exchange_n(&lock->is_locked, 1, __ATOMIC_ACQUIRE))
        return false;
    lockdep_acquire_at(&lock->dep, lock, LOCKDEP_SPIN_IRQ, true, __builtin_return_address(0));
    return true;
}

/* Returns what spin_unlock_irq needs. */
must_check static always_inline uint64_t spin_lock_irq(struct spinlock *lock)
{
    uint64_t flags = interrupts_save();
    spin_lock_interrupts_off(lock);
    return flags;
}

/* A reschedule that was wanted meanwhile happens here when nothing else holds it off. */
static always_inline void spin_unlock_irq(struct spinlock *lock, uint64_t flags)
{
    spin_unlock_interrupts_off(lock);
    if (interrupts_were_enabled(flags)) {
        interrupts_enable();
        if (unlikely(cpu_read(preempt_count) == 0))
            sched_preempt();
    }
}

/* In debug builds: held by this CPU. */
#define assert_spin_locked(lock) lockdep_assert_held(&(lock)->dep, (lock))

/* Scope-bound: SPIN_SCOPED(&x->lock); or SPIN_SCOPED_IRQ(&x->lock); until the end of the block. */
struct spin_scope {
    struct spinlock *lock;
    uint64_t flags;
};
static inline void spin_scope_end(struct spin_scope *scope)
{
    spin_unlock(scope->lock);
}
static inline void spin_scope_end_irq(struct spin_scope *scope)
{
    spin_unlock_irq(scope->lock, scope->flags);
}
#define SPIN_SCOPED(l)                                                                      \
    __attribute__((cleanup(spin_scope_end))) struct spin_scope spin_scope_plain = {(l), 0}; \
    spin_lock(spin_scope_plain.lock)
#define SPIN_SCOPED_IRQ(l)                                                                    \
    __attribute__((cleanup(spin_scope_end_irq))) struct spin_scope spin_scope_irq = {(l), 0}; \
    spin_scope_irq.flags = spin_lock_irq(spin_scope_irq.lock)

#endif
