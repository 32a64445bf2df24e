/* SPDX-License-Identifier: MIT */
/* The first C code: boot.S jumps here with a stack, a clear .bss and the early page tables. Collects what
 * the boot loader said in boot_info, readies the boot CPU and goes on to the kernel. Once, one CPU. */
#include <arch/boot_info.h>
#include <arch/boot_memory.h>
#include <arch/cpu.h>
#include <arch/fw_cfg.h>
#include <arch/mmu.h>
#include <arch/multiboot2.h>
#include <arch/pvh.h>
#include <arch/uart.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#define EARLY_MAP_BYTES GIB(4) /* what boot.S maps at DIRECT_BASE */

struct boot_info boot_info;

extern char kernel_image_start[], kernel_image_end[]; /* link.ld */

noreturn void arch_start(uint32_t magic, uint32_t information);

/* The end of what CPU and direct map reach. CPUID 0x80000008: the CPU's physical address bits. */
static phys_addr_t physical_end(void)
{
    uint32_t bits = 36;
    if (cpu_cpuid(0x80000000, 0).eax >= 0x80000008)
        bits = cpu_cpuid(0x80000008, 0).eax & 0xff;
    return MIN(BIT(MIN(bits, 52u)), VMAP_BASE - DIRECT_BASE);
}

static void parse_boot_data(uint32_t magic, uint32_t information)
{
    const struct boot_memory_limits limits = {
        .kernel_start = (uintptr_t)kernel_image_start - KERNEL_BASE,
        .kernel_end = (uintptr_t)kernel_image_end - KERNEL_BASE,
        .end = physical_end(),
    };
    if (magic == MULTIBOOT2_MAGIC) {
        multiboot2_parse(direct_map(information), EARLY_MAP_BYTES - information, &boot_info);
    } else if (magic == PVH_MAGIC) {
        pvh_parse(direct_map(0), EARLY_MAP_BYTES, information, &boot_info);
    } else {
        boot_info.protocol = boot_info.loader = "unknown";
        boot_warn(&boot_info, "boot loader's magic is ", magic, ", neither Multiboot2 nor PVH");
    }
    boot_memory_finish(&boot_info, &limits);
}

static void read_fw_cfg_cmdline(void)
{
    char *to = boot_info.fw_cfg_cmdline;
    size_t limit = sizeof(boot_info.fw_cfg_cmdline) - 1;
    int64_t bytes = fw_cfg_read_file("opt/umbra/cmdline", to, limit);
    if (bytes > (int64_t)limit)
        boot_warn(&boot_info, "fw_cfg: opt/umbra/cmdline cut to ", limit, " bytes");
}

noreturn void arch_start(uint32_t magic, uint32_t information)
{
    (void)uart_init(); /* without one the calls do nothing; there may be a screen */
    parse_boot_data(magic, information);
    read_fw_cfg_cmdline();
    cpu_init(0);
    kmain(&boot_info);
}
