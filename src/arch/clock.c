/* SPDX-License-Identifier: MIT */
/* The time-stamp counter as the kernel's clock: its rate, and the conversions.
 *
 * A measured rate is (ticks between two moments) / (reference counts between them). Each moment is the
 * tightest of a few "TSC, reference, TSC" readings, and the width of that bounds its error; what happens
 * between the moments does not matter, so a host that takes the CPU away spoils nothing, and the boot goes
 * on. `clock` is written on the boot CPU before others run. */
#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#include "clock_internal.h"

#define GUESS_HZ     6000000000ull /* more than any: the clock may not go back when the rate is known */
#define HZ_MIN       100000000ull
#define HZ_MAX       20000000000ull
#define MOMENT_TRIES 10u
#define ERROR_PART   2000u /* 0.05 % */
/* Some 0.1 s: then the widths are those of a very busy host, and what has been counted must do. */
#define PATIENCE_TICKS 300000000ull
/* 9 years: at HZ_MAX, ticks up to then still fit in 64 bits. */
#define FAR_FUTURE_NS (UINT64_MAX / 64)

#define CPUID_ECX_HYPERVISOR BIT(31)

struct clock clock = {.multiplier = (NSEC_PER_SEC << 32) / GUESS_HZ, .hz = GUESS_HZ, .source = "a guess"};
static uint64_t wall_base_seconds; /* at entry; 0: unknown */

/* From clock_init to clock_calibrate; the boot CPU's. */
static bool is_known;
static struct clock_reference *reference; /* what is measured by; NULL: nothing */
static struct clock_moment reference_start;

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
static noinline struct clock_moment read_bracketed(uint32_t (*read)(void))
{
    uint64_t before = cpu_timestamp();
    uint32_t count = read();
    uint64_t width = cpu_timestamp() - before;
    return (struct clock_moment){.ticks = before + width / 2, .width_ticks = width, .count = count};
}

struct clock_moment clock_read_moment(uint32_t (*read)(void))
{
    struct clock_moment best = read_bracketed(read);
    for (unsigned i = 1; i < MOMENT_TRIES; i++) {
        struct clock_moment moment = read_bracketed(read);
        if (moment.width_ticks < best.width_ticks)
            best = moment;
    }
    return best;
}

/* The moments are wrong by half of their widths, the counts by one. */
static bool is_exact(struct clock_moment start, struct clock_moment end, uint32_t counted)
{
    uint64_t ticks = end.ticks - start.ticks;
    return counted > 0 && (start.width_ticks + end.width_ticks) / 2 + ticks / counted <= ticks / ERROR_PART;
}

uint32_t clock_count_since(struct clock_moment start, uint32_t (*read)(void), uint32_t mask, uint64_t *ticks)
{
    struct clock_moment end;
    uint32_t counted;
    do {
        end = clock_read_moment(read);
        counted = (end.count - start.count) & mask;
        *ticks = end.ticks - start.ticks;
    } while (!is_exact(start, end, counted) && counted < mask / 2 && *ticks < PATIENCE_TICKS);
    return counted;
}

/* Starts the first of the references from `candidate` on that counts. NULL: none does. */
static struct clock_reference *begin(struct clock_reference *candidate)
{
    while (candidate->name && !candidate->start())
        candidate++;
    if (!candidate->name)
        return NULL;
    reference_start = clock_read_moment(candidate->read);
    return candidate;
}

/* 0: it stands still. */
static uint64_t measured_hz(const struct clock_reference *by)
{
    uint64_t ticks;
    uint32_t counted = clock_count_since(reference_start, by->read, by->mask, &ticks);
    return counted ? muldiv(ticks, by->hz, counted) : 0;
}

static bool find_rate(void)
{
    for (; reference; reference = begin(reference + 1))
        if (set_rate(measured_hz(reference), reference->name))
            return true;
    if (set_rate(hz_nominal(), "CPUID 0x16"))
        return true;
    reference = begin(clock_reference_last);
    return reference && set_rate(measured_hz(reference), reference->name);
}

void clock_init(void)
{
    is_known = set_rate(hz_by_crystal(), "CPUID 0x15") || set_rate(hz_by_hypervisor(), "the hypervisor");
    reference = is_known ? NULL : begin(clock_references);
}

void clock_calibrate(void)
{
    if (!is_known && !find_rate())
        kernel_warn("clock", "nothing to measure the time-stamp counter by: %llu MHz assumed",
                    (unsigned long long)(clock.hz / 1000000));
    uint64_t now = clock_read_cmos();
    wall_base_seconds = now ? now - clock_ns() / NSEC_PER_SEC : 0;
    kernel_info("clock", "time-stamp counter at %llu.%03llu MHz by %s",
                (unsigned long long)(clock.hz / 1000000), (unsigned long long)(clock.hz / 1000 % 1000),
                clock.source);
}
