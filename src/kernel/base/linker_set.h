/* SPDX-License-Identifier: MIT */
/* Linker sets: objects in any file that one loop finds, without a central table.
 *
 *     linker_set_add(shell_commands, struct shell_command, ls_command);
 *     linker_set_foreach(shell_commands, struct shell_command, command) ...  // `command` is a pointer
 *
 * The set holds pointers in the section set_NAME; the linker makes its bounds. An empty set is allowed. */
#ifndef KERNEL_BASE_LINKER_SET_H
#define KERNEL_BASE_LINKER_SET_H

#include <kernel/base/types.h>

#define linker_set_add(set, type, object) \
    static type *const set_##set##_##object __attribute__((used, section("set_" #set))) = &(object)

#define linker_set_declare(set, type)                             \
    extern type *const __start_set_##set[] __attribute__((weak)); \
    extern type *const __stop_set_##set[] __attribute__((weak))

#define linker_set_foreach(set, type, name)                   \
    for (type *const *name##_slot = __start_set_##set, *name; \
         name##_slot < __stop_set_##set && (name = *name##_slot, true); name##_slot++)

#endif
