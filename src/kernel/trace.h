/* SPDX-License-Identifier: MIT */
/* Trace events: fixed-size records in a ring per CPU, written without locks. Off until trace_start();
 * a call costs one load and a branch while off. Any context. */
#ifndef KERNEL_TRACE_H
#define KERNEL_TRACE_H

#include <kernel/base/types.h>

#define TRACE_EVENTS(X)                                                             \
    X(BLOCK_SUBMIT, "block-submit")     /* a = request, b = sector */               \
    X(BLOCK_MERGE, "block-merge")       /* a = request, b = leader */               \
    X(BLOCK_DISPATCH, "block-dispatch") /* a = device, b = requests in the batch */ \
    X(BLOCK_DONE, "block-done")         /* a = request, b = status */               \
    X(RING_ADD, "ring-add")             /* a = queue, b = head descriptor */        \
    X(RING_KICK, "ring-kick")           /* a = queue, b = available index */        \
    X(RING_GET, "ring-get")             /* a = queue, b = head descriptor */        \
    X(IRQ, "irq")                       /* a = vector, b = 0 */                     \
    X(SWITCH, "switch")                 /* a = thread left, b = thread entered */   \
    X(WAKE, "wake")                     /* a = thread, b = CPU */

enum trace_event {
#define TRACE_ENUM(name, text) TRACE_##name,
    TRACE_EVENTS(TRACE_ENUM)
#undef TRACE_ENUM
        TRACE_EVENT_COUNT
};

#ifdef __KERNEL__
extern bool trace_is_on;
void trace_record(enum trace_event event, uint64_t a, uint64_t b);
static inline void trace(enum trace_event event, uint64_t a, uint64_t b)
{
    if (__builtin_expect(trace_is_on, 0))
        trace_record(event, a, b);
}
void trace_start(void);
void trace_stop(void);
/* Prints the newest `limit` events of all CPUs in order of time; safe in a panic. */
void trace_dump(unsigned limit);
#else
#define trace_is_on false
static inline void trace(enum trace_event event, uint64_t a, uint64_t b)
{
    (void)event, (void)a, (void)b;
}
#endif

#endif
