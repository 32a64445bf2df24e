/* SPDX-License-Identifier: MIT */
/* vsnprintf as in C17 7.21.6.1, without floating point, wide characters and %n. An unknown conversion is
 * copied as it stands. Any context: no lock, no allocation. */
#include <kernel/base/types.h>
#include <kernel/printf.h>
#include <kernel/string.h>

struct output {
    char *to;
    size_t bytes;  /* room, with the terminator */
    size_t length; /* of the whole text, stored or not */
};

struct conversion {
    bool is_left, is_zero_padded, has_plus, has_blank, is_alternate;
    bool is_upper;
    int width;
    int precision; /* -1: none given */
    char size;     /* 'H' hh, 'h', 'l', 'q' ll, 'z', 'j', 't', 0 */
    char kind;     /* d u x o c s p % */
};

static void put(struct output *out, char c)
{
    if (out->length + 1 < out->bytes)
        out->to[out->length] = c;
    out->length++;
}

static void put_repeated(struct output *out, char c, int count)
{
    while (count-- > 0)
        put(out, c);
}

static void put_text(struct output *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        put(out, text[i]);
}

/* Sign or 0x prefix, zeros and digits, in a field. */
static void put_field(struct output *out, const struct conversion *c, const char *prefix, int zeros,
                      const char *text, int length)
{
    int prefix_length = (int)strlen(prefix);
    int padding = c->width - prefix_length - zeros - length;
    if (c->is_zero_padded && padding > 0) {
        zeros += padding;
        padding = 0;
    }
    if (!c->is_left)
        put_repeated(out, ' ', padding);
    put_text(out, prefix, (size_t)prefix_length);
    put_repeated(out, '0', zeros);
    put_text(out, text, (size_t)length);
    if (c->is_left)
        put_repeated(out, ' ', padding);
}

/* Writes digits backwards from `end`; returns the first one. No digit for 0. */
static char *make_digits(char *end, uint64_t value, unsigned base, bool is_upper)
{
    const char *digits = is_upper ? "0123456789ABCDEF" : "0123456789abcdef";
    for (; value; value /= base)
        *--end = digits[value % base];
    return end;
}

static void put_number(struct output *out, struct conversion c, uint64_t value, const char *prefix)
{
    char digits[24];
    char *end = digits + sizeof(digits);
    unsigned base = c.kind == 'x' ? 16 : c.kind == 'o' ? 8 : 10;
    char *first = make_digits(end, value, base, c.is_upper);
    int length = (int)(end - first);
    int minimum = c.precision < 0 ? 1 : c.precision;
    if (c.precision >= 0)
        c.is_zero_padded = false;
    if (c.is_alternate && c.kind == 'x' && value)
        prefix = c.is_upper ? "0X" : "0x";
    if (c.is_alternate && c.kind == 'o')
        minimum = MAX(minimum, length + 1);
    if (c.kind == 'o' && !value && minimum > 1 && c.precision <= 0)
        minimum = 1; /* "%#o" of 0 is one zero */
    put_field(out, &c, prefix, MAX(minimum - length, 0), first, length);
}

static uint64_t read_unsigned(const struct conversion *c, va_list *arguments)
{
    switch (c->size) {
    case 'H':
        return (unsigned char)va_arg(*arguments, unsigned);
    case 'h':
        return (unsigned short)va_arg(*arguments, unsigned);
    case 0:
        return va_arg(*arguments, unsigned);
    default: /* long, long long, size_t, intmax_t and ptrdiff_t all have 64 bits */
        return va_arg(*arguments, uint64_t);
    }
}

static int64_t read_signed(const struct conversion *c, va_list *arguments)
{
    switch (c->size) {
    case 'H':
        return (signed char)va_arg(*arguments, int);
    case 'h':
        return (short)va_arg(*arguments, int);
    case 0:
        return va_arg(*arguments, int);
    default:
        return va_arg(*arguments, int64_t);
    }
}

static void put_signed(struct output *out, struct conversion c, int64_t value)
{
    const char *sign = value < 0 ? "-" : c.has_plus ? "+" : c.has_blank ? " " : "";
    put_number(out, c, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, sign);
}

static void put_string(struct output *out, struct conversion c, const char *text)
{
    if (!text)
        text = "(null)";
    size_t length = strnlen(text, c.precision < 0 ? SIZE_MAX : (size_t)c.precision);
    c.is_zero_padded = false;
    put_field(out, &c, "", 0, text, (int)length);
}

static void put_character(struct output *out, struct conversion c, char character)
{
    c.is_zero_padded = false;
    put_field(out, &c, "", 0, &character, 1);
}

static void put_pointer(struct output *out, struct conversion c, const void *pointer)
{
    c.kind = 'x';
    c.is_alternate = true;
    if (pointer)
        put_number(out, c, (uint64_t)(uintptr_t)pointer, "");
    else
        put_string(out, c, "(nil)");
}

static const char *parse_flags(const char *at, struct conversion *c)
{
    for (;; at++) {
        switch (*at) {
        case '-':
            c->is_left = true;
            break;
        case '0':
            c->is_zero_padded = true;
            break;
        case '+':
            c->has_plus = true;
            break;
        case ' ':
            c->has_blank = true;
            break;
        case '#':
            c->is_alternate = true;
            break;
        default:
            return at;
        }
    }
}

/* Digits or `*`; more than fits is cut to a width that nobody means. */
static const char *parse_count(const char *at, int *count, va_list *arguments)
{
    if (*at == '*') {
        *count = va_arg(*arguments, int);
        return at + 1;
    }
    for (*count = 0; *at >= '0' && *at <= '9'; at++)
        *count = MIN(*count * 10 + (*at - '0'), 100000);
    return at;
}

static const char *parse_size(const char *at, struct conversion *c)
{
    switch (*at) {
    case 'h':
        c->size = at[1] == 'h' ? 'H' : 'h';
        return at + (at[1] == 'h' ? 2 : 1);
    case 'l':
        c->size = at[1] == 'l' ? 'q' : 'l';
        return at + (at[1] == 'l' ? 2 : 1);
    case 'z':
    case 'j':
    case 't':
        c->size = *at;
        return at + 1;
    default:
        return at;
    }
}

static const char *parse_conversion(const char *at, struct conversion *c, va_list *arguments)
{
    *c = (struct conversion){.precision = -1};
    at = parse_flags(at, c);
    at = parse_count(at, &c->width, arguments);
    if (c->width < 0) { /* 7.21.6.1p5: a negative `*` is a - flag and a width */
        c->is_left = true;
        c->width = -c->width;
    }
    if (*at == '.')
        at = parse_count(at + 1, &c->precision, arguments);
    at = parse_size(at, c);
    c->is_zero_padded &= !c->is_left;
    c->kind = *at == 'i' ? 'd' : *at == 'X' ? 'x' : *at;
    c->is_upper = *at == 'X';
    return *at ? at + 1 : at;
}

/* False when it is not a conversion that we know. */
static bool put_conversion(struct output *out, const struct conversion *c, va_list *arguments)
{
    switch (c->kind) {
    case 'd':
        put_signed(out, *c, read_signed(c, arguments));
        return true;
    case 'u':
    case 'x':
    case 'o':
        put_number(out, *c, read_unsigned(c, arguments), "");
        return true;
    case 'c':
        put_character(out, *c, (char)va_arg(*arguments, int));
        return true;
    case 's':
        put_string(out, *c, va_arg(*arguments, const char *));
        return true;
    case 'p':
        put_pointer(out, *c, va_arg(*arguments, const void *));
        return true;
    case '%':
        put(out, '%');
        return true;
    default:
        return false;
    }
}

int vsnprintf(char *to, size_t bytes, const char *format, va_list arguments)
{
    struct output out = {.to = to, .bytes = bytes};
    struct conversion conversion;
    va_list rest; /* a va_list parameter may have decayed to a pointer; its address is only ours in a copy */
    va_copy(rest, arguments);
    for (const char *at = format; *at;) {
        if (*at != '%') {
            put(&out, *at++);
            continue;
        }
        const char *next = parse_conversion(at + 1, &conversion, &rest);
        if (!put_conversion(&out, &conversion, &rest))
            put_text(&out, at, (size_t)(next - at));
        at = next;
    }
    va_end(rest);
    if (bytes > 0)
        to[MIN(out.length, bytes - 1)] = '\0';
    return (int)out.length;
}

int snprintf(char *to, size_t bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(to, bytes, format, arguments);
    va_end(arguments);
    return length;
}
