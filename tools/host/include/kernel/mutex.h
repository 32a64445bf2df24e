/* SPDX-License-Identifier: MIT */
/* Host stand-in for the kernel's mutexes: one thread, so a mutex is a flag that must not be taken twice. */
#ifndef KERNEL_MUTEX_H
#define KERNEL_MUTEX_H

#include <kernel/spinlock.h>

struct mutex {
    struct spinlock held;
};
#define MUTEX_INIT(mutex, name)     \
    {                               \
        .held = SPINLOCK_INIT(name) \
    }
static inline void mutex_init(struct mutex *mutex, const char *name)
{
    spinlock_init(&mutex->held, name);
}
static inline void mutex_lock(struct mutex *mutex)
{
    spin_lock(&mutex->held);
}
static inline void mutex_unlock(struct mutex *mutex)
{
    spin_unlock(&mutex->held);
}
static inline bool mutex_is_held(const struct mutex *mutex)
{
    return spin_is_locked(&mutex->held);
}
static inline void mutex_scope_end(struct mutex **mutex)
{
    mutex_unlock(*mutex);
}
#define MUTEX_SCOPED(m)                                                        \
    __attribute__((cleanup(mutex_scope_end))) struct mutex *mutex_scope = (m); \
    mutex_lock(mutex_scope)

#endif
