/* SPDX-License-Identifier: MIT */
/* Counting semaphores. */
#ifndef KERNEL_SEMAPHORE_H
#define KERNEL_SEMAPHORE_H

#include <kernel/wait.h>

struct semaphore {
    uint32_t count; /* a */
    struct wait_queue waiters;
};
void semaphore_init(struct semaphore *semaphore, uint32_t count);
/* Sleeps until it can take one. Thread context. */
void semaphore_down(struct semaphore *semaphore);
must_check int semaphore_down_until(struct semaphore *semaphore, uint64_t deadline_ns);
must_check bool semaphore_try_down(struct semaphore *semaphore);
/* Any context. */
void semaphore_up(struct semaphore *semaphore);

#endif
