/* SPDX-License-Identifier: MIT */
/* QEMU's firmware configuration device at ports 0x510/0x511 (QEMU docs/specs/fw_cfg). Early boot. */
#ifndef ARCH_FW_CFG_H
#define ARCH_FW_CFG_H

#include <kernel/base/types.h>

/* Copies the file `name` into `to`, cut to `bytes`; its whole length, or -1 when there is none. */
int64_t fw_cfg_read_file(const char *name, void *to, size_t bytes);

#endif
