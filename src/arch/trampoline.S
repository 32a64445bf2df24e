/* SPDX-License-Identifier: MIT */
/* Where another CPU begins: in real mode at TRAMPOLINE, a page below 1 MiB into which smp.c copies the part
 * between trampoline_start and trampoline_end. It goes through protected mode to long mode on the trampoline's
 * page tables (identity below, the kernel half above) and on into the kernel's own text, where the first CPU to
 * come takes the stack that smp.c left in smp_next_stack. A CPU that finds none was given up: it halts. */
#include "smp_internal.h"

#define CR0_PE 0x00000001
#define CR0_BITS_ON  0x80010022 /* PG WP NE MP */
#define CR0_BITS_OFF 0x6000000c /* CD NW: as reset leaves them; TS EM */
#define CR4_PAE      0x20
#define MSR_EFER     0xc0000080
#define EFER_LME_NXE 0x900

#define CODE_32 0x08
#define DATA_32 0x10
#define CODE_64 0x18

#define HERE(label) (TRAMPOLINE + label - trampoline_start)

    .section .trampoline, "a"
    .balign 16
    .globl trampoline_start
trampoline_start:
    .code16
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdt_pointer - trampoline_start
    movl %cr0, %eax
    andl $~CR0_BITS_OFF, %eax
    orl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $CODE_32, $HERE(protected_mode)

    .code32
protected_mode:
    movl $DATA_32, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl HERE(trampoline_root), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME_NXE, %eax
    wrmsr
    movl %cr0, %eax
    orl $CR0_BITS_ON, %eax
    movl %eax, %cr0
    ljmp $CODE_64, $HERE(long_mode)

    .code64
long_mode:
    movq $kernel_text_entry, %rax
    jmp *%rax

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
gdt_pointer:
    .short gdt_pointer - gdt - 1
    .long HERE(gdt)
    .balign 4
    .globl trampoline_root
trampoline_root: /* smp.c fills it in, in the copy */
    .long 0
    .globl trampoline_end
trampoline_end:

    .cfi_sections .debug_frame
    .text
kernel_text_entry:
    .cfi_startproc
    .cfi_undefined %rip /* the end of every frame walk, with rbp 0 */
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    xchgq %rax, smp_next_stack(%rip)
    testq %rax, %rax
    jz 1f
    movq %rax, %rsp
    xorl %ebp, %ebp
    call smp_entry
    ud2
1:  cli
    hlt
    jmp 1b
    .cfi_endproc

    .section .note.GNU-stack, "", @progbits
