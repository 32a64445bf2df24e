/* SPDX-License-Identifier: MIT */
/* The kernel's own symbol table, linked in by a second pass (tools/symtab.awk). Any context. */
#ifndef KERNEL_SYMBOLS_H
#define KERNEL_SYMBOLS_H

#include <kernel/base/types.h>

/* The name of the function that holds `address` and how far into it that is; NULL when none does. */
const char *symbol_lookup(uint64_t address, uint64_t *offset_bytes);

/* "name+0x12" or the bare address into `to`; returns `to`. */
const char *symbol_format(uint64_t address, char *to, size_t bytes);

#endif
