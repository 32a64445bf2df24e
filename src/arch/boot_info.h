/* SPDX-License-Identifier: MIT */
/* What the boot loader said, in one form for Multiboot2 and PVH. Filled in by arch/multiboot2.c or
 * arch/pvh.c before kmain; constant afterwards. Physical addresses; texts are copies. */
#ifndef ARCH_BOOT_INFO_H
#define ARCH_BOOT_INFO_H

#include <kernel/base/types.h>

#define BOOT_MEMORY_MAX 128u
#define BOOT_TEXT_BYTES 2048u

struct boot_memory {
    phys_addr_t start;
    uint64_t bytes;
    bool is_usable; /* free RAM, whole pages; the kernel image and the first MiB are already cut out */
    bool is_ram;    /* usable, or RAM that is taken: kernel image, first MiB, ACPI tables */
};

struct boot_framebuffer {
    phys_addr_t address; /* 0: none */
    uint32_t pitch_bytes, width, height;
    uint8_t bits_per_pixel; /* 32 or 24: RGB with the shifts below; 16 with is_text: EGA text cells */
    bool is_text;
    uint8_t red_shift, green_shift, blue_shift;
};

struct boot_info {
    const char *loader;   /* "GRUB 2.06", "PVH" */
    const char *protocol; /* "Multiboot2", "PVH" */
    char loader_text[64]; /* what `loader` points at, if the boot loader gave a name */
    char cmdline[BOOT_TEXT_BYTES];
    char fw_cfg_cmdline[BOOT_TEXT_BYTES];       /* opt/umbra/cmdline, "" without it */
    struct boot_memory memory[BOOT_MEMORY_MAX]; /* ascending, not overlapping */
    uint32_t memory_count;
    phys_addr_t rsdp;      /* 0: search the BIOS areas */
    uint8_t rsdp_copy[36]; /* Multiboot2 hands a copy, valid when rsdp_copy_bytes > 0 */
    uint32_t rsdp_copy_bytes;
    struct boot_framebuffer framebuffer;
    char warnings[4][96]; /* what was wrong with the boot data, "" when unused; kmain logs them */
};

extern struct boot_info boot_info;

#endif
