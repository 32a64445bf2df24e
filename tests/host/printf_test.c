/* SPDX-License-Identifier: MIT */
/* The kernel's vsnprintf against the C library's, over random formats and values. The kernel's file is
 * included under other names. */
#include <kernel/base/types.h>
#include <kernel/random.h>
#include <string.h>

#include "check.h"

#define vsnprintf kernel_vsnprintf
#define snprintf  kernel_snprintf
int kernel_vsnprintf(char *to, size_t bytes, const char *format, va_list arguments) printf_like(3, 0);
int kernel_snprintf(char *to, size_t bytes, const char *format, ...) printf_like(3, 4);
#include "../../src/kernel/printf.c"
#undef vsnprintf
#undef snprintf

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat"

static struct random random_state;

static uint64_t below(uint64_t limit)
{
    return random_below(&random_state, limit);
}

static void expect_same(const char *format, size_t room, uint64_t value)
{
    char ours[256], theirs[256];
    memset(ours, '~', sizeof(ours));
    memset(theirs, '~', sizeof(theirs));
    int our_length = kernel_snprintf(ours, room, format, value);
    int their_length = snprintf(theirs, room, format, value);
    check_equal(our_length, their_length);
    check(memcmp(ours, theirs, sizeof(ours)) == 0);
    if (our_length != their_length || memcmp(ours, theirs, sizeof(ours)) != 0)
        fprintf(stderr, "  format '%s', value %#llx, room %zu: '%.*s' for '%.*s'\n", format,
                (unsigned long long)value, room, (int)room, ours, (int)room, theirs);
}

static uint64_t random_value(void)
{
    static const uint64_t edges[] = {0,         1,           7,          8,         9,          10,
                                     INT32_MAX, 0x80000000u, UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX};
    if (below(2))
        return edges[below(ARRAY_SIZE(edges))];
    return random_next(&random_state) >> below(64);
}

/* "%-08.3llx" and the like, between two literals. */
static void make_number_format(char *format)
{
    static const char *const sizes[] = {"", "h", "hh", "l", "ll", "z", "j", "t"};
    format += sprintf(format, "a%%");
    for (const char *flag = "-0+ #"; *flag; flag++)
        if (below(3) == 0)
            *format++ = *flag;
    if (below(2))
        format += sprintf(format, "%u", (unsigned)(1 + below(30)));
    if (below(3) == 0)
        format += sprintf(format, ".%s%.0u", below(4) ? "" : "0", (unsigned)below(30));
    sprintf(format, "%s%cz", sizes[below(ARRAY_SIZE(sizes))], "diuxXo"[below(6)]);
}

static void numbers_match(void)
{
    char format[64];
    for (int i = 0; i < 200000; i++) {
        make_number_format(format);
        expect_same(format, below(4) ? 200 : below(40), random_value());
    }
}

static void texts_match(void)
{
    static const char *const formats[] = {"%s", "%10s|", "%-10s|", "%.2s", "%.0s|", "%-6.3s|", "%5.9s"};
    static const char *const texts[] = {"", "a", "hello", "a longer text than any width"};
    for (size_t f = 0; f < ARRAY_SIZE(formats); f++)
        for (size_t t = 0; t < ARRAY_SIZE(texts); t++)
            for (size_t room = 0; room < 40; room++)
                expect_same(formats[f], room, (uintptr_t)texts[t]);
    expect_same("%p", 40, 0x1234abcd);
    expect_same("%20p|", 40, 0xffffffff80001234);
    expect_same("%-20p|", 40, 0);
    expect_same("%c", 40, 'x');
    expect_same("%5c|", 40, 'x');
    expect_same("%-5c|", 40, 'x');
    expect_same("100%% %%", 40, 0);
}

/* A precision without a terminator behind it must not read on: the sanitizer would see it. */
static void precision_bounds_reading(void)
{
    char text[4] = {'a', 'b', 'c', 'd'}, to[16];
    check_equal(kernel_snprintf(to, sizeof(to), "%.4s", text), 4);
    check(strcmp(to, "abcd") == 0);
    check_equal(kernel_snprintf(to, sizeof(to), "%.*s", 2, text), 2);
    check(strcmp(to, "ab") == 0);
}

static void stars_match(void)
{
    char ours[64], theirs[64];
    for (int width = -12; width <= 12; width++)
        for (int precision = -3; precision < 8; precision++) {
            check_equal(kernel_snprintf(ours, sizeof(ours), "%*.*d|%-*x", width, precision, 42, width, 0xabu),
                        snprintf(theirs, sizeof(theirs), "%*.*d|%-*x", width, precision, 42, width, 0xabu));
            check(strcmp(ours, theirs) == 0);
        }
}

static void own_cases(void)
{
    char to[32];
    const char *volatile null = NULL;
    kernel_snprintf(to, sizeof(to), "%s", null);
    check(strcmp(to, "(null)") == 0);
    kernel_snprintf(to, sizeof(to), "a %k b %");
    check(strcmp(to, "a %k b %") == 0);
    check_equal(kernel_snprintf(NULL, 0, "%d", 12345), 5);
}

int main(void)
{
    random_init(&random_state, 1);
    numbers_match();
    texts_match();
    precision_bounds_reading();
    stars_match();
    own_cases();
    return check_finish();
}
