/* SPDX-License-Identifier: MIT */
/* context_switch and the first instructions of a thread (arch/context.h). A switched-out thread's stack
 * pointer points at its callee-saved registers, rbp last and so beside the return address: a frame-pointer
 * walk of a sleeping thread starts with that pair. context.c knows this layout:
 *
 *     rsp +0 r15  +8 r14  +16 r13  +24 r12  +32 rbx  +40 rbp  +48 return address
 */
    .cfi_sections .debug_frame
    .text

/* void context_switch(struct context *from, const struct context *to) */
    .globl context_switch
    .type context_switch, @function
    .balign 32
context_switch:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rbp, -16
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rbx, -24
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_offset %r12, -32
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_offset %r13, -40
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_offset %r14, -48
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_offset %r15, -56
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size context_switch, . - context_switch

/* Where a new context's first context_switch returns to: rbx is the entry, r12 its argument. Its rbp 0, and
 * for gdb the undefined return address, are the end of every frame walk. */
    .globl context_start
    .type context_start, @function
context_start:
    .cfi_startproc
    .cfi_undefined %rip
    movq %r12, %rdi
    xorl %ebp, %ebp
    call *%rbx
    ud2
    .cfi_endproc
    .size context_start, . - context_start

    .section .note.GNU-stack, "", @progbits
