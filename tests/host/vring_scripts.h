/* SPDX-License-Identifier: MIT */
/* The scripts of tests/fuzz/vring_fuzz.h without libFuzzer: those of tests/fuzz/corpus/NAME, which reach all
 * that ten minutes of fuzzing have reached, and random ones, the same each time. One that fails is kept in a
 * file, which the fuzzer takes too. Run at the top of the tree. Included by one file a ring format. */
#ifndef TESTS_HOST_VRING_SCRIPTS_H
#define TESTS_HOST_VRING_SCRIPTS_H

#include <dirent.h>
#include <sanitizer/common_interface_defs.h>
#include <signal.h>

#include "fake_chain.h"

#define SCRIPTS          50000u
#define RANDOM_BYTES_MAX 256u
#define SCRIPT_BYTES_MAX 1024u

static uint8_t bytes[SCRIPT_BYTES_MAX];
static size_t length;
static char path[256];
static const char *fuzzer;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void keep_script(void)
{
    FILE *file = fopen(path, "wb");
    if (file && fwrite(bytes, length, 1, file) == 1 && fclose(file) == 0)
        fprintf(stderr, "again with: make fuzz-%s FUZZ_ARGS=%s\n", fuzzer, path);
}

static void on_abort(int signal)
{
    (void)signal;
    keep_script();
}

static uint32_t run_corpus(void)
{
    char folder[64], file_path[sizeof(folder) + 1 + sizeof(((struct dirent *)NULL)->d_name)];
    uint32_t count = 0;
    snprintf(folder, sizeof(folder), "tests/fuzz/corpus/%s", fuzzer);
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) {
        snprintf(file_path, sizeof(file_path), "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(file_path, "rb");
        if (!file)
            continue;
        length = fread(bytes, 1, sizeof(bytes), file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, length);
        count++;
    }
    if (directory)
        closedir(directory);
    return count;
}

static void run_random(void)
{
    for (uint32_t i = 0; i < SCRIPTS; i++) {
        length = 1 + fd_random(RANDOM_BYTES_MAX);
        for (size_t at = 0; at < length; at++)
            bytes[at] = (uint8_t)fd_random(256);
        LLVMFuzzerTestOneInput(bytes, length);
    }
}

/* `name`: of the fuzzer. */
static int run_scripts(const char *program, const char *name)
{
    fuzzer = name;
    snprintf(path, sizeof(path), "%s.failed", program);
    __sanitizer_set_death_callback(keep_script);
    signal(SIGABRT, on_abort);
    uint32_t known = run_corpus();
    run_random();
    printf("%u scripts of the corpus, %u random ones\n", known, SCRIPTS);
    return known > 0 ? 0 : 1;
}

#endif
