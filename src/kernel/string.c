/* SPDX-License-Identifier: MIT */
/* Texts into numbers and bounded copies. The C library's own functions are in string_libc.c. */
#include <kernel/base/error.h>
#include <kernel/string.h>

size_t string_copy(char *to, const char *from, size_t to_bytes)
{
    size_t length = strlen(from);
    if (to_bytes > 0) {
        size_t kept = MIN(length, to_bytes - 1);
        memcpy(to, from, kept);
        to[kept] = '\0';
    }
    return length;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Reads digits from `*text`, which it moves behind the last one. */
static int parse_number(const char **text, uint64_t *value)
{
    const char *at = *text;
    int base = 10;
    uint64_t result = 0;
    if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
        base = 16;
        at += 2;
    }
    const char *first = at;
    for (; digit_value(*at) < base; at++)
        if (__builtin_mul_overflow(result, (uint64_t)base, &result) ||
            __builtin_add_overflow(result, (uint64_t)digit_value(*at), &result))
            return -ERANGE;
    if (at == first)
        return -EINVAL;
    *text = at;
    *value = result;
    return 0;
}

int string_to_u64(const char *text, uint64_t *value)
{
    uint64_t result;
    int error = parse_number(&text, &result);
    if (error)
        return error;
    if (*text != '\0')
        return -EINVAL;
    *value = result;
    return 0;
}

int string_to_size(const char *text, uint64_t *bytes)
{
    static const char suffixes[] = "kKmMgGtT";
    uint64_t result;
    int error = parse_number(&text, &result);
    if (error)
        return error;
    if (*text != '\0') {
        const char *suffix = strchr(suffixes, *text);
        if (!suffix || text[1] != '\0')
            return -EINVAL;
        unsigned shift = 10 * ((unsigned)(suffix - suffixes) / 2 + 1);
        if (result > UINT64_MAX >> shift)
            return -ERANGE;
        result <<= shift;
    }
    *bytes = result;
    return 0;
}
