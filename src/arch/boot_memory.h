/* SPDX-License-Identifier: MIT */
/* What the two boot protocols share: building boot_info's memory map, copying texts, noting warnings.
 * Early boot, one CPU; pure functions over struct boot_info, so the host tests them. */
#ifndef ARCH_BOOT_MEMORY_H
#define ARCH_BOOT_MEMORY_H

#include <arch/boot_info.h>

/* An entry as the BIOS gives it (E820, ACPI 6.4, 15.1) and Multiboot2 and PVH pass it on: 64-bit start,
 * 64-bit length, 32-bit type. */
#define BOOT_MEMORY_ENTRY_BYTES 24u

/* Adds the `count` entries at `entries`, each `stride` (at least BOOT_MEMORY_ENTRY_BYTES) bytes, in any
 * order and overlapping in any way: where entries differ, what is not usable wins. Once a boot. */
void boot_memory_load(struct boot_info *info, const uint8_t *entries, uint32_t stride, uint32_t count);

struct boot_memory_limits {
    phys_addr_t kernel_start, kernel_end; /* the image */
    phys_addr_t end;                      /* the first address that the CPU or the direct map cannot reach */
};
/* Takes the kernel image, the first MiB and partial pages out of the usable memory. With no usable memory
 * at all, assumes a small machine and says so. */
void boot_memory_finish(struct boot_info *info, const struct boot_memory_limits *limits);

/* Notes `before` + number + `after`; texts that are too long or too many are cut or dropped. */
void boot_warn(struct boot_info *info, const char *before, uint64_t number, const char *after);
/* Copies a text that ends with a NUL or after `limit` bytes; cut to `to_bytes` - 1, then false. */
bool boot_copy_text(char *to, size_t to_bytes, const uint8_t *from, size_t limit);

#endif
