/* SPDX-License-Identifier: MIT */
/* What the compilers' checks of debug builds call: undefined behaviour (-fsanitize=undefined) and a damaged
 * stack frame (-fstack-protector). Each ends in a panic: both are bugs of ours. The argument layouts are the
 * compilers' (compiler-rt, lib/ubsan/ubsan_handlers.h); only the source location is used, which comes first
 * in all but one. */
#include <kernel/base/types.h>
#include <kernel/panic.h>

#ifdef UMBRA_DEBUG

struct source_location {
    const char *file;
    uint32_t line, column;
};

/* Constant: functions that are on the stack would see a change. A zero byte stops text from copying it. */
extern uintptr_t __stack_chk_guard;
uintptr_t __stack_chk_guard = 0x5bd1e9950a00ff2dull;

noreturn void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
    panic("stack frame overwritten in the caller");
}

static noreturn cold void fail(const struct source_location *at, const char *what)
{
    panic("undefined behaviour: %s at %s:%u:%u", what, at->file, at->line, at->column);
}

/* One handler: a name, its parameters besides the data, and what it means. */
#define UBSAN_HANDLER(name, what, ...)                                                                \
    noreturn void __ubsan_handle_##name(const struct source_location *at __VA_OPT__(, ) __VA_ARGS__); \
    void __ubsan_handle_##name(const struct source_location *at __VA_OPT__(, ) __VA_ARGS__)           \
    {                                                                                                 \
        fail(at, what);                                                                               \
    }

UBSAN_HANDLER(add_overflow, "signed addition overflows", uintptr_t a, uintptr_t b)
UBSAN_HANDLER(sub_overflow, "signed subtraction overflows", uintptr_t a, uintptr_t b)
UBSAN_HANDLER(mul_overflow, "signed multiplication overflows", uintptr_t a, uintptr_t b)
UBSAN_HANDLER(negate_overflow, "negation overflows", uintptr_t a)
UBSAN_HANDLER(divrem_overflow, "division by zero or overflow", uintptr_t a, uintptr_t b)
UBSAN_HANDLER(shift_out_of_bounds, "shift by too much, or of a negative number", uintptr_t a, uintptr_t b)
UBSAN_HANDLER(out_of_bounds, "array index out of bounds", uintptr_t index)
UBSAN_HANDLER(vla_bound_not_positive, "array of negative size", uintptr_t bound)
UBSAN_HANDLER(load_invalid_value, "load of a value that its type does not have", uintptr_t value)
UBSAN_HANDLER(pointer_overflow, "pointer arithmetic overflows", uintptr_t base, uintptr_t result)
UBSAN_HANDLER(builtin_unreachable, "unreachable code reached")
UBSAN_HANDLER(missing_return, "end of a function without return")
UBSAN_HANDLER(invalid_builtin, "zero passed to a bit-count builtin")
UBSAN_HANDLER(nonnull_arg, "NULL for a parameter that must not be")
UBSAN_HANDLER(alignment_assumption, "alignment assumption broken", uintptr_t pointer, uintptr_t alignment,
              uintptr_t offset)
UBSAN_HANDLER(function_type_mismatch, "call through a pointer of another type", uintptr_t function)

struct type_mismatch {
    struct source_location at;
    const void *type;
    uint8_t alignment_log2;
    uint8_t kind;
};
noreturn void __ubsan_handle_type_mismatch_v1(const struct type_mismatch *data, uintptr_t pointer);
void __ubsan_handle_type_mismatch_v1(const struct type_mismatch *data, uintptr_t pointer)
{
    panic("undefined behaviour: access to %s 0x%llx at %s:%u:%u",
          pointer == 0 ? "NULL" : "a misaligned or too small object at", (unsigned long long)pointer,
          data->at.file, data->at.line, data->at.column);
}

/* This one gets the location in a second parameter. */
noreturn void __ubsan_handle_nonnull_return_v1(const void *data, const struct source_location *at);
void __ubsan_handle_nonnull_return_v1(const void *data, const struct source_location *at)
{
    fail(at, "NULL returned where that must not be");
}

#endif
