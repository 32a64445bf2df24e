/* SPDX-License-Identifier: MIT */
/* The stack of a thread that does not run: what switch.S pushes and pops. */
#include <arch/context.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

/* Lowest address first. */
struct saved_registers {
    uint64_t r15, r14, r13, r12, rbx, rbp;
    uint64_t return_address;
};
_Static_assert(sizeof(struct saved_registers) == 56, "switch.S pushes and pops this");

/* switch.S */
extern const char context_start[];

void context_init(struct context *context, void *stack_top, void (*entry)(void *argument), void *argument)
{
    assert(is_aligned((uint64_t)stack_top, 16));
    struct saved_registers *saved = (struct saved_registers *)stack_top - 1;
    *saved = (struct saved_registers){
        .rbx = (uint64_t)entry, .r12 = (uint64_t)argument, .return_address = (uint64_t)context_start};
    context->rsp = (uint64_t)saved;
}

void context_backtrace_start(const struct context *context, uint64_t *frame_pointer, uint64_t *instruction)
{
    const struct saved_registers *saved = (const struct saved_registers *)context->rsp;
    *frame_pointer = saved->rbp;
    *instruction = saved->return_address;
}
