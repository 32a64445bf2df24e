# SPDX-License-Identifier: MIT
"""umbra cpus: what each CPU does, and the time."""
import gdb

from . import clock
from .kernel import Command, cpus, gdb_threads, line_of, selection_kept, symbol_of, text, variable

NO_RESCHEDULE = 1 << 31  # CPU_NO_RESCHEDULE: clear while a reschedule is wanted


def place(gdb_thread):
    """(number of the gdb thread, function and line that it is at)."""
    if not gdb_thread:
        return "-", "?"
    with selection_kept():
        gdb_thread.switch()
        pc = gdb.newest_frame().pc()
    return gdb_thread.num, f"{symbol_of(pc)} {line_of(pc)}"


def print_cpu(cpu, gdb_thread):
    preempt = int(cpu["preempt_count"])
    state = "stopped" if cpu["is_stopped"] else "idle" if cpu["is_idle"] else "busy"
    wanted = "" if preempt & NO_RESCHEDULE else ", reschedule wanted"
    thread = text(cpu["current"]["name"]) if int(cpu["current"]) else "none"
    waiting = int(variable("run_queues", "src/kernel/sched.c")[int(cpu["id"])]["waiting"])
    number, where = place(gdb_thread)
    print(f"{int(cpu['id']):3} {number:>3} {thread:23} {state:7} {int(cpu['interrupt_depth']):9} "
          f"{preempt & ~NO_RESCHEDULE:7} {waiting:8} {int(cpu['interrupts']):10}  {where}{wanted}")


class Cpus(Command):
    """Show each CPU: its thread, idle or not, interrupt depth, preempt count, threads that wait for it.

    umbra cpus

    GDB is the number of the CPU's thread in gdb: `thread N` selects it. Then the time that it is in the kernel.
    The time-stamp counter cannot be read through QEMU's stub. The time is that of the LAPIC timer that is armed:
    when it will fire, as the kernel wrote down, less what is left by QEMU's monitor. With no timer armed it is
    the newest time stamp in the kernel's memory, which may be some time ago."""

    name = "cpus"

    def run(self):
        gdb_thread_of = gdb_threads()
        print("CPU GDB THREAD                  STATE   INTERRUPT PREEMPT WAITING  INTERRUPTS  AT")
        for cpu in cpus():
            print_cpu(cpu, gdb_thread_of.get(int(cpu["id"])))
        ns, source = clock.now()
        print(f"clock: {ns / 1e9:.6f} s since the kernel's entry, {source}" if ns else "clock: no time stamp yet")


COMMANDS = (Cpus,)
