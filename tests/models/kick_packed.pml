/* SPDX-License-Identifier: MIT */
/* No doorbell is lost (R5), packed ring: when nobody sends any more, the device does not sleep on descriptors that
 * are available. It would be an invalid end state.
 *
 *     submitter   virtio_blk_submit, on two CPUs: virtqueue_add; vring_packed.c's packed_kick_prepare;
 *                 virtqueue_notify, outside the lock
 *     device      as virtio 1.2, 2.8.10 and 2.8.21 ask
 *
 * A descriptor is free again as soon as the device took it: the way back is in callbacks_packed.pml.
 * EVENT_IDX is 0 or 1. Each of these breaks it:
 *     NO_FENCE         the driver looks at the question before its descriptors are out
 *     NO_DEVICE_FENCE  the device looks at the descriptor before its question is out
 *     NO_SECOND_LOOK   the device sleeps without it
 *     WRONG_WRAP       descriptors of the second lap are marked as those of the first
 *     PLAIN_COMPARE    (EVENT_IDX) the event is passed when the next position is greater, wrap or not */
#define SUBMITTERS 2
#define DEVICE     2
#define CPUS       3
#include "packed.pml"

#define DESCRIPTOR(position) offset(position)
#define QUESTION             SIZE /* the device's event suppression */
#define DOORBELL             (SIZE + 1)
#define LOCK                 (SIZE + 2)
#define LOCATIONS            (SIZE + 3)
#include "tso.pml"

#ifdef WRONG_WRAP
#define mark(position) store(DESCRIPTOR(position), available(FIRST))
#else
#define mark(position) store(DESCRIPTOR(position), available(position))
#endif

byte avail_at = FIRST; /* under the lock */
byte in_flight;
byte stopped; /* submitters that send nothing any more */

active [SUBMITTERS] proctype submitter()
{
    byte cpu = _pid - CPUS, first, count, question;
    bool must_notify;
    do
    :: atomic {
           in_flight < SIZE && spin_can_lock(LOCK) -> spin_lock(LOCK);
           first = avail_at;
           do /* virtqueue_add: as often as it likes and as fits */
           :: in_flight < SIZE ->
              if
              :: count > 0 -> mark(avail_at)
              :: else
              fi;
              in_flight++;
              count++;
              avail_at = next_of(avail_at)
           :: count > 0 -> break
           od;
           mark(first) /* the batch's first goes out last, and all others with it */
       }
#ifndef NO_FENCE
       fence();
#endif
       atomic {
           load(QUESTION, question);
           must_notify = is_asked(question, first, count, avail_at);
           first = 0;
           count = 0;
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
    byte cpu = DEVICE, at = FIRST, flags;
    do
    :: signalled(DOORBELL);
       do
       :: store(QUESTION, EVENT(DISABLE));
          do
          :: atomic {
                 load(DESCRIPTOR(at), flags);
                 if
                 :: flags == available(at) -> at = next_of(at); in_flight--
                 :: else -> break
                 fi
             }
          od;
#if EVENT_IDX
          store(QUESTION, EVENT(DISABLE) + at); /* in two, as a device may */
          store(QUESTION, EVENT(DESC) + at);
#else
          store(QUESTION, EVENT(ENABLE));
#endif
#ifndef NO_DEVICE_FENCE
          fence();
#endif
          atomic {
#ifndef NO_SECOND_LOOK
              load(DESCRIPTOR(at), flags);
#endif
              if
              :: flags == available(at)
              :: else -> break
              fi
          }
       od
    :: stopped == SUBMITTERS && in_flight == 0 -> break
    od
}
