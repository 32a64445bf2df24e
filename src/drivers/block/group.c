/* SPDX-License-Identifier: MIT */
/* Groups: a thread with many requests in flight sleeps until k of them are done. The layer hands over a
 * whole run of completions under one lock with at most one wake (block_group_add_run).
 *
 * Lock: group->lock, irq-safe, a leaf. The reaper may drop the group as soon as it has what it waits for, so
 * nothing of it is touched after the unlock. */
#include "block_internal.h"

void block_group_init(struct block_group *group)
{
    spinlock_init(&group->lock, "block-group");
    fifo_init(&group->done);
    group->done_count = group->wanted = 0;
    group->reaper = NULL;
}

void block_group_add_run(struct block_group *group, struct fifo_node *first, struct fifo_node *last,
                         uint32_t count)
{
    struct thread *reaper = NULL;
    uint64_t flags = spin_lock_irq(&group->lock);
    last->next = NULL;
    *group->done.tail = first;
    group->done.tail = &last->next;
    write_once(group->done_count, group->done_count + count);
    if (group->wanted && group->done_count >= group->wanted) {
        reaper = group->reaper;
        group->wanted = 0; /* one wake */
    }
    spin_unlock_irq(&group->lock, flags);
    if (reaper)
        thread_wake(reaper);
}

void block_group_done(struct block_request *request)
{
    block_group_add_run(request->owner, &request->node, &request->node, 1);
}

static void sleep_until_done(struct block_group *group, uint32_t at_least)
{
    for (;;) {
        thread_prepare_sleep("block group", group);
        if (read_once(group->done_count) >= at_least)
            break;
        sched_sleep();
    }
    thread_cancel_sleep();
}

uint32_t block_group_reap(struct block_group *group, uint32_t at_least, struct fifo *finished)
{
    assert(!block_in_interrupt());
    block_plug_flush_own();
    uint64_t flags = spin_lock_irq(&group->lock);
    if (group->done_count < at_least) {
        assert(group->wanted == 0); /* one reaper */
        group->wanted = at_least;
        group->reaper = thread_current();
        spin_unlock_irq(&group->lock, flags);
        sleep_until_done(group, at_least);
        flags = spin_lock_irq(&group->lock);
        group->wanted = 0;
    }
    uint32_t count = group->done_count;
    write_once(group->done_count, 0);
    fifo_append(finished, &group->done);
    spin_unlock_irq(&group->lock, flags);
    assert(count >= at_least);
    return count;
}
