/* SPDX-License-Identifier: MIT */
/* The time-stamp counter's rate, measured on a simulated machine: counters of known rate, whose reading takes
 * time, under a host that now and then stops the CPU anywhere. */
#include <kernel/base/types.h>

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};
static inline uint64_t cpu_timestamp(void);
static inline struct cpuid cpu_cpuid(uint32_t leaf, uint32_t subleaf);

#define clock_wall_seconds own_wall_seconds
#include "../../src/arch/clock.h"
#include "../../src/arch/clock.c"

#include <kernel/log.h>
#include <kernel/random.h>
#include <stdarg.h>
#include <string.h>

#include "check.h"

static struct random random_state;

/* ---- The machine ---- */

static struct {
    uint64_t now_ps; /* the true time */
    uint64_t tsc_hz;
    uint64_t read_ps;     /* what reading a device takes */
    uint32_t stall_every; /* one in so many steps is interrupted by the host; 0: none is */
    bool is_running[3];   /* HPET, PM timer, PIT: counts */
    struct cpuid leaf_15, leaf_16;
    unsigned warnings;
} machine;

const uint64_t boot_entry_tsc = 0;

static uint64_t scale(uint64_t ps, uint64_t hz)
{
    return (uint64_t)((unsigned __int128)ps * hz / 1000000000000ull);
}

static void spend(uint64_t ps)
{
    machine.now_ps += ps;
    if (machine.stall_every && random_below(&random_state, machine.stall_every) == 0)
        machine.now_ps += random_below(&random_state, 3000000000ull);
}

static inline uint64_t cpu_timestamp(void)
{
    spend(10000);
    return scale(machine.now_ps, machine.tsc_hz);
}

static inline struct cpuid cpu_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0)
        return (struct cpuid){.eax = 0x16};
    return leaf == 0x15 ? machine.leaf_15 : leaf == 0x16 ? machine.leaf_16 : (struct cpuid){0};
}

/* The count is taken somewhere within the reading. */
static uint32_t read_counter(unsigned which)
{
    uint64_t before = random_below(&random_state, machine.read_ps);
    spend(before);
    struct clock_reference *reference = which < 2 ? &clock_references[which] : clock_reference_last;
    uint32_t count = machine.is_running[which] ? (uint32_t)scale(machine.now_ps, reference->hz) : 77;
    spend(machine.read_ps - before);
    return count & reference->mask;
}

static uint32_t hpet_read(void)
{
    return read_counter(0);
}
static uint32_t pm_timer_read(void)
{
    return read_counter(1);
}
static uint32_t pit_read(void)
{
    return read_counter(2);
}
static bool can_start[3];
static bool hpet_start(void)
{
    return can_start[0];
}
static bool pm_timer_start(void)
{
    return can_start[1];
}
static bool pit_start(void)
{
    return can_start[2];
}

struct clock_reference clock_references[] = {
    {"HPET", hpet_start, hpet_read, 100000000, UINT32_MAX},
    {"PM timer", pm_timer_start, pm_timer_read, 3579545, 0xffffff},
    {.name = NULL},
};
struct clock_reference clock_reference_last[] = {
    {"PIT", pit_start, pit_read, 1193182, 0xffff},
    {.name = NULL},
};

uint64_t clock_read_cmos(void)
{
    return 0;
}

void kernel_warn(const char *subsystem, const char *format, ...)
{
    (void)subsystem, (void)format;
    machine.warnings++;
}

void kernel_info(const char *subsystem, const char *format, ...)
{
    (void)subsystem, (void)format;
}

/* ---- Tests ---- */

static void start_machine(uint64_t tsc_hz, uint64_t read_ps)
{
    memset(&machine, 0, sizeof(machine));
    machine.now_ps = random_below(&random_state, 100000000000ull); /* the counters stand anywhere */
    machine.tsc_hz = tsc_hz;
    machine.read_ps = read_ps;
    for (unsigned i = 0; i < 3; i++)
        can_start[i] = machine.is_running[i] = true;
    is_known = false;
    clock =
        (struct clock){.multiplier = (NSEC_PER_SEC << 32) / GUESS_HZ, .hz = GUESS_HZ, .source = "a guess"};
    clock.entry_tsc = scale(machine.now_ps, tsc_hz);
}

/* The boot, which takes `boot_ps` between the two; the clock does not go back. Returns the time waited. */
static uint64_t calibrate(uint64_t boot_ps)
{
    uint64_t start_ps = machine.now_ps;
    clock_init();
    uint64_t began_ps = machine.now_ps;
    machine.now_ps += boot_ps;
    uint64_t before_ns = clock_ns();
    clock_calibrate();
    check(clock_ns() >= before_ns);
    return machine.now_ps - start_ps - MIN(boot_ps, machine.now_ps - began_ps);
}

static bool is_right(uint64_t parts)
{
    uint64_t error = clock.hz > machine.tsc_hz ? clock.hz - machine.tsc_hz : machine.tsc_hz - clock.hz;
    return error <= machine.tsc_hz / parts + 1;
}

static uint64_t random_hz(void)
{
    return 500000000ull + random_below(&random_state, 5000000000ull);
}

/* On a quiet host as short as the error allows; no wait at all when the boot took longer than that. */
static void quiet_host(void)
{
    for (int i = 0; i < 200; i++) {
        start_machine(random_hz(), 500000);
        uint64_t waited_ps = calibrate(0);
        check(is_right(ERROR_PART) && strcmp(clock.source, "HPET") == 0);
        check(waited_ps < 1500000000ull); /* 1.5 simulated ms */
        start_machine(random_hz(), 500000);
        check(calibrate(3000000000ull) < 50000000ull && is_right(ERROR_PART));
    }
}

/* Slow readings and stalls make it take longer, not less exact. */
static void busy_host(void)
{
    for (int i = 0; i < 300; i++) {
        start_machine(random_hz(), 100000 + random_below(&random_state, 20000000));
        machine.stall_every = 10 + (uint32_t)random_below(&random_state, 100);
        can_start[0] = i % 2;
        calibrate(random_below(&random_state, 2000000000ull));
        check(is_right(ERROR_PART) && machine.warnings == 0);
    }
}

/* One reading takes 1 ms: no rate to 0.05 % in the time there is, but the best that can be had. */
static void hopeless_host(void)
{
    start_machine(2600000000ull, 1000000000ull);
    check(calibrate(0) < 300000000000ull);
    check(is_right(20));
}

static void next_best_reference(void)
{
    start_machine(2600000000ull, 500000);
    machine.is_running[0] = false; /* stops after its start */
    calibrate(0);
    check(strcmp(clock.source, "PM timer") == 0 && is_right(ERROR_PART));

    start_machine(2600000000ull, 500000);
    can_start[0] = can_start[1] = false;
    calibrate(0);
    check(strcmp(clock.source, "PIT") == 0 && is_right(ERROR_PART));

    start_machine(2600000000ull, 500000);
    can_start[0] = can_start[1] = false;
    machine.leaf_16.eax = 2500;
    calibrate(0);
    check(strcmp(clock.source, "CPUID 0x16") == 0 && clock.hz == 2500000000ull);

    start_machine(2600000000ull, 500000);
    can_start[0] = can_start[1] = can_start[2] = false;
    calibrate(0);
    check(machine.warnings == 1 && clock.hz == GUESS_HZ);
}

static void rate_by_cpuid(void)
{
    start_machine(2600000000ull, 500000);
    machine.leaf_15 = (struct cpuid){.eax = 2, .ebx = 208, .ecx = 25000000};
    check(calibrate(0) < 1000000);
    check(clock.hz == 2600000000ull && strcmp(clock.source, "CPUID 0x15") == 0);
    start_machine(2600000000ull, 500000);
    machine.leaf_15 = (struct cpuid){.eax = 2, .ebx = 208, .ecx = 1}; /* nonsense */
    calibrate(0);
    check(is_right(ERROR_PART) && strcmp(clock.source, "HPET") == 0);
}

int main(void)
{
    random_init(&random_state, 5);
    quiet_host();
    busy_host();
    hopeless_host();
    next_best_reference();
    rate_by_cpuid();
    return check_finish();
}
