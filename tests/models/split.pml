/* SPDX-License-Identifier: MIT */
/* Indices of a split ring (virtio 1.2, 2.7). They wrap at 65536, of which half is the largest size; here as well. */
#define SIZE    2
#define INDICES (2 * SIZE)

#define next_of(index) (((index) + 1) % INDICES)

/* virtqueue_need_event. Numbers do not wrap by themselves here. */
#ifdef PLAIN_COMPARE
#define need_event(event, new, old) (new > event)
#else
#define steps(to, from)             (((to) - (from) + 2 * INDICES) % INDICES)
#define need_event(event, new, old) (steps(new, event + 1) < steps(new, old))
#endif
