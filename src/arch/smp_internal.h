/* SPDX-License-Identifier: MIT */
/* Between smp.c and trampoline.S. */
#ifndef ARCH_SMP_INTERNAL_H
#define ARCH_SMP_INTERNAL_H

/* Physical; page-aligned, below 1 MiB, of RAM that page_init leaves alone. */
#define TRAMPOLINE 0x8000

#ifndef __ASSEMBLER__
#include <kernel/base/types.h>

/* What to copy to TRAMPOLINE, and the page table root's place in it. */
extern const char trampoline_start[], trampoline_root[], trampoline_end[];

/* The stack for the next CPU that comes, taken by an exchange with 0. */
extern void *smp_next_stack;
/* That CPU's first C function, on that stack. */
noreturn void smp_entry(void);
#endif

#endif
