/* SPDX-License-Identifier: MIT */
/* The corpus and random scripts for tests/fuzz/vring_fuzz.c. */
#include "vring_scripts.h"

int main(int count, char **arguments)
{
    (void)count;
    return run_scripts(arguments[0], "vring");
}
