/* SPDX-License-Identifier: MIT */
/* memcpy and its kin of the kernel against the C library's, and the number parsers. */
#include <kernel/base/error.h>
#include <kernel/random.h>
#include <kernel/string.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* The kernel's functions under other names, as if with its own header. */
#define memcpy  kernel_memcpy
#define memmove kernel_memmove
#define memset  kernel_memset
#define memcmp  kernel_memcmp
#define memchr  kernel_memchr
#define strlen  kernel_strlen
#define strnlen kernel_strnlen
#define strcmp  kernel_strcmp
#define strncmp kernel_strncmp
#define strchr  kernel_strchr
#define strrchr kernel_strrchr
#define strstr  kernel_strstr
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
void *memchr(const void *in, int byte, size_t bytes);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t limit);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t limit);
char *strchr(const char *text, int c);
char *strrchr(const char *text, int c);
char *strstr(const char *text, const char *word);
#include "../../src/kernel/string_libc.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr
#undef strstr

static struct random random_state;

static void fill(uint8_t *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)random_next(&random_state);
}

/* Every size up to 200 at every alignment, with the bytes around compared too. */
static void copies_match(void)
{
    uint8_t from[256], ours[256], theirs[256];
    for (size_t bytes = 0; bytes <= 200; bytes++)
        for (size_t offset = 0; offset < 16; offset++) {
            fill(from, sizeof(from));
            fill(ours, sizeof(ours));
            memcpy(theirs, ours, sizeof(ours));
            check(kernel_memcpy(ours + offset, from + 17 - offset, bytes) == ours + offset);
            memcpy(theirs + offset, from + 17 - offset, bytes);
            check(memcmp(ours, theirs, sizeof(ours)) == 0);
            check(kernel_memset(ours + offset, (int)bytes + 200, bytes) == ours + offset);
            memset(theirs + offset, (int)bytes + 200, bytes);
            check(memcmp(ours, theirs, sizeof(ours)) == 0);
        }
}

static void moves_match(void)
{
    uint8_t ours[256], theirs[256];
    for (size_t bytes = 0; bytes <= 150; bytes++)
        for (int shift = -40; shift <= 40; shift++) {
            fill(ours, sizeof(ours));
            memcpy(theirs, ours, sizeof(ours));
            kernel_memmove(ours + 50 + shift, ours + 50, bytes);
            memmove(theirs + 50 + shift, theirs + 50, bytes);
            check(memcmp(ours, theirs, sizeof(ours)) == 0);
        }
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void comparisons_match(void)
{
    uint8_t a[64], b[64];
    for (int i = 0; i < 20000; i++) {
        size_t bytes = random_below(&random_state, 40);
        fill(a, sizeof(a));
        memcpy(b, a, sizeof(a));
        if (i % 4)
            b[random_below(&random_state, 40)] ^= (uint8_t)random_next(&random_state);
        check(sign(kernel_memcmp(a, b, bytes)) == sign(memcmp(a, b, bytes)));
        check(kernel_memchr(a, b[5], bytes) == memchr(a, b[5], bytes));
    }
}

/* Texts of few letters, so that matches and near misses are frequent; on the heap, so that a byte read too
 * many is seen. */
static char *random_text(size_t limit)
{
    size_t length = random_below(&random_state, limit);
    char *text = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        text[i] = "ab\xe4"[random_below(&random_state, 3)];
    text[length] = '\0';
    return text;
}

static void texts_match(void)
{
    for (int i = 0; i < 20000; i++) {
        char *a = random_text(12), *b = random_text(4);
        size_t limit = random_below(&random_state, 14);
        check_equal(kernel_strlen(a), strlen(a));
        check_equal(kernel_strnlen(a, limit), strnlen(a, limit));
        check(sign(kernel_strcmp(a, b)) == sign(strcmp(a, b)));
        check(sign(kernel_strncmp(a, b, limit)) == sign(strncmp(a, b, limit)));
        check(kernel_strchr(a, 'b') == strchr(a, 'b'));
        check(kernel_strchr(a, '\xe4') == strchr(a, '\xe4'));
        check(kernel_strchr(a, 0) == strchr(a, 0));
        check(kernel_strrchr(a, 'b') == strrchr(a, 'b'));
        check(kernel_strrchr(a, 0) == strrchr(a, 0));
        check(kernel_strstr(a, b) == strstr(a, b));
        free(a);
        free(b);
    }
}

static void bounded_copy_terminates(void)
{
    char to[8] = "xxxxxxx";
    check_equal(string_copy(to, "hello", 0), 5);
    check(to[0] == 'x');
    check_equal(string_copy(to, "hello", 1), 5);
    check(to[0] == '\0' && to[1] == 'x');
    check_equal(string_copy(to, "hello", 5), 5);
    check(strcmp(to, "hell") == 0);
    check_equal(string_copy(to, "hello", 6), 5);
    check(strcmp(to, "hello") == 0);
}

static void expect_u64(const char *text, int error, uint64_t value)
{
    uint64_t result = 77;
    check(string_to_u64(text, &result) == error);
    check_equal(result, error ? 77 : value);
}

static void expect_size(const char *text, int error, uint64_t value)
{
    uint64_t result = 77;
    check(string_to_size(text, &result) == error);
    check_equal(result, error ? 77 : value);
}

static void numbers_parse(void)
{
    expect_u64("0", 0, 0);
    expect_u64("007", 0, 7);
    expect_u64("18446744073709551615", 0, UINT64_MAX);
    expect_u64("18446744073709551616", -ERANGE, 0);
    expect_u64("99999999999999999999999", -ERANGE, 0);
    expect_u64("0xfFfFfFfFfFfFfFfF", 0, UINT64_MAX);
    expect_u64("0x10000000000000000", -ERANGE, 0);
    expect_u64("0X1f", 0, 31);
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "0x", "0xg", "1a", "a", "1k", "1.5"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        expect_u64(bad[i], -EINVAL, 0);
}

static void sizes_parse(void)
{
    expect_size("512", 0, 512);
    expect_size("4k", 0, 4096);
    expect_size("4K", 0, 4096);
    expect_size("64M", 0, 64ull << 20);
    expect_size("3g", 0, 3ull << 30);
    expect_size("2T", 0, 2ull << 40);
    expect_size("16777215T", 0, 16777215ull << 40);
    expect_size("16777216T", -ERANGE, 0);
    static const char *const bad[] = {"", "k", "4kk", "4x", "4 k", "4kB", "-4k"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        expect_size(bad[i], -EINVAL, 0);
}

int main(void)
{
    random_init(&random_state, 2);
    copies_match();
    moves_match();
    comparisons_match();
    texts_match();
    bounded_copy_terminates();
    numbers_parse();
    sizes_parse();
    return check_finish();
}
