/* SPDX-License-Identifier: MIT */
/* The string functions, which arch needs too: see there. */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include <kernel/base/string.h>

#endif
