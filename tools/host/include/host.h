/* SPDX-License-Identifier: MIT */
/* What a test may turn on the host's side of the kernel services (tools/host/host.c). */
#ifndef HOST_H
#define HOST_H

/* Log lines up to this level go to standard error: LOG_WARNING at first, all with UMBRA_HOST_LOG in the
 * environment. -1: none. */
extern int host_log_level;
/* Lines so far that were errors or warnings, shown or not. */
extern unsigned host_log_lines;

#endif
