# SPDX-License-Identifier: MIT
"""umbra trace: the trace rings of all CPUs as one sequence (src/kernel/trace.c)."""
import struct

import gdb

from .kernel import Command, cpus, enum_name, read, variable

ENTRY = struct.Struct("<QQQII")  # struct trace_entry: time_ns, a, b, serial, event


def events():
    """(time in ns, CPU, event, a, b) of what is whole: a slot's serial is the low half of its number, plus 1."""
    rings, are_there = variable("rings", "src/kernel/trace.c"), False
    size = 1024  # RING_EVENTS
    for cpu in cpus():
        number = int(cpu["id"])
        head, entries = int(rings[number]["head"]), int(rings[number]["entries"])
        if not entries:
            continue
        are_there = True
        slots = list(ENTRY.iter_unpack(read(entries, ENTRY.size * size)))
        for event in range(max(0, head - size), head):
            time_ns, a, b, serial, kind = slots[event % size]
            if serial == (event + 1) & 0xffffffff:
                yield time_ns, number, kind, a, b
    if not are_there:
        raise gdb.GdbError("umbra trace: nothing was traced; `trace start` in the kernel's shell begins")


class Trace(Command):
    """Print the newest N (64) trace events of all CPUs, in order of time.

    umbra trace [N]

    `trace start` in the kernel's shell begins to record. What a and b are: src/kernel/trace.h."""

    name, usage = "trace", "[N]"

    def run(self, *words):
        limit = self.count(words, 64)
        for time_ns, cpu, kind, a, b in sorted(events())[-limit:]:
            name = enum_name("enum trace_event", kind, "TRACE_").replace("_", "-")
            print(f"[{time_ns // 10**9:4}.{time_ns % 10**9:09}] cpu{cpu:<2} {name:14} a=0x{a:x} b=0x{b:x}")


COMMANDS = (Trace,)
