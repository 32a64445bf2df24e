# SPDX-License-Identifier: MIT
"""Which threads there are, and which of them are on a CPU."""
import gdb

from .kernel import NotBooted, cpus, gdb_threads, list_entries, selection_kept, text, variable

STACK_BYTES = 16384  # THREAD_STACK_BYTES: a macro, of which the debug data know nothing


def all_threads():
    found = list(list_entries(variable("all_threads", "src/kernel/thread.c"), "struct thread", "all_node"))
    if not found:
        raise NotBooted("there are no threads")
    return found


def find(word):
    """The threads with that id or that name; the idle threads all have the id 0."""
    found = [t for t in all_threads() if word in (str(int(t["id"])), text(t["name"]))]
    if not found:
        raise gdb.GdbError(f"no thread has the id or the name {word!r}; umbra threads lists them")
    return found


def on_cpus(threads):
    """The gdb threads of those that run, by the thread's address.

    By the stack that a CPU is on: in the midst of a switch cpu->current is ahead of the registers. Elsewhere
    (main on the boot stack, exceptions on theirs) it is cpu->current."""
    stacks, running = {int(t["stack"]): int(t.address) for t in threads if int(t["stack"])}, {}
    current = {int(cpu["id"]): int(cpu["current"]) for cpu in cpus()}
    with selection_kept():
        for cpu, gdb_thread in gdb_threads().items():
            gdb_thread.switch()
            rsp = int(gdb.parse_and_eval("(unsigned long) $rsp"))
            owner = [thread for stack, thread in stacks.items() if stack < rsp <= stack + STACK_BYTES]
            running[owner[0] if owner else current[cpu]] = gdb_thread
    return running
