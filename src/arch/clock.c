/* SPDX-License-Identifier: MIT */
/* The time-stamp counter as the kernel's clock: its rate, and the conversions.
 *
 * A measured rate is (ticks between two moments) / (reference counts between them). Each moment is the
 * tightest of a few "TSC, reference, TSC" readings; what happens between the moments does not matter, so a
 * host that takes the CPU away spoils nothing. `clock` is written on the boot CPU before others run. */
#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#include "clock_internal.h"

#define GUESS_HZ     4000000000ull
#define HZ_MIN       100000000ull
#define HZ_MAX       20000000000ull
#define MOMENT_TRIES 10u
/* 9 years: at HZ_MAX, ticks up to then still fit in 64 bits. */
#define FAR_FUTURE_NS (UINT64_MAX / 64)

#define CPUID_ECX_HYPERVISOR BIT(31)

struct clock clock = {.multiplier = (NSEC_PER_SEC << 32) / GUESS_HZ, .hz = GUESS_HZ, .source = "a guess"};
static uint64_t wall_base_seconds; /* at entry; 0: unknown */

/* boot.S */
extern const uint64_t boot_entry_tsc;

void clock_init_early(void)
{
    clock.entry_tsc = boot_entry_tsc;
}

uint64_t clock_ns_to_ticks(uint64_t ns)
{
    return muldiv(MIN(ns, FAR_FUTURE_NS), clock.hz, NSEC_PER_SEC);
}

void clock_spin_ns(uint64_t ns)
{
    uint64_t start = cpu_timestamp(), ticks = clock_ns_to_ticks(ns);
    while (cpu_timestamp() - start < ticks)
        cpu_relax();
}

uint64_t clock_wall_seconds(void)
{
    return wall_base_seconds ? wall_base_seconds + clock_ns() / NSEC_PER_SEC : 0;
}

static bool is_plausible(uint64_t hz)
{
    return hz >= HZ_MIN && hz <= HZ_MAX;
}

static bool set_rate(uint64_t hz, const char *source)
{
    if (!is_plausible(hz))
        return false;
    clock.hz = hz;
    clock.multiplier = muldiv(NSEC_PER_SEC, 1ull << 32, hz);
    clock.source = source;
    return true;
}

/* Exact: crystal frequency times ratio (SDM 2A, CPUID leaf 15H). */
static uint64_t hz_by_crystal(void)
{
    if (cpu_cpuid(0, 0).eax < 0x15)
        return 0;
    struct cpuid leaf = cpu_cpuid(0x15, 0);
    return leaf.eax ? muldiv(leaf.ecx, leaf.ebx, leaf.eax) : 0;
}

/* kHz in EAX, by a convention that VMware began and KVM follows. */
static uint64_t hz_by_hypervisor(void)
{
    if (!(cpu_cpuid(1, 0).ecx & CPUID_ECX_HYPERVISOR))
        return 0;
    uint32_t last = cpu_cpuid(0x40000000, 0).eax;
    if (last < 0x40000010 || last > 0x400000ff)
        return 0;
    return cpu_cpuid(0x40000010, 0).eax * 1000ull;
}

/* The nominal rate in MHz (leaf 16H): right to some 0.3 %, so only for want of a reference. */
static uint64_t hz_nominal(void)
{
    return cpu_cpuid(0, 0).eax >= 0x16 ? (cpu_cpuid(0x16, 0).eax & 0xffff) * 1000000ull : 0;
}

/* Not inlined, lest the loop be unrolled: an emulator translates each copy of the code when it first comes to
 * it, which takes longer than the reading; this one copy is soon warm. */
static noinline uint64_t read_bracketed(uint32_t (*read)(void), struct clock_moment *moment)
{
    uint64_t before = cpu_timestamp();
    uint32_t count = read();
    uint64_t width = cpu_timestamp() - before;
    *moment = (struct clock_moment){before + width / 2, count};
    return width;
}

struct clock_moment clock_read_moment(uint32_t (*read)(void))
{
    struct clock_moment best = {0, 0}, moment;
    uint64_t best_width = UINT64_MAX;
    for (unsigned i = 0; i < MOMENT_TRIES; i++) {
        uint64_t width = read_bracketed(read, &moment);
        if (width >= best_width)
            continue;
        best_width = width;
        best = moment;
    }
    return best;
}

/* 0 when it is not there or stands still. The wait is bounded by the TSC, at the highest rate there is. */
static uint64_t measure_hz(struct clock_reference *reference)
{
    if (!reference->start())
        return 0;
    uint32_t window = (uint32_t)muldiv(reference->window_ns, reference->hz, NSEC_PER_SEC);
    uint64_t patience = muldiv(8 * reference->window_ns, HZ_MAX, NSEC_PER_SEC);
    assert(window > 0 && window < reference->mask / 2);
    struct clock_moment start = clock_read_moment(reference->read);
    while (((reference->read() - start.count) & reference->mask) < window)
        if (cpu_timestamp() - start.ticks > patience)
            return 0;
    struct clock_moment end = clock_read_moment(reference->read);
    uint32_t counted = (end.count - start.count) & reference->mask;
    return counted >= window ? muldiv(end.ticks - start.ticks, reference->hz, counted) : 0;
}

static bool find_rate(void)
{
    if (set_rate(hz_by_crystal(), "CPUID 0x15") || set_rate(hz_by_hypervisor(), "the hypervisor"))
        return true;
    for (struct clock_reference *reference = clock_references; reference->name; reference++)
        if (set_rate(measure_hz(reference), reference->name))
            return true;
    return set_rate(hz_nominal(), "CPUID 0x16") ||
           set_rate(measure_hz(&clock_reference_last), clock_reference_last.name);
}

void clock_init(void)
{
    if (!find_rate())
        kernel_warn("clock", "nothing to measure the time-stamp counter by: %llu MHz assumed",
                    (unsigned long long)(clock.hz / 1000000));
    uint64_t now = clock_read_cmos();
    wall_base_seconds = now ? now - clock_ns() / NSEC_PER_SEC : 0;
    kernel_info("clock", "time-stamp counter at %llu.%03llu MHz by %s",
                (unsigned long long)(clock.hz / 1000000), (unsigned long long)(clock.hz / 1000 % 1000),
                clock.source);
}
