/* SPDX-License-Identifier: MIT */
/* Time since the kernel's entry, from the time-stamp counter. Its rate is taken once from the best source
 * there is: CPUID leaf 0x15 or the hypervisor's leaf, else measured against HPET or ACPI PM timer, else CPUID
 * leaf 0x16 (nominal), else measured against the PIT. Any context. */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <arch/cpu.h>

struct clock {
    uint64_t entry_tsc;
    uint64_t multiplier; /* ns = ticks * multiplier >> 32 */
    uint64_t hz;
    const char *source; /* what it was calibrated by */
};
extern struct clock clock;

/* By cpu_init(0): clock_ns() counts from boot.S's time stamp with a guessed rate, too slow rather than too
 * fast, so that it does not run backwards at clock_calibrate. */
void clock_init_early(void);
/* After acpi_init: takes a rate that the CPU tells, or begins to measure. */
void clock_init(void);
/* Ends that, some milliseconds after clock_init at the earliest: the boot does other things meanwhile. */
void clock_calibrate(void);

static always_inline uint64_t clock_ns(void)
{
    return (uint64_t)((unsigned __int128)(cpu_timestamp() - clock.entry_tsc) * clock.multiplier >> 32);
}
/* Ticks that last `ns`. */
uint64_t clock_ns_to_ticks(uint64_t ns);
/* Busy-waits; for device and CPU start-up only. */
void clock_spin_ns(uint64_t ns);
/* Seconds since 1970 from the CMOS clock, read once at clock_calibrate, plus clock_ns(). */
uint64_t clock_wall_seconds(void);

#endif
