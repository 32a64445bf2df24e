/* SPDX-License-Identifier: MIT */
/* From the 256 vectors to C, interrupts off all the way.
 *
 * Exceptions (0..31) save a whole struct trap_frame and call trap_dispatch. Interrupts save what C may change
 * (SysV ABI: nine registers) and count, no more, since they are on the I/O path:
 *
 *     [rbp + 8]  rip, cs, rflags, rsp, ss       by the CPU
 *     [rbp]      rbp                            so that a frame-pointer walk goes on in the interrupted code
 *     below      rdi rsi rdx rcx rax r8 r9 r10 r11, 8 bytes of padding
 *
 * Then kernel_interrupt (device vectors) or trap_interrupt, and kernel_preempt where nothing holds it off:
 * it may switch to another thread and return here much later, on another CPU.
 *
 * There is no user mode, so no SWAPGS; the place for it is the top of the two common parts, if CS says
 * ring 3. Code that runs under an NMI would then need the paranoid check of MSR_GS_BASE instead. */
#include "cpu_internal.h"

#define FIRST_IRQ    32
#define LAST_IRQ     239
#define DOUBLE_FAULT 8

    .cfi_sections .debug_frame
    .text

/* The entries: `vector` is a symbol that counts through them. */

/* The frame that the CPU pushed, seen from an entry: `pushed` bytes lie below it. */
.macro frame_start pushed
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa %rsp, \pushed + 8
    .cfi_offset %rip, -8
    .cfi_offset %rsp, 16
.endm

.macro exception_stub
    .balign TRAP_STUB_BYTES
.if vector == DOUBLE_FAULT || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    frame_start 8 /* the CPU pushes an error code (SDM 3A, table 6-1; APM 2, 8.1) */
.else
    frame_start 0
    pushq $0
    .cfi_adjust_cfa_offset 8
.endif
    pushq $vector
    jmp exception_common
    .cfi_endproc
.endm

.macro interrupt_stub
    .balign TRAP_STUB_BYTES
    frame_start 0
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    movl $vector, %edi
.if vector <= LAST_IRQ
    jmp device_common
.else
    jmp system_common
.endif
    .cfi_endproc
.endm

    .balign 64
    .globl trap_stubs
    .type trap_stubs, @function
trap_stubs:
    .set vector, 0
.rept FIRST_IRQ
    exception_stub
    .set vector, vector + 1
.endr
.rept 256 - FIRST_IRQ
    interrupt_stub
    .set vector, vector + 1
.endr
    .org trap_stubs + 256 * TRAP_STUB_BYTES /* an error if a stub was too long */
    .size trap_stubs, . - trap_stubs

.macro interrupt_common handler
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa %rbp, 16
    .cfi_offset %rip, -8
    .cfi_offset %rbp, -16
    .cfi_offset %rsp, 16
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    subq $8, %rsp
    cld
    incl %gs:CPU_OFFSET_INTERRUPT_DEPTH
    incq %gs:CPU_OFFSET_INTERRUPTS
    call \handler
    decl %gs:CPU_OFFSET_INTERRUPT_DEPTH
    cmpl $0, %gs:CPU_OFFSET_PREEMPT_COUNT
    je 2f
1:
    addq $8, %rsp
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    popq %rbp
    .cfi_def_cfa %rsp, 8
    iretq
    .cfi_def_cfa %rbp, 16
2:
    call kernel_preempt
    jmp 1b
    .cfi_endproc
.endm

    .balign 64
    .type device_common, @function
device_common:
    interrupt_common kernel_interrupt
    .size device_common, . - device_common

    .balign 64
    .type system_common, @function
system_common:
    interrupt_common trap_interrupt
    .size system_common, . - system_common

    .balign 64
    .type exception_common, @function
exception_common:
    frame_start 16
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .cfi_adjust_cfa_offset 120
    .cfi_offset %rbp, -16 - 16 - 48
    .cfi_offset %rbx, -16 - 16 - 8
    .cfi_offset %r12, -16 - 16 - 88
    .cfi_offset %r13, -16 - 16 - 96
    .cfi_offset %r14, -16 - 16 - 104
    .cfi_offset %r15, -16 - 16 - 112
    movq %rsp, %rdi
    /* A second copy of rip and rbp, side by side: a frame-pointer walk from the handler goes on behind it. */
    pushq 136(%rdi)
    pushq %rbp
    .cfi_adjust_cfa_offset 16
    movq %rsp, %rbp
    cld
    call trap_dispatch
    addq $16, %rsp
    .cfi_adjust_cfa_offset -16
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    .cfi_def_cfa %rsp, 8
    iretq
    .cfi_endproc
    .size exception_common, . - exception_common

/* bool trap_try_call(access, context, uint64_t *rsp): leaves the way back in *rsp, where trap_dispatch finds
 * it, and takes it from there again in either case. */
    .globl trap_try_call
    .type trap_try_call, @function
trap_try_call:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdx
    movq %rsp, (%rdx)
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    movl $1, %eax
    jmp 1f
    .globl trap_try_failed
trap_try_failed: /* RSP is what (%rdx) got */
    xorl %eax, %eax
1:
    popq %rdx
    movq $0, (%rdx)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size trap_try_call, . - trap_try_call

    .section .note.GNU-stack, "", @progbits
