/* SPDX-License-Identifier: MIT */
/* The scripts of tests/fuzz/vring_fuzz.h without libFuzzer: random ones, the same each time. One that fails
 * is kept in a file, which the fuzzer takes too. Included by one file a ring format. */
#ifndef TESTS_HOST_VRING_SCRIPTS_H
#define TESTS_HOST_VRING_SCRIPTS_H

#include <sanitizer/common_interface_defs.h>
#include <signal.h>

#include "fake_chain.h"

#define SCRIPTS          50000u
#define SCRIPT_BYTES_MAX 256u

static uint8_t bytes[SCRIPT_BYTES_MAX];
static size_t length;
static char path[256];
static const char *fuzzer;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void keep_script(void)
{
    FILE *file = fopen(path, "wb");
    if (file && fwrite(bytes, length, 1, file) == 1 && fclose(file) == 0)
        fprintf(stderr, "again with: make %s FUZZ_ARGS=%s\n", fuzzer, path);
}

static void on_abort(int signal)
{
    (void)signal;
    keep_script();
}

/* `target` makes and runs the fuzzer. */
static int run_scripts(const char *program, const char *target)
{
    fuzzer = target;
    snprintf(path, sizeof(path), "%s.failed", program);
    __sanitizer_set_death_callback(keep_script);
    signal(SIGABRT, on_abort);
    for (uint32_t i = 0; i < SCRIPTS; i++) {
        length = 1 + fd_random(SCRIPT_BYTES_MAX);
        for (size_t at = 0; at < length; at++)
            bytes[at] = (uint8_t)fd_random(256);
        LLVMFuzzerTestOneInput(bytes, length);
    }
    printf("%u scripts\n", SCRIPTS);
    return 0;
}

#endif
