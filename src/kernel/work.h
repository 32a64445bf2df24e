/* SPDX-License-Identifier: MIT */
/* Work: calls made later by a kernel thread, for interrupt handlers and timers that need to sleep. */
#ifndef KERNEL_WORK_H
#define KERNEL_WORK_H

#include <kernel/base/list.h>

struct work {
    struct fifo_node node;
    void (*run)(struct work *work); /* thread context, may sleep; may queue itself again */
    uint32_t is_queued;             /* a */
};

void work_init(void);
/* Queues it unless it is queued already (true when it was not). Any context. */
bool work_queue(struct work *work);
/* Sleeps until everything queued before has run. */
void work_flush(void);

#endif
