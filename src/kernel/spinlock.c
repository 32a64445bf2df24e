/* SPDX-License-Identifier: MIT */
/* The slow path of spin_acquire: reads until the lock looks free, then tries. A lock that stays taken for a
 * minute has been lost or waits for its own holder; to say so beats a silent hang. Any context. */
#include <arch/clock.h>
#include <kernel/panic.h>
#include <kernel/spinlock.h>

#define STUCK_NS           (60 * NSEC_PER_SEC)
#define SPINS_BEFORE_CLOCK 65536u

preserve_registers void spin_wait(struct spinlock *lock)
{
    uint64_t start_ns = clock_ns();
    for (uint32_t spins = 1;; spins++) {
        if (!spin_is_locked(lock) && !__atomic_exchange_n(&lock->is_locked, 1, __ATOMIC_ACQUIRE))
            return;
        cpu_relax();
        if (spins % SPINS_BEFORE_CLOCK == 0 && clock_ns() - start_ns > STUCK_NS)
            panic("CPU %u has waited for the spinlock at %p for 60 s", cpu_id(), (void *)lock);
    }
}
