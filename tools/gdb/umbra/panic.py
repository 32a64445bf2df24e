# SPDX-License-Identifier: MIT
"""Stops at the end of a panic: the report is on the console, all CPUs still are where it met them, and the next
step would end the machine."""
import gdb

from .kernel import text

EXIT_PANIC = 0x12
FRAMES_MAX = 16


def message():
    """What the report began with: report's `text`."""
    frame = gdb.newest_frame()
    for _ in range(FRAMES_MAX):
        if frame is None:
            break
        if frame.name() == "report":
            return text(frame.read_var("text"))
        frame = frame.older()
    return "?"


class PanicStop(gdb.Breakpoint):
    """On kernel_leave. Internal, so that the user's breakpoints count from 1; by hardware, so that a boot loader
    that copies the kernel does not overwrite it."""

    def __init__(self):
        super().__init__("kernel_leave", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)

    def stop(self):
        if int(gdb.parse_and_eval("code")) != EXIT_PANIC:
            return False
        print(f"PANIC: {message()}\nThe report is on the console. Here: backtrace, umbra cpus, umbra backtrace, "
              "umbra virtqueue; `continue` ends the machine.")
        return True


STOPS = []


def arm():
    """By gdbinit, whenever a machine is attached: before that there is no hardware."""
    if not any(stop.is_valid() for stop in STOPS):
        STOPS.append(PanicStop())
