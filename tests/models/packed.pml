/* SPDX-License-Identifier: MIT */
/* Positions and flags of a packed ring (virtio 1.2, 2.8.1, 2.8.14). A position is an offset with the wrap counter
 * above it; the flags of an event suppression structure are above both. */
#define SIZE 3 /* need not be a power of two */
#define WRAP 4

#define FIRST             WRAP /* wrap counters begin with 1 */
#define offset(position)  ((position) % WRAP)
#define wrap(position)    ((position) / WRAP)
#define next_of(position) (offset(position) + 1 < SIZE -> (position) + 1 : WRAP * (1 - wrap(position)))

/* A descriptor's flags: AVAIL 1, USED 2. */
#define available(position) (wrap(position) -> 1 : 2)
#define used(position)      (wrap(position) -> 3 : 0)

#define EVENT(flags)    (2 * WRAP * (flags))
#define flags_of(event) ((event) / (2 * WRAP))
#define at_of(event)    ((event) % (2 * WRAP))
#define ENABLE          0
#define DISABLE         1
#define DESC            2

/* virtqueue_packed_need_event: is the descriptor at `event` among the `count` from `first` to before `next`? */
#if defined(PLAIN_COMPARE)
#define need_event(event, first, count, next) (next > event)
#else
#if defined(ONE_LAP)
#define distance(event, first) (offset(event) - offset(first))
#else
#define distance(event, first) (offset(event) - offset(first) + (wrap(event) != wrap(first) -> SIZE : 0))
#endif
#define need_event(event, first, count, next) (distance(event, first) >= 0 && distance(event, first) < count)
#endif

#define is_asked(question, first, count, next) \
    (flags_of(question) == DESC -> need_event(at_of(question), first, count, next) : flags_of(question) != DISABLE)
