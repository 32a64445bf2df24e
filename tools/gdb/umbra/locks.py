# SPDX-License-Identifier: MIT
"""umbra locks: who holds what. The debug build's lock checker knows; a release build knows only mutex owners."""
import gdb

from .kernel import Command, cpus, enum_name, has_field, line_of, symbol_of, text, variable
from .scheduler import all_threads


def held(owner, stack):
    """The struct lockdep_stack of a CPU or thread, in lines."""
    classes = variable("classes", "src/kernel/lockdep.c")
    for i in range(int(stack["depth"])):
        entry = stack["held"][i]
        site = int(entry["site"])
        yield (f"  {owner}: {text(classes[int(entry['class_id'])]['name'])} {symbol_of(entry['lock'])}, taken at "
               f"{symbol_of(site)} {line_of(site - 1)}").rstrip()


def held_locks(threads):
    stacks = variable("cpu_stacks", "src/kernel/lockdep.c")
    for cpu in cpus():
        yield from held(f"CPU {int(cpu['id'])}", stacks[int(cpu["id"])])
    for thread in threads:
        yield from held(f"thread {int(thread['id'])} {text(thread['name'])}", thread["held"])


def mutex_waits(threads):
    for thread in threads:
        is_blocked = enum_name("enum thread_state", thread["state"], "THREAD_") == "blocked"
        if not is_blocked or text(thread["waiting_why"]) != "mutex":
            continue
        owner = gdb.parse_and_eval(f"((struct mutex *) {int(thread['waiting_for'])})->owner")
        holder = f"{int(owner['id'])} {text(owner['name'])}" if int(owner) else "nobody any more"
        yield (f"  thread {int(thread['id'])} {text(thread['name'])} waits for {symbol_of(thread['waiting_for'])}, "
               f"held by {holder}")


def print_all(what, lines):
    print(f"{what}: {len(lines)}", *lines, sep="\n")


class Locks(Command):
    """List the locks that are held with their owners, and the threads that wait for a mutex.

    umbra locks

    Spinlocks belong to a CPU, mutexes to a thread. Owners and where they took the lock are known in the debug
    build (make debug BUILD=debug); the release build keeps the owners of mutexes only, so only those that
    somebody waits for are found."""

    name = "locks"

    def run(self):
        threads = all_threads()
        if has_field("struct thread", "held"):
            print_all("locks held", list(held_locks(threads)))
        else:
            print("a release build: holders of spinlocks are not kept")
        print_all("threads that wait for a mutex", list(mutex_waits(threads)))


COMMANDS = (Locks,)
