/* SPDX-License-Identifier: MIT */
/* The kernel command line: boot loader's text, then fw_cfg's. Keys are declared where they are used:
 *
 *     CMDLINE_KEY(smp, "smp", "N", "use at most N CPUs");
 *     if (cmdline_u64("smp", 1, CPU_MAX, &limit)) ...
 *
 * A later key wins. Values may be quoted with "; a quote that is left open is reported and ends with the text
 * of its source. After boot, text is constant: any context. */
#ifndef KERNEL_CMDLINE_H
#define KERNEL_CMDLINE_H

#include <kernel/base/linker_set.h>
#include <kernel/base/types.h>

struct cmdline_key {
    const char *name, *values, *help;
};

/* Makes `name` known, so that cmdline_init does not report it as unknown. */
#define CMDLINE_KEY(id, name_text, values_text, help_text)                                  \
    static const struct cmdline_key cmdline_key_##id = {name_text, values_text, help_text}; \
    linker_set_add(cmdline_keys, const struct cmdline_key, cmdline_key_##id)

/* Copies and parses both texts (either may be NULL); one warning for each unknown key. */
void cmdline_init(const char *loader_text, const char *fw_cfg_text);

/* The key's last value, "" for a key without one, NULL when it is not given. */
const char *cmdline_get(const char *key);

/* Of a key that may be given many times: its `index`th value, in order; NULL past the last. */
const char *cmdline_value(const char *key, unsigned index);

/* True when given with a number (or size: 64M) in [minimum, maximum]. A bad value is reported in one line
 * and counts as not given; `value` is then unchanged. */
bool cmdline_u64(const char *key, uint64_t minimum, uint64_t maximum, uint64_t *value);
/* Same for 0/1, on/off; a key without a value is true. Returns `otherwise` when not given. */
bool cmdline_bool(const char *key, bool otherwise);

/* The whole text, for the log. */
const char *cmdline_text(void);

#endif
