/* SPDX-License-Identifier: MIT */
/* kmain: the boot of Umbra, one line a subsystem, in order. The only kernel file that knows drivers and file
 * systems by name. */
#include <arch/acpi.h>
#include <arch/boot_info.h>
#include <arch/clock.h>
#include <arch/ioapic.h>
#include <arch/iommu.h>
#include <arch/lapic.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <drivers/block/block.h>
#include <drivers/char/char.h>
#include <drivers/pci/pci.h>
#include <drivers/virtio/virtio.h>
#include <fs/bcache.h>
#include <fs/vfs.h>
#include <kernel/cmdline.h>
#include <kernel/entropy.h>
#include <kernel/entry.h>
#include <kernel/log.h>
#include <kernel/page.h>
#include <kernel/sched.h>
#include <kernel/shell.h>
#include <kernel/timer.h>
#include <kernel/work.h>

CMDLINE_KEY(loglevel, "loglevel", "error..trace", "what reaches the console; the ring holds everything");
CMDLINE_KEY(smp, "smp", "N", "use at most N CPUs");

#define TEXT_OF(macro)       TEXT_OF_VALUE(macro)
#define TEXT_OF_VALUE(value) #value

static void apply_loglevel(void)
{
    const char *text = cmdline_get("loglevel");
    enum log_level level;
    if (!text)
        return;
    if (log_level_parse(text, &level) == 0)
        log_set_level(level);
    else
        log_warning("cmdline", "loglevel='%s' is not one of error, warning, info, debug, trace: ignored",
                    text);
}

static void log_boot(const struct boot_info *boot)
{
    uint64_t usable_bytes = 0;
    for (uint32_t i = 0; i < boot->memory_count; i++)
        usable_bytes += boot->memory[i].is_usable ? boot->memory[i].bytes : 0;
    log_info("boot", "Umbra, %s build, by %s (%s), %llu MiB of RAM", TEXT_OF(UMBRA_BUILD), boot->loader,
             boot->protocol, (unsigned long long)(usable_bytes >> 20));
    log_info("boot", "command line: %s", cmdline_text());
    for (size_t i = 0; i < ARRAY_SIZE(boot->warnings); i++)
        if (boot->warnings[i][0])
            log_warning("boot", "%s", boot->warnings[i]);
}

static void start_other_cpus(void)
{
    uint64_t limit = CPU_MAX;
    cmdline_u64("smp", 1, CPU_MAX, &limit);
    if (acpi_info.cpu_count > limit)
        log_info("smp", "%u CPUs, smp=%llu of them used", acpi_info.cpu_count, (unsigned long long)limit);
    for (uint32_t id = 1; id < MIN(acpi_info.cpu_count, (uint32_t)limit); id++)
        sched_init_cpu(id);
    smp_start((uint32_t)limit);
    log_info("smp", "%u CPU%s", cpu_count(), cpu_count() == 1 ? "" : "s");
}

noreturn void kmain(const struct boot_info *boot)
{
    console_init_early();
    cmdline_init(boot->cmdline, boot->fw_cfg_cmdline);
    apply_loglevel();
    log_boot(boot);
    page_init(boot);
    mmu_init();
    page_add_high_memory(boot);
    acpi_init();
    clock_init();
    lapic_init();
    iommu_init();
    ioapic_init();
    clock_calibrate();
    lapic_calibrate();
    entropy_init();
    thread_init();
    interrupts_enable();
    work_init();
    start_other_cpus();
    console_init();
    block_init();
    virtio_init();
    pci_init();
    virtio_mmio_init();
    bcache_init();
    vfs_mount_root();
    shell_main();
}
