/* SPDX-License-Identifier: MIT */
/* The end of the kernel: for a broken invariant of its own, and for nothing else. */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <kernel/base/types.h>

struct trap_frame;

/* Prints "PANIC: text", stops the other CPUs, prints the registers (of `frame`, if any), a backtrace of
 * every CPU and the last trace events, and leaves: debug-exit port, then ACPI, then halt. Any context; a
 * panic within a panic halts. */
noreturn cold void panic(const char *format, ...) printf_like(1, 2);
noreturn cold void panic_at(const struct trap_frame *frame, const char *format, ...) printf_like(2, 3);

/* Prints up to 32 return addresses from a frame-pointer chain, as symbol+offset. Reads only mapped
 * kernel addresses. */
void backtrace_print(uint64_t frame_pointer, uint64_t instruction);

/* On each CPU that a panic stops (from its panic IPI): prints nothing, records its frame, halts. */
noreturn void panic_stop_this_cpu(const struct trap_frame *frame);

/* How the kernel leaves (contract, "Leaving"). */
enum exit_code { EXIT_OK = 0x10, EXIT_FAILED = 0x11, EXIT_PANIC = 0x12 };
noreturn void kernel_leave(enum exit_code code);

#endif
