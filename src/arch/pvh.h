/* SPDX-License-Identifier: MIT */
/* PVH's start information (Xen, public/arch-x86/hvm/start_info.h). Pure: runs on the host too. */
#ifndef ARCH_PVH_H
#define ARCH_PVH_H

#include <arch/boot_info.h>

#define PVH_MAGIC 0x336ec578u

/* Fills `info` from the structure at physical address `start`. `memory` is a view of physical memory from
 * address 0, `memory_bytes` long; nothing outside it is read. What is bad is left out, with a warning in
 * `info`. Texts are copied. boot_memory_finish is the caller's. */
void pvh_parse(const uint8_t *memory, uint64_t memory_bytes, phys_addr_t start, struct boot_info *info);

#endif
