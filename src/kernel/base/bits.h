/* SPDX-License-Identifier: MIT */
/* Rounding, powers of two, and unaligned little- and big-endian fields. Header only. */
#ifndef KERNEL_BASE_BITS_H
#define KERNEL_BASE_BITS_H

#include <kernel/base/types.h>

#define BIT(n) (1ull << (n))

static inline bool is_power_of_two(uint64_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

/* `x` rounded to a multiple of `step`, a power of two. */
static inline uint64_t align_up(uint64_t x, uint64_t step)
{
    return (x + step - 1) & ~(step - 1);
}

static inline uint64_t align_down(uint64_t x, uint64_t step)
{
    return x & ~(step - 1);
}

static inline bool is_aligned(uint64_t x, uint64_t step)
{
    return (x & (step - 1)) == 0;
}

/* Floor of the base-2 logarithm; `x` must not be 0. */
static inline unsigned ilog2(uint64_t x)
{
    return 63u - (unsigned)__builtin_clzll(x);
}

static inline uint64_t div_round_up(uint64_t x, uint64_t by)
{
    return (x + by - 1) / by;
}

/* `a * b / c` through a 128-bit product; the quotient must fit in 64 bits. In assembler, since the compiler
 * would call a library for the division. */
static inline uint64_t muldiv(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t low, high, quotient;
    __asm__("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "r"(b) : "cc");
    __asm__("divq %3" : "=a"(quotient), "=d"(high) : "a"(low), "r"(c), "1"(high) : "cc");
    return quotient;
}

#define BITS_DEFINE_UNALIGNED(width)                                    \
    static inline uint##width##_t load_le##width(const void *from)      \
    {                                                                   \
        uint##width##_t value;                                          \
        __builtin_memcpy(&value, from, sizeof(value));                  \
        return value;                                                   \
    }                                                                   \
    static inline void store_le##width(void *to, uint##width##_t value) \
    {                                                                   \
        __builtin_memcpy(to, &value, sizeof(value));                    \
    }                                                                   \
    static inline uint##width##_t load_be##width(const void *from)      \
    {                                                                   \
        return __builtin_bswap##width(load_le##width(from));            \
    }
BITS_DEFINE_UNALIGNED(16)
BITS_DEFINE_UNALIGNED(32)
BITS_DEFINE_UNALIGNED(64)
#undef BITS_DEFINE_UNALIGNED

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "load_le and store_le are plain copies");

#endif
