/* SPDX-License-Identifier: MIT */
/* Host stand-in for the kernel's spinlocks: one thread, so a lock is a flag that must not be taken twice.
 * What another CPU might do as soon as a lock is free, a test does in host_unlocked. */
#ifndef KERNEL_SPINLOCK_H
#define KERNEL_SPINLOCK_H

#include <kernel/base/assert.h>

struct spinlock {
    bool is_locked;
};
extern void (*host_unlocked)(struct spinlock *lock);
#define SPINLOCK_INIT(name) \
    {                       \
        false               \
    }
static inline void spinlock_init(struct spinlock *lock, const char *name)
{
    (void)name;
    lock->is_locked = false;
}
static inline void spin_lock(struct spinlock *lock)
{
    assert(!lock->is_locked);
    lock->is_locked = true;
}
static inline void spin_unlock(struct spinlock *lock)
{
    assert(lock->is_locked);
    lock->is_locked = false;
    if (host_unlocked)
        host_unlocked(lock);
}
static inline void spin_lock_interrupts_off(struct spinlock *lock)
{
    spin_lock(lock);
}
static inline void spin_unlock_interrupts_off(struct spinlock *lock)
{
    spin_unlock(lock);
}
static inline bool spin_try_lock_interrupts_off(struct spinlock *lock)
{
    if (lock->is_locked)
        return false;
    spin_lock(lock);
    return true;
}
static inline uint64_t spin_lock_irq(struct spinlock *lock)
{
    spin_lock(lock);
    return 0;
}
static inline void spin_unlock_irq(struct spinlock *lock, uint64_t flags)
{
    (void)flags;
    spin_unlock(lock);
}
static inline bool spin_is_locked(const struct spinlock *lock)
{
    return lock->is_locked;
}
#define assert_spin_locked(lock) assert((lock)->is_locked)

struct spin_scope {
    struct spinlock *lock;
};
static inline void spin_scope_end(struct spin_scope *scope)
{
    spin_unlock(scope->lock);
}
#define SPIN_SCOPED(l)                                                                   \
    __attribute__((cleanup(spin_scope_end))) struct spin_scope spin_scope_plain = {(l)}; \
    spin_lock(spin_scope_plain.lock)
#define SPIN_SCOPED_IRQ(l) SPIN_SCOPED(l)

#endif
