/* SPDX-License-Identifier: MIT */
/* The local APIC (SDM 3A, chapter 10), in xAPIC mode through its registers or in x2APIC mode through MSRs
 * 0x800 + register/16. The mode is the boot CPU's choice, before other CPUs start, and the same on all.
 *
 * All CPUs see their own LAPIC at one mapped address. Nothing is locked: a CPU uses its own, and writes of
 * the two halves of the xAPIC's interrupt command keep interrupts off in between. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/io.h>
#include <arch/lapic.h>
#include <arch/mmu.h>
#include <arch/trap.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#include "clock_internal.h"

#define MSR_APIC_BASE      0x1bu
#define APIC_BASE_X2APIC   BIT(10)
#define APIC_BASE_ENABLE   BIT(11)
#define MSR_TSC_DEADLINE   0x6e0u
#define CPUID_ECX_X2APIC   BIT(21)
#define CPUID_ECX_DEADLINE BIT(24)

#define LAPIC_REGISTERS_BYTES 0x400u
enum lapic_register {
    LAPIC_ID = 0x20,
    LAPIC_VERSION = 0x30,
    LAPIC_TASK_PRIORITY = 0x80,
    LAPIC_EOI = 0xb0,
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_ERROR = 0x280,
    LAPIC_COMMAND = 0x300,
    LAPIC_COMMAND_HIGH = 0x310, /* xAPIC only */
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_THERMAL = 0x330,
    LAPIC_LVT_COUNTERS = 0x340,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_CURRENT = 0x390,
    LAPIC_TIMER_DIVIDE = 0x3e0,
};
#define SPURIOUS_ENABLE    BIT(8)
#define LVT_MASKED         BIT(16)
#define LVT_NMI            (4u << 8)
#define LVT_TIMER_DEADLINE (2u << 17)
#define TIMER_DIVIDE_BY_16 3u
#define COMMAND_NMI        (4u << 8)
#define COMMAND_INIT       (5u << 8)
#define COMMAND_STARTUP    (6u << 8)
#define COMMAND_IS_PENDING BIT(12)
#define COMMAND_ASSERT     BIT(14)

#define PIC_MASTER 0x20u
#define PIC_SLAVE  0xa0u

#define COMMAND_SPIN_MAX 100000u

volatile uint32_t *lapic_eoi_register;
static volatile uint8_t *registers; /* NULL in x2APIC mode */
static bool has_deadline_timer;
static uint64_t timer_ticks_per_ns_32;  /* scaled by 2^32 */
static struct clock_moment timer_start; /* of the boot CPU's timer, for lapic_calibrate */

static uint32_t read_register(enum lapic_register reg)
{
    if (registers)
        return mmio_read32(registers + reg);
    return (uint32_t)cpu_read_msr(0x800u + reg / 16);
}

static void write_register(enum lapic_register reg, uint32_t value)
{
    if (registers)
        mmio_write32(registers + reg, value);
    else
        cpu_write_msr(0x800u + reg / 16, value);
}

bool lapic_is_x2apic(void)
{
    return registers == NULL;
}

uint32_t lapic_id(void)
{
    uint32_t id = read_register(LAPIC_ID);
    return registers ? id >> 24 : id;
}

/* The two 8259s: remapped, so that a spurious IRQ 7 or 15 of theirs looks like ours (no EOI), and masked. */
static void disable_pics(void)
{
    static const uint8_t words[][2] = {{0x11, 0x11}, {TRAP_SPURIOUS - 7, TRAP_SPURIOUS - 7}, {4, 2}, {1, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(words);
         i++) { /* ICW1 to the command port, ICW2 to 4 to the data port */
        port_write8(PIC_MASTER + (i > 0), words[i][0]);
        port_write8(PIC_SLAVE + (i > 0), words[i][1]);
    }
    port_write8(PIC_MASTER + 1, 0xff);
    port_write8(PIC_SLAVE + 1, 0xff);
}

/* x2APIC where CPUID has it: `registers` stays NULL. */
static void choose_mode(void)
{
    if (cpu_cpuid(1, 0).ecx & CPUID_ECX_X2APIC)
        return;
    registers = mmu_map_device(acpi_info.lapic_address, LAPIC_REGISTERS_BYTES);
    assert(registers != NULL); /* the first of a few mappings of a fresh address space */
    lapic_eoi_register = (volatile uint32_t *)(registers + LAPIC_EOI);
}

static void enable_mode(void)
{
    uint64_t base = cpu_read_msr(MSR_APIC_BASE) | APIC_BASE_ENABLE;
    /* xAPIC first: from "off" there is no direct way to x2APIC (SDM 3A, 10.12.5). */
    if (!(base & APIC_BASE_X2APIC))
        cpu_write_msr(MSR_APIC_BASE, base);
    if (!registers)
        cpu_write_msr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
}

static void set_local_vectors(void)
{
    static const enum lapic_register unused[] = {LAPIC_LVT_THERMAL, LAPIC_LVT_COUNTERS, LAPIC_LVT_LINT0,
                                                 LAPIC_LVT_ERROR};
    uint32_t last = read_register(LAPIC_VERSION) >> 16 & 0xff; /* LVT entries - 1 */
    for (size_t i = 0; i < ARRAY_SIZE(unused); i++)
        if (last >= 5 || unused[i] != LAPIC_LVT_THERMAL)
            write_register(unused[i], LVT_MASKED);
    write_register(LAPIC_LVT_LINT1, LVT_NMI);
    write_register(LAPIC_TASK_PRIORITY, 0);
    write_register(LAPIC_SPURIOUS, SPURIOUS_ENABLE | TRAP_SPURIOUS);
    write_register(LAPIC_ERROR, 0);
    lapic_eoi(); /* whatever the firmware left in service */
}

/* It counts down; the complement counts up. */
static uint32_t read_timer(void)
{
    return ~read_register(LAPIC_TIMER_CURRENT);
}

/* Lets it run, from the top: it will have been stopped long before it ends. */
static void begin_calibration(void)
{
    write_register(LAPIC_TIMER_INITIAL, UINT32_MAX);
    timer_start = clock_read_moment(read_timer);
}

void lapic_calibrate(void)
{
    uint64_t ticks;
    if (has_deadline_timer)
        return;
    uint32_t counted = clock_count_since(timer_start, read_timer, UINT32_MAX, &ticks);
    uint64_t ns = muldiv(ticks, NSEC_PER_SEC, clock.hz);
    write_register(LAPIC_TIMER_INITIAL, 0);
    timer_ticks_per_ns_32 = ns ? muldiv(counted, 1ull << 32, ns) : 0;
    if (timer_ticks_per_ns_32 == 0) {
        kernel_warn("lapic", "its timer does not count: 62.5 MHz assumed");
        timer_ticks_per_ns_32 = (1ull << 32) / 16;
    }
}

static void set_up_timer(void)
{
    if (has_deadline_timer) {
        write_register(LAPIC_LVT_TIMER, LVT_TIMER_DEADLINE | TRAP_TIMER);
        barrier_full(); /* the LVT store before the first MSR write (SDM 3A, 10.5.4.1) */
        return;
    }
    write_register(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_BY_16);
    write_register(LAPIC_LVT_TIMER, TRAP_TIMER);
}

static void init_boot_cpu(void)
{
    disable_pics();
    choose_mode();
    enable_mode();
    set_local_vectors();
    has_deadline_timer = (cpu_cpuid(1, 0).ecx & CPUID_ECX_DEADLINE) != 0;
    kernel_info("lapic", "%s, id %u, timer %s", lapic_is_x2apic() ? "x2APIC" : "xAPIC", lapic_id(),
                has_deadline_timer ? "by TSC deadline" : "one-shot");
}

void lapic_init(void)
{
    if (cpu_id() == 0) {
        init_boot_cpu();
    } else {
        enable_mode();
        set_local_vectors();
    }
    set_up_timer();
    if (cpu_id() == 0 && !has_deadline_timer)
        begin_calibration();
    cpu_write(lapic_id, lapic_id());
}

/* A count of 0 would stop the timer, one too large would wrap; a timer that fires early is set again by
 * whoever looks at the clock. */
static uint32_t timer_count(uint64_t deadline_ns)
{
    uint64_t now = clock_ns();
    if (deadline_ns <= now)
        return 1;
    unsigned __int128 count = (unsigned __int128)(deadline_ns - now) * timer_ticks_per_ns_32 >> 32;
    return count < UINT32_MAX ? (uint32_t)count + 1 : UINT32_MAX;
}

void lapic_timer_set(uint64_t deadline_ns)
{
    bool is_never = deadline_ns == UINT64_MAX;
    if (has_deadline_timer)
        cpu_write_msr(MSR_TSC_DEADLINE, is_never ? 0 : clock.entry_tsc + clock_ns_to_ticks(deadline_ns));
    else
        write_register(LAPIC_TIMER_INITIAL, is_never ? 0 : timer_count(deadline_ns));
}

static void wait_for_command(void)
{
    for (unsigned i = 0;
         i < COMMAND_SPIN_MAX && (mmio_read32(registers + LAPIC_COMMAND) & COMMAND_IS_PENDING); i++)
        cpu_relax();
}

static void send_command(uint32_t destination, uint32_t command)
{
    if (!registers) {
        barrier_full(); /* a WRMSR here does not wait for earlier stores (SDM 3A, 10.12.3) */
        cpu_write_msr(0x800u + LAPIC_COMMAND / 16, (uint64_t)destination << 32 | command);
        return;
    }
    uint64_t flags = interrupts_save();
    wait_for_command();
    mmio_write32(registers + LAPIC_COMMAND_HIGH, destination << 24);
    mmio_write32(registers + LAPIC_COMMAND, command);
    interrupts_restore(flags);
}

static uint32_t lapic_id_of(uint32_t cpu)
{
    const struct cpu *block = cpu_get(cpu);
    assert(block != NULL);
    return block->lapic_id;
}

void lapic_send_ipi(uint32_t cpu, uint8_t vector)
{
    debug_assert(vector >= TRAP_FIRST_IRQ);
    send_command(lapic_id_of(cpu), COMMAND_ASSERT | vector);
}

void lapic_send_nmi(uint32_t cpu)
{
    send_command(lapic_id_of(cpu), COMMAND_ASSERT | COMMAND_NMI);
}

void lapic_send_init(uint32_t lapic_id)
{
    send_command(lapic_id, COMMAND_ASSERT | COMMAND_INIT);
}

void lapic_send_startup(uint32_t lapic_id, uint8_t page)
{
    send_command(lapic_id, COMMAND_ASSERT | COMMAND_STARTUP | page);
}

void lapic_msi_message(uint32_t cpu, uint8_t vector, uint64_t *address, uint32_t *data)
{
    uint32_t id = lapic_id_of(cpu);
    assert(id <= LAPIC_ID_MAX);
    *address = 0xfee00000u | id << 12;
    *data = vector;
}
