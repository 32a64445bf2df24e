/* SPDX-License-Identifier: MIT */
/* No wakeup is lost (R5), packed ring: when the device completes nothing any more, the handler does not sleep on
 * used descriptors. It would be an invalid end state. And callbacks_enable says "more" only when there is more, or
 * the handler would spin.
 *
 *     device    completes, then interrupts if it is asked to, as virtio 1.2, 2.8.10 and 2.8.22 have it
 *     handler   virtio_blk_interrupt: drain_and_enable; vring_packed.c's packed_callbacks_disable, packed_look and get,
 *               packed_callbacks_enable
 *     poller    the same on another CPU, whenever it likes: virtio_blk_poll, virtio_blk_late
 *
 * The device never lacks work, but completes no more than the ring holds: the way there is in kick_packed.pml.
 * EVENT_IDX is 0 or 1. Each of these breaks it:
 *     NO_FENCE         the driver looks at the descriptor before its question is out
 *     NO_DEVICE_FENCE  the device looks at the question before its descriptors are out
 *     NO_SECOND_LOOK   the handler leaves without it
 *     WRONG_WRAP       the second look takes a used descriptor of either lap
 *     WRONG_QUESTION   (EVENT_IDX) the question keeps the first lap's wrap counter
 *     PLAIN_COMPARE    (EVENT_IDX) the event is passed when the next position is greater, wrap or not
 *     ONE_LAP          (EVENT_IDX) the event's wrap counter is left out */
#define HANDLER 0
#define POLLER  1
#define DEVICE  2
#define CPUS    3
#include "packed.pml"

#define DESCRIPTOR(position) offset(position)
#define QUESTION             SIZE /* the driver's event suppression */
#define INTERRUPT            (SIZE + 1)
#define LOCK                 (SIZE + 2)
#define LOCATIONS            (SIZE + 3)
#include "tso.pml"

#if EVENT_IDX == 0
#define ask(used_at) store(QUESTION, EVENT(ENABLE))
#elif defined(WRONG_QUESTION)
#define ask(used_at) store(QUESTION, EVENT(DESC) + FIRST + offset(used_at))
#else
#define ask(used_at) store(QUESTION, EVENT(DESC) + used_at)
#endif

#ifdef WRONG_WRAP
#define has_more(flags, position) (flags == used(0) || flags == used(WRAP))
#else
#define has_more(flags, position) (flags == used(position))
#endif

byte used_at = FIRST; /* under the lock */
byte completed;       /* by the device, not taken yet */
bool stopped;         /* the device completes nothing any more */

inline drain_and_enable()
{
    do
    :: store(QUESTION, EVENT(DISABLE));
       do
       :: atomic {
              load(DESCRIPTOR(used_at), flags);
              if
              :: flags == used(used_at) -> used_at = next_of(used_at); completed--; says_more = false
              :: else -> break
              fi
          }
       od;
       assert(!says_more);
       ask(used_at);
#ifndef NO_FENCE
       fence();
#endif
       atomic {
#ifndef NO_SECOND_LOOK
           load(DESCRIPTOR(used_at), flags);
#endif
           says_more = has_more(flags, used_at);
           if
           :: says_more
           :: else -> break
           fi
       }
    od
}

active proctype handler()
{
    byte cpu = HANDLER, flags;
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
    byte cpu = POLLER, flags;
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
    byte cpu = DEVICE, at = FIRST, first = FIRST, count, question;
    do
    :: completed < SIZE;
       do /* some, then one look at the question */
       :: atomic {
              completed < SIZE && count < SIZE ->
              completed++;
              count++;
              store(DESCRIPTOR(at), used(at));
              at = next_of(at)
          }
       :: count > 0 -> break
       od;
#ifndef NO_DEVICE_FENCE
       fence();
#endif
       atomic {
           load(QUESTION, question);
           if
           :: is_asked(question, first, count, at) -> store(INTERRUPT, 1)
           :: else
           fi;
           first = at;
           count = 0;
           question = 0
       }
    :: break
    od;
    stopped = true
}
