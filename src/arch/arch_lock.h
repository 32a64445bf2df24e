/* SPDX-License-Identifier: MIT */
/* A spinlock for arch itself, which lies below the kernel's (kernel/spinlock.h: per-thread state, lockdep).
 * Taken with interrupts off; held for tens of instructions; nothing is taken inside it. Header only. */
#ifndef ARCH_ARCH_LOCK_H
#define ARCH_ARCH_LOCK_H

#include <arch/cpu.h>
#include <kernel/base/assert.h>

struct arch_lock {
    uint32_t is_locked; /* a */
};

/* Returns what arch_unlock_irq needs. */
must_check static inline uint64_t arch_lock_irq(struct arch_lock *lock)
{
    uint64_t flags = interrupts_save();
    while (__atomic_exchange_n(&lock->is_locked, 1, __ATOMIC_ACQUIRE))
        while (__atomic_load_n(&lock->is_locked, __ATOMIC_RELAXED))
            cpu_relax();
    return flags;
}

static inline void arch_unlock_irq(struct arch_lock *lock, uint64_t flags)
{
    debug_assert(lock->is_locked);
    __atomic_store_n(&lock->is_locked, 0, __ATOMIC_RELEASE);
    interrupts_restore(flags);
}

#endif
