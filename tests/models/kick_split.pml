/* SPDX-License-Identifier: MIT */
/* No doorbell is lost (R5), split ring: when nobody sends any more, the device does not sleep on chains that are
 * available. It would be an invalid end state.
 *
 *     submitter   virtio_blk_submit, on two CPUs: virtqueue_add; vring_split.c's split_kick_prepare;
 *                 virtqueue_notify, outside the lock
 *     device      as virtio 1.2, 2.7.10 and 2.7.13.4 ask
 *
 * A descriptor is free again as soon as the device took it: the way back is in callbacks_split.pml.
 * EVENT_IDX is 0 or 1. Each of these breaks it:
 *     NO_FENCE         the driver looks at the question before its index is out
 *     NO_DEVICE_FENCE  the device looks at the index before its question is out
 *     NO_SECOND_LOOK   the device sleeps without it
 *     PLAIN_COMPARE    (EVENT_IDX) the event is passed when the index is greater, wrap or not */
#define SUBMITTERS 2
#define DEVICE     2
#define CPUS       3
#include "split.pml"

#define AVAIL_IDX 0
#define QUESTION  1 /* avail_event; without EVENT_IDX used.flags */
#define DOORBELL  2
#define LOCK      3
#define LOCATIONS 4
#include "tso.pml"

#if EVENT_IDX
#define wants_doorbell(question, new, old) need_event(question, new, old)
#define suppress()                         skip
#define ask(last_avail)                    store(QUESTION, last_avail)
#else
#define NO_NOTIFY                          1
#define wants_doorbell(question, new, old) (question != NO_NOTIFY)
#define suppress()                         store(QUESTION, NO_NOTIFY)
#define ask(last_avail)                    store(QUESTION, 0)
#endif

byte published; /* avail_published; under the lock */
byte in_flight;
byte stopped; /* submitters that send nothing any more */

active [SUBMITTERS] proctype submitter()
{
    byte cpu = _pid - CPUS, old, new, question;
    bool must_notify;
    do
    :: atomic {
           in_flight < SIZE && spin_can_lock(LOCK) -> spin_lock(LOCK);
           old = published;
           new = old;
           do /* virtqueue_add: as often as it likes and as fits */
           :: in_flight < SIZE -> in_flight++; new = next_of(new)
           :: new != old -> break
           od;
           store(AVAIL_IDX, new);
           published = new
       }
#ifndef NO_FENCE
       fence();
#endif
       atomic {
           load(QUESTION, question);
           must_notify = wants_doorbell(question, new, old);
           old = 0;
           new = 0;
           question = 0
       }
       spin_unlock(LOCK);
       atomic {
           if
           :: must_notify -> store(DOORBELL, 1)
           :: else
           fi;
           must_notify = false
       }
    :: break
    od;
    stopped++
}

active proctype device()
{
    byte cpu = DEVICE, last_avail, index;
    do
    :: signalled(DOORBELL);
       do
       :: suppress();
          do
          :: atomic {
                 load(AVAIL_IDX, index);
                 if
                 :: index != last_avail -> last_avail = next_of(last_avail); in_flight--
                 :: else -> break
                 fi
             }
          od;
          ask(last_avail);
#ifndef NO_DEVICE_FENCE
          fence();
#endif
          atomic {
#ifndef NO_SECOND_LOOK
              load(AVAIL_IDX, index);
#endif
              if
              :: index != last_avail
              :: else -> break
              fi
          }
       od
    :: stopped == SUBMITTERS && in_flight == 0 -> break
    od
}
