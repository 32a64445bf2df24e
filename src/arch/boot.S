/* SPDX-License-Identifier: MIT */
/* From the boot loader to arch_start (arch/start.c), on the boot CPU.
 *
 * Two entries, both in 32-bit protected mode, paging off, interrupts off, flat segments:
 *     Multiboot2 (GRUB)       eax = its magic, ebx = boot information   (Multiboot2 2.0, 3.2)
 *     PVH (qemu -kernel)      ebx = struct hvm_start_info               (Xen, docs/misc/pvh.pandoc)
 * Everything is linked at KERNEL_BASE + its physical address; until paging is on, PHYS() gives the latter.
 *
 * The tables made here serve until mmu_init: the first 4 GiB at 0 and at DIRECT_BASE, the first GiB at
 * KERNEL_BASE, all of it writable and executable in 2 MiB pages. mmu.c turns them into the root with which
 * other CPUs start. .bss is cleared first, since they and the stack lie in it. */

#define KERNEL_BASE 0xffffffff80000000
#define PHYS(symbol) ((symbol) - KERNEL_BASE)

#define MULTIBOOT2_HEADER_MAGIC 0xe85250d6
#define PVH_MAGIC 0x336ec578
#define XEN_ELFNOTE_PHYS32_ENTRY 18

#define PTE_TABLE 0x003 /* present, writable */
#define PTE_LARGE 0x083 /* present, writable, 2 MiB */
#define CR0_BITS_ON 0x80010022 /* PG, WP, NE, MP */
#define CR0_BITS_OFF 0x6000000c /* CD, NW, TS, EM */
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CPUID_NX 20
#define CPUID_LONG_MODE 29
#define STACK_BYTES 16384

    /* link.ld and the C headers have the same number; link.ld compares. */
    .globl boot_kernel_base
    .set boot_kernel_base, KERNEL_BASE

    .section .boot, "ax"
    .balign 8
multiboot2_header:
    .long MULTIBOOT2_HEADER_MAGIC
    .long 0 /* i386 protected mode */
    .long multiboot2_header_end - multiboot2_header
    .long 0x100000000 - (MULTIBOOT2_HEADER_MAGIC + (multiboot2_header_end - multiboot2_header))
    .short 5, 1 /* framebuffer, wanted but not needed; GRUB 2.06 lets this override its own gfxpayload */
    .long 20, 1024, 768, 32
    .balign 8
    .short 6, 0 /* modules on page boundaries */
    .long 8
    .short 0, 0 /* end */
    .long 8
multiboot2_header_end:

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long PHYS(boot_pvh)
    .long 0 /* QEMU reads eight bytes where the note has four */

    .section .boot, "ax"
    .code32
    .globl boot_multiboot2
boot_multiboot2:
    movl %eax, %esi
    jmp boot_common
boot_pvh:
    movl $PVH_MAGIC, %esi

/* esi = the magic, which tells the protocols apart in C too; ebx = information. Both are kept. */
boot_common:
    cli
    cld
    rdtsc
    movl %eax, PHYS(boot_entry_tsc)
    movl %edx, PHYS(boot_entry_tsc) + 4

    movl $PHYS(kernel_bss_start), %edi
    movl $PHYS(kernel_bss_end), %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl
    movl $PHYS(boot_stack_end), %esp

    call check_cpu
    call fill_tables

    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PHYS(boot_root), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME_NXE, %eax
    wrmsr
    movl %cr0, %eax
    andl $~CR0_BITS_OFF, %eax
    orl $CR0_BITS_ON, %eax
    movl %eax, %cr0
    lgdt PHYS(boot_gdt_pointer)
    ljmp $8, $PHYS(boot_long_mode)

/* One identity run of 2 MiB pages over 4 GiB, hung into the three places. .bss is zero: the upper halves
 * of all entries are right already. */
fill_tables:
    movl $PHYS(boot_directories), %edi
    movl $PTE_LARGE, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b
    movl $PHYS(boot_directories) + PTE_TABLE, %eax
    movl %eax, PHYS(boot_high_pointers) + 510 * 8
    movl %eax, PHYS(boot_low_pointers)
    addl $4096, %eax
    movl %eax, PHYS(boot_low_pointers) + 8
    addl $4096, %eax
    movl %eax, PHYS(boot_low_pointers) + 16
    addl $4096, %eax
    movl %eax, PHYS(boot_low_pointers) + 24
    movl $PHYS(boot_low_pointers) + PTE_TABLE, PHYS(boot_root)
    movl $PHYS(boot_low_pointers) + PTE_TABLE, PHYS(boot_root) + 256 * 8
    movl $PHYS(boot_high_pointers) + PTE_TABLE, PHYS(boot_root) + 511 * 8
    ret

/* Long mode and no-execute, or a plain text and the end. cpuid itself clobbers ebx. */
check_cpu:
    movl %ebx, %edi
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb cpu_too_old
    movl $0x80000001, %eax
    cpuid
    btl $CPUID_LONG_MODE, %edx
    jnc cpu_too_old
    btl $CPUID_NX, %edx
    jnc cpu_too_old
    movl %edi, %ebx
    ret

/* To COM1 as the firmware left it, and to the VGA text screen. The wait is bounded: there may be no UART. */
cpu_too_old:
    movl $PHYS(cpu_too_old_text), %esi
    movl $0xb8000, %edi
1:  lodsb
    testb %al, %al
    jz 3f
    movb $0x4f, %ah
    stosw
    movl %eax, %ebx
    movl $100000, %ecx
    movw $0x3fd, %dx
2:  inb %dx, %al
    testb $0x20, %al
    loopz 2b
    movl %ebx, %eax
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 1b
3:  cli
    hlt
    jmp 3b

    .cfi_sections .debug_frame
    .code64
boot_long_mode:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movq $boot_high, %rax
    jmp *%rax
boot_high:
    .cfi_startproc
    .cfi_undefined %rip
    movq $boot_stack_end, %rsp
    xorl %ebp, %ebp /* ends the chain of frames */
    movl %esi, %edi
    movl %ebx, %esi
    call arch_start
    ud2
    .cfi_endproc

    .section .rodata
cpu_too_old_text:
    .asciz "Umbra needs a 64-bit CPU with no-execute pages (NX). Halted.\r\n"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff /* 0x08: 64-bit code; serves until cpu_init */
boot_gdt_pointer:
    .short boot_gdt_pointer - boot_gdt - 1
    .long PHYS(boot_gdt)

    .data
    .balign 8
    .globl boot_entry_tsc
boot_entry_tsc: /* arch/clock.c counts from here */
    .quad 0

    .bss
    .balign 4096
    .globl boot_root, boot_low_pointers, boot_directories, boot_stack_guard
boot_root:
    .skip 4096
boot_low_pointers:
    .skip 4096
boot_high_pointers:
    .skip 4096
boot_directories:
    .skip 4 * 4096
boot_stack_guard: /* mmu_init leaves this page out */
    .skip 4096
boot_stack:
    .skip STACK_BYTES
boot_stack_end:

    .section .note.GNU-stack, "", @progbits
