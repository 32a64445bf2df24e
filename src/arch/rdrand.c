/* SPDX-License-Identifier: MIT */
/* RDSEED draws on the entropy source itself, RDRAND on a generator that the source seeds. Both may run dry,
 * which the carry flag tells; the SDM says to try RDRAND ten times. Any context; CPUID is read each time,
 * since nobody calls this often. */
#include <arch/cpu.h>
#include <arch/rdrand.h>
#include <kernel/base/bits.h>

#define CPUID_1_ECX_RDRAND BIT(30)
#define CPUID_7_EBX_RDSEED BIT(18)
#define TRIES_MAX          10u

static bool has_rdrand(void)
{
    return (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND) != 0;
}

static bool has_rdseed(void)
{
    return cpu_cpuid(0, 0).eax >= 7 && (cpu_cpuid(7, 0).ebx & CPUID_7_EBX_RDSEED) != 0;
}

const char *rdrand_name(void)
{
    return has_rdseed() ? "rdseed" : has_rdrand() ? "rdrand" : NULL;
}

static bool read_seed(uint64_t *value)
{
    bool is_good;
    __asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(is_good));
    return is_good;
}

static bool read_generator(uint64_t *value)
{
    bool is_good;
    __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(is_good));
    return is_good;
}

bool rdrand_read(uint64_t *value)
{
    bool (*read)(uint64_t *) = has_rdseed() ? read_seed : has_rdrand() ? read_generator : NULL;
    for (unsigned tries = 0; read && tries < TRIES_MAX; tries++) {
        if (read(value))
            return true;
        cpu_relax();
    }
    return false;
}
