/* SPDX-License-Identifier: MIT */
/* A thread's saved execution state: only a stack pointer; callee-saved registers lie on the stack. */
#ifndef ARCH_CONTEXT_H
#define ARCH_CONTEXT_H

#include <kernel/base/types.h>

struct context {
    uint64_t rsp;
};

/* Makes `context` start `entry(argument)` on the stack that ends at `stack_top` (16-byte aligned), with
 * interrupts off as after context_switch; `entry` must not return. */
void context_init(struct context *context, void *stack_top, void (*entry)(void *argument), void *argument);

/* Saves this thread into `from` and continues `to`. Interrupts off. Returns when somebody switches back. */
void context_switch(struct context *from, const struct context *to);

/* Frame pointer and instruction of a switched-out context, for its backtrace. */
void context_backtrace_start(const struct context *context, uint64_t *frame_pointer, uint64_t *instruction);

#endif
