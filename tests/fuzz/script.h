/* SPDX-License-Identifier: MIT */
/* A fuzzer's input read as a script: bytes one after the other, then 0 for ever. */
#ifndef TESTS_FUZZ_SCRIPT_H
#define TESTS_FUZZ_SCRIPT_H

#include <kernel/base/types.h>

static struct {
    const uint8_t *next;
    size_t left;
} script;

static inline uint32_t script_take(void)
{
    if (script.left == 0)
        return 0;
    script.left--;
    return *script.next++;
}

static inline uint32_t script_take16(void)
{
    uint32_t low = script_take();
    return low | script_take() << 8;
}

#endif
