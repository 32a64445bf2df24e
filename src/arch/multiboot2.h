/* SPDX-License-Identifier: MIT */
/* Multiboot2's boot information (Multiboot2 2.0, 3.6). Pure: runs on the host too. */
#ifndef ARCH_MULTIBOOT2_H
#define ARCH_MULTIBOOT2_H

#include <arch/boot_info.h>

#define MULTIBOOT2_MAGIC 0x36d76289u /* in eax at the entry */

/* Fills `info` from the boot information at `data`; reads at most `bytes_readable` of it. What is bad is
 * left out, with a warning in `info`. Texts are copied. boot_memory_finish is the caller's. */
void multiboot2_parse(const void *data, size_t bytes_readable, struct boot_info *info);

#endif
