/* SPDX-License-Identifier: MIT */
/* Types and small macros that every layer uses. Header only; the host builds it too. */
#ifndef KERNEL_BASE_TYPES_H
#define KERNEL_BASE_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t phys_addr_t; /* a physical (and, without an IOMMU, a DMA) address, in bytes */
typedef int64_t ssize_type;

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define NSEC_PER_USEC 1000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_SEC  1000000000ull

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of `type` whose `member` `pointer` points at. */
#define container_of(pointer, type, member)                            \
    ({                                                                 \
        __typeof__(((type *)0)->member) *container_of_ptr = (pointer); \
        (type *)((char *)container_of_ptr - offsetof(type, member));   \
    })

#define MIN(a, b)                      \
    ({                                 \
        __typeof__(a) min_a = (a);     \
        __typeof__(b) min_b = (b);     \
        min_a < min_b ? min_a : min_b; \
    })
#define MAX(a, b)                      \
    ({                                 \
        __typeof__(a) max_a = (a);     \
        __typeof__(b) max_b = (b);     \
        max_a > max_b ? max_a : max_b; \
    })

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define must_check        __attribute__((warn_unused_result))
#define noreturn          __attribute__((noreturn))
#define packed            __attribute__((packed))
#define aligned(n)        __attribute__((aligned(n)))
#define cold              __attribute__((cold))
#define noinline          __attribute__((noinline))
#define always_inline     inline __attribute__((always_inline))
#define printf_like(f, a) __attribute__((format(printf, f, a)))

/* For the rarely taken calls of a hot function: the callee saves what it uses, so that the hot path need not
 * keep anything in registers that it would have to save itself. clang 14 makes a jump of a call at the end of
 * such a function, and then nobody saves what that uses: hence no tail calls. */
#ifdef __clang__
#define preserve_registers noinline __attribute__((no_caller_saved_registers, disable_tail_calls))
#else
#define preserve_registers noinline __attribute__((no_caller_saved_registers))
#endif

#define CACHE_LINE_BYTES 64
#define PAGE_SHIFT       12
#define PAGE_BYTES       4096ull

/* Accesses that the compiler may neither tear, repeat nor move across each other. */
#define read_once(x)     (*(const volatile __typeof__(x) *)&(x))
#define write_once(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

#endif
