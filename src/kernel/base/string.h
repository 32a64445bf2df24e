/* SPDX-License-Identifier: MIT */
/* The part of the C library's string functions that the kernel has, with the standard's meaning; on the
 * host the C library's own. Any context. */
#ifndef KERNEL_BASE_STRING_H
#define KERNEL_BASE_STRING_H

#include <kernel/base/types.h>

#ifndef __KERNEL__
#include <string.h>
#else
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
#endif

/* Copies as much of `from` as fits and always terminates; returns strlen(from), so that a result of
 * `to_bytes` or more means "cut short". */
size_t string_copy(char *to, const char *from, size_t to_bytes);

/* A whole text as a number: decimal, or hexadecimal with 0x; no sign, no blanks.
 * 0, -EINVAL, or -ERANGE. */
int string_to_u64(const char *text, uint64_t *value);

/* As string_to_u64 with one optional binary suffix k, K, m, M, g, G, t, T: "4k" is 4096. */
int string_to_size(const char *text, uint64_t *bytes);

#endif
