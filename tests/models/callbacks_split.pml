/* SPDX-License-Identifier: MIT */
/* No wakeup is lost (R5), split ring: when the device completes nothing any more, the handler does not sleep on
 * elements in the used ring. It would be an invalid end state. And callbacks_enable says "more" only when there is
 * more, or the handler would spin.
 *
 *     device    completes, then interrupts if it is asked to, as virtio 1.2, 2.7.7 and 2.7.10 have it
 *     handler   virtio_blk_interrupt: drain_and_enable; vring_split.c's split_callbacks_disable, look and take,
 *               split_callbacks_enable
 *     poller    the same on another CPU, whenever it likes: virtio_blk_poll, virtio_blk_late
 *
 * The device never lacks work, but completes no more than the ring holds: the way there is in kick_split.pml.
 * EVENT_IDX is 0 or 1. Each of these breaks it:
 *     NO_FENCE         the driver looks at the index before its question is out
 *     NO_DEVICE_FENCE  the device looks at the question before its index is out
 *     NO_SECOND_LOOK   the handler leaves without it
 *     NO_QUESTION      (EVENT_IDX) used_event stays as it was made
 *     PLAIN_COMPARE    (EVENT_IDX) the event is passed when the index is greater, wrap or not */
#define HANDLER 0
#define POLLER  1
#define DEVICE  2
#define CPUS    3
#include "split.pml"

#define USED_IDX  0
#define QUESTION  1 /* used_event; without EVENT_IDX avail.flags */
#define INTERRUPT 2
#define LOCK      3
#define LOCATIONS 4
#include "tso.pml"

#if EVENT_IDX
#define wants_interrupt(question, new, old) need_event(question, new, old)
#define suppress()                          skip
#ifdef NO_QUESTION
#define ask(used_next)                      skip
#else
#define ask(used_next)                      store(QUESTION, used_next)
#endif
#else
#define NO_INTERRUPT                        1
#define wants_interrupt(question, new, old) (question != NO_INTERRUPT)
#define suppress()                          store(QUESTION, NO_INTERRUPT)
#define ask(used_next)                      store(QUESTION, 0)
#endif

byte used_next; /* under the lock */
byte completed; /* by the device, not taken yet */
bool stopped;   /* the device completes nothing any more */

inline drain_and_enable()
{
    do
    :: suppress();
       do
       :: atomic {
              load(USED_IDX, index);
              if
              :: index != used_next -> used_next = next_of(used_next); completed--; says_more = false
              :: else -> break
              fi
          }
       od;
       assert(!says_more);
       ask(used_next);
#ifndef NO_FENCE
       fence();
#endif
       atomic {
#ifndef NO_SECOND_LOOK
           load(USED_IDX, index);
#endif
           says_more = (index != used_next);
           if
           :: says_more
           :: else -> break
           fi
       }
    od
}

active proctype handler()
{
    byte cpu = HANDLER, index;
    bool says_more;
    do
    :: signalled(INTERRUPT);
       spin_lock(LOCK);
       drain_and_enable();
       spin_unlock(LOCK)
    :: stopped && completed == 0 -> break
    od
}

active proctype poller()
{
    byte cpu = POLLER, index;
    bool says_more;
    do
    :: spin_lock(LOCK);
       drain_and_enable();
       spin_unlock(LOCK)
    :: break
    od
}

active proctype device()
{
    byte cpu = DEVICE, used_idx, old, question;
    do
    :: completed < SIZE;
       do /* some, then one look at the question */
       :: atomic {
              completed < SIZE && used_idx != (old + SIZE) % INDICES ->
              completed++;
              used_idx = next_of(used_idx);
              store(USED_IDX, used_idx)
          }
       :: used_idx != old -> break
       od;
#ifndef NO_DEVICE_FENCE
       fence();
#endif
       atomic {
           load(QUESTION, question);
           if
           :: wants_interrupt(question, used_idx, old) -> store(INTERRUPT, 1)
           :: else
           fi;
           old = used_idx;
           question = 0
       }
    :: break
    od;
    stopped = true
}
