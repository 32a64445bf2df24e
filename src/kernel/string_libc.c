/* SPDX-License-Identifier: MIT */
/* memcpy and its kin, for the compiler and for callers; any context.
 *
 * Bulk goes through `rep movsq` and `rep stosq`: eight bytes a step, where `rep movsb` moves one at a time on
 * a CPU without ERMS. Sizes up to 32 bytes are two or four moves from both ends, which overlap in the middle
 * when they must. A compiler would turn a plain byte loop into a call of the very function that it is in;
 * keep_loop() stops it. */
#include <kernel/base/bits.h>
#include <kernel/string.h>

#define keep_loop() __asm__ volatile("")

/* Up to 32 bytes; all loads come before the stores, so that it also does for memmove. */
static always_inline void copy_small(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (bytes >= 16) {
        uint64_t a = load_le64(from), b = load_le64(from + 8);
        uint64_t c = load_le64(from + bytes - 16), d = load_le64(from + bytes - 8);
        store_le64(to, a);
        store_le64(to + 8, b);
        store_le64(to + bytes - 16, c);
        store_le64(to + bytes - 8, d);
    } else if (bytes >= 8) {
        uint64_t a = load_le64(from), b = load_le64(from + bytes - 8);
        store_le64(to, a);
        store_le64(to + bytes - 8, b);
    } else if (bytes >= 4) {
        uint32_t a = load_le32(from), b = load_le32(from + bytes - 4);
        store_le32(to, a);
        store_le32(to + bytes - 4, b);
    } else if (bytes > 0) {
        uint8_t a = from[0], b = from[bytes / 2], c = from[bytes - 1];
        to[0] = a;
        to[bytes / 2] = b;
        to[bytes - 1] = c;
    }
}

/* Ascending; right for memmove when `to` is below `from`. The last eight bytes are loaded first, since the
 * words before them may overwrite them in an overlapping move. */
static always_inline void copy_ascending(uint8_t *to, const uint8_t *from, size_t bytes)
{
    uint64_t last = load_le64(from + bytes - 8);
    uint8_t *end = to + bytes;
    size_t words = (bytes - 1) / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    store_le64(end - 8, last);
}

static void copy_descending(uint8_t *to, const uint8_t *from, size_t bytes)
{
    uint64_t first = load_le64(from);
    for (size_t left = bytes; left > 8; left -= 8) {
        store_le64(to + left - 8, load_le64(from + left - 8));
        keep_loop();
    }
    store_le64(to, first);
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    if (bytes <= 32)
        copy_small(to, from, bytes);
    else
        copy_ascending(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    if (bytes <= 32)
        copy_small(to, from, bytes);
    else if ((uintptr_t)to - (uintptr_t)from >= bytes)
        copy_ascending(to, from, bytes);
    else
        copy_descending(to, from, bytes);
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    uint64_t pattern = (uint8_t)byte * 0x0101010101010101ull;
    uint8_t *at = to;
    if (bytes >= 8) {
        size_t words = bytes / 8;
        store_le64(at + bytes - 8, pattern);
        __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(pattern) : "memory");
    } else if (bytes >= 4) {
        store_le32(at, (uint32_t)pattern);
        store_le32(at + bytes - 4, (uint32_t)pattern);
    } else if (bytes > 0) {
        at[0] = at[bytes / 2] = at[bytes - 1] = (uint8_t)byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *p = a, *q = b;
    for (; bytes >= 8; p += 8, q += 8, bytes -= 8)
        if (load_le64(p) != load_le64(q)) /* the first byte in memory decides: compare big-endian */
            return load_be64(p) < load_be64(q) ? -1 : 1;
    for (; bytes > 0; p++, q++, bytes--)
        if (*p != *q)
            return *p - *q;
    return 0;
}

void *memchr(const void *in, int byte, size_t bytes)
{
    for (const uint8_t *at = in; bytes > 0; at++, bytes--)
        if (*at == (uint8_t)byte)
            return (void *)(uintptr_t)at;
    return NULL;
}

size_t strlen(const char *text)
{
    const char *at = text;
    while (*at) {
        at++;
        keep_loop();
    }
    return (size_t)(at - text);
}

size_t strnlen(const char *text, size_t limit)
{
    size_t length = 0;
    while (length < limit && text[length])
        length++;
    return length;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t limit)
{
    for (; limit > 0; a++, b++, limit--) {
        if (*a != *b)
            return (uint8_t)*a - (uint8_t)*b;
        if (!*a)
            break;
    }
    return 0;
}

char *strchr(const char *text, int c)
{
    for (;; text++) {
        if (*text == (char)c)
            return (char *)(uintptr_t)text;
        if (!*text)
            return NULL;
    }
}

char *strrchr(const char *text, int c)
{
    const char *last = NULL;
    for (;; text++) {
        if (*text == (char)c)
            last = text;
        if (!*text)
            return (char *)(uintptr_t)last;
    }
}

char *strstr(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (;; text++) {
        if (strncmp(text, word, length) == 0)
            return (char *)(uintptr_t)text;
        if (!*text)
            return NULL;
    }
}
