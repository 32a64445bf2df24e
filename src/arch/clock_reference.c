/* SPDX-License-Identifier: MIT */
/* Counters of a known rate: HPET (IA-PC HPET 1.0a), ACPI PM timer (ACPI 6.4, 4.8.3.3), PIT channel 0 (8254);
 * and the CMOS calendar (MC146818). Used once, from clock_init to clock_calibrate, on the boot CPU with
 * interrupts off. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/io.h>
#include <arch/mmu.h>
#include <kernel/base/bits.h>

#include "clock_internal.h"

#define HPET_BYTES          0x400u
#define HPET_PERIOD_FS      0x04
#define HPET_CONFIG         0x10
#define HPET_COUNTER        0xf0
#define HPET_CONFIG_ENABLE  BIT(0)
#define HPET_PERIOD_FS_MIN  100000u
#define HPET_PERIOD_FS_MAX  100000000u /* by the specification: 10 MHz or more */
#define FEMTOSECONDS        1000000000000000ull
#define PM_TIMER_HZ         3579545u
#define PIT_HZ              1193182u
#define PIT_CHANNEL_0       0x40
#define PIT_COMMAND         0x43
#define PIT_RATE_GENERATOR  0x34 /* channel 0, both bytes, mode 2 */
#define PIT_LATCH           0x00
#define READS_TO_SEE_A_TICK 1000u

static volatile uint8_t *hpet;

static bool counts(uint32_t (*read)(void))
{
    uint32_t first = read();
    for (unsigned i = 0; i < READS_TO_SEE_A_TICK; i++)
        if (read() != first)
            return true;
    return false;
}

static uint32_t hpet_read(void)
{
    return mmio_read32(hpet + HPET_COUNTER);
}

static bool hpet_start(void)
{
    hpet = acpi_info.hpet_address ? mmu_map_device(acpi_info.hpet_address, HPET_BYTES) : NULL;
    if (!hpet)
        return false;
    uint32_t period_fs = mmio_read32(hpet + HPET_PERIOD_FS);
    if (period_fs < HPET_PERIOD_FS_MIN || period_fs > HPET_PERIOD_FS_MAX)
        return false;
    clock_references[0].hz = FEMTOSECONDS / period_fs;
    mmio_write32(hpet + HPET_CONFIG, mmio_read32(hpet + HPET_CONFIG) | HPET_CONFIG_ENABLE);
    return counts(hpet_read);
}

static uint32_t pm_timer_read(void)
{
    return port_read32(acpi_info.pm_timer_port);
}

static bool pm_timer_start(void)
{
    return acpi_info.pm_timer_port != 0 && counts(pm_timer_read);
}

/* It counts down; the complement counts up. */
static uint32_t pit_read(void)
{
    port_write8(PIT_COMMAND, PIT_LATCH);
    uint32_t low = port_read8(PIT_CHANNEL_0);
    return ~(low | (uint32_t)port_read8(PIT_CHANNEL_0) << 8);
}

static bool pit_start(void)
{
    port_write8(PIT_COMMAND, PIT_RATE_GENERATOR);
    port_write8(PIT_CHANNEL_0, 0); /* 65536 */
    port_write8(PIT_CHANNEL_0, 0);
    return counts(pit_read);
}

struct clock_reference clock_references[] = {
    {"HPET", hpet_start, hpet_read, 0, UINT32_MAX},
    {"ACPI PM timer", pm_timer_start, pm_timer_read, PM_TIMER_HZ, 0xffffff},
    {.name = NULL},
};
struct clock_reference clock_reference_last[] = {
    {"PIT", pit_start, pit_read, PIT_HZ, 0xffff},
    {.name = NULL},
};

#define CMOS_SELECT          0x70
#define CMOS_DATA            0x71
#define CMOS_STATUS_A        0x0a
#define CMOS_STATUS_B        0x0b
#define CMOS_UPDATING        BIT(7)
#define CMOS_IS_BINARY       BIT(2)
#define CMOS_IS_24_HOURS     BIT(1)
#define CMOS_PM              BIT(7)
#define CMOS_READS_MAX       16u
#define CMOS_UPDATE_LIMIT_NS (3 * NSEC_PER_MSEC) /* an update takes 2 ms at most */

struct calendar {
    uint8_t seconds, minutes, hours, day, month, year, century;
};

static uint8_t cmos_read(uint8_t index)
{
    port_write8(CMOS_SELECT, index);
    return port_read8(CMOS_DATA);
}

static void wait_for_update_end(void)
{
    uint64_t start_ns = clock_ns();
    while ((cmos_read(CMOS_STATUS_A) & CMOS_UPDATING) && clock_ns() - start_ns < CMOS_UPDATE_LIMIT_NS)
        cpu_relax();
}

static struct calendar read_calendar(void)
{
    wait_for_update_end();
    return (struct calendar){
        .seconds = cmos_read(0),
        .minutes = cmos_read(2),
        .hours = cmos_read(4),
        .day = cmos_read(7),
        .month = cmos_read(8),
        .year = cmos_read(9),
        .century = acpi_info.century ? cmos_read(acpi_info.century) : 0,
    };
}

static uint8_t from_bcd(uint8_t value)
{
    return (uint8_t)((value >> 4) * 10 + (value & 15));
}

static void decode(struct calendar *c, uint8_t status_b)
{
    bool is_pm = !(status_b & CMOS_IS_24_HOURS) && (c->hours & CMOS_PM);
    c->hours &= (uint8_t)~CMOS_PM;
    if (!(status_b & CMOS_IS_BINARY))
        *c = (struct calendar){from_bcd(c->seconds), from_bcd(c->minutes), from_bcd(c->hours),
                               from_bcd(c->day),     from_bcd(c->month),   from_bcd(c->year),
                               from_bcd(c->century)};
    if (!(status_b & CMOS_IS_24_HOURS))
        c->hours = (uint8_t)(c->hours % 12 + (is_pm ? 12 : 0));
}

static uint64_t days_since_1970(uint64_t year, uint64_t month, uint64_t day)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t leap_year = month > 2 ? year : year - 1; /* this year's 29 February counts from March on */
    uint64_t leap_days = leap_year / 4 - leap_year / 100 + leap_year / 400 - 477; /* 477 up to 1969 */
    return (year - 1970) * 365 + before[month - 1] + leap_days + day - 1;
}

/* An update between two register reads gives nonsense: so the same text twice, or none. */
uint64_t clock_read_cmos(void)
{
    if (cmos_read(CMOS_STATUS_A) == 0xff) /* no such device */
        return 0;
    struct calendar c = read_calendar(), again = c;
    for (unsigned i = 0; i < CMOS_READS_MAX; i++, c = again) {
        again = read_calendar();
        if (__builtin_memcmp(&c, &again, sizeof(c)) == 0)
            break;
    }
    decode(&c, cmos_read(CMOS_STATUS_B));
    uint64_t year = c.year + (c.century >= 19 && c.century <= 29 ? c.century * 100u : 2000u);
    if (c.month < 1 || c.month > 12 || c.day < 1 || c.day > 31 || c.hours > 23 || c.minutes > 59 ||
        c.seconds > 60 || year < 1970)
        return 0;
    return days_since_1970(year, c.month, c.day) * 86400 + c.hours * 3600u + c.minutes * 60u + c.seconds;
}
