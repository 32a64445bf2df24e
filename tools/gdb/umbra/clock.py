# SPDX-License-Identifier: MIT
"""What clock_ns() would return now, in a kernel that is stopped.

The time-stamp counter, which the kernel's clock is made of, cannot be read through the stub. Two other things can:

  * time stamps: what the kernel wrote down last (a CPU halted, a thread was switched to, a timer fired) is the
    past, so the newest of them is a lower bound;
  * the LAPIC's timer: the kernel keeps when it will fire (timer_cpus[].hardware_ns), and QEMU's monitor tells how
    many ticks are left, at the rate that the kernel measured (timer_ticks_per_ns_32). While a timer is armed, and
    one always is while a request is in flight (the watchdog), this is the time to the microsecond.

Both stand still while the machine is stopped, as the kernel's clock does.
"""
import re

import gdb

from .kernel import cpus, variable

NEVER = (1 << 64) - 1
COUNT_MAX = (1 << 32) - 1  # what arch/lapic.c writes for a deadline that is further away


def stamps():
    """Moments in the past, in ns."""
    queues = variable("run_queues", "src/kernel/sched.c")
    for cpu in cpus():
        queue = queues[int(cpu["id"])]
        yield int(queue["halted_since_ns"])
        if int(cpu["current"]):
            yield int(cpu["current"]["last_switch_ns"])
        timers = queue["timers"]
        if int(timers) and int(timers["running"]):
            yield int(timers["running"]["deadline_ns"])


def before_deadline(deadline_ns, initial, left, ticks_per_ns_32):
    """The time when a timer has `left` of `initial` ticks to go; 0: it does not tell."""
    if deadline_ns == NEVER or not 0 < left <= initial < COUNT_MAX or ticks_per_ns_32 == 0:
        return 0
    return deadline_ns - (left << 32) // ticks_per_ns_32


def by_timer(cpu):
    """The time by that CPU's LAPIC timer, or 0."""
    try:
        told = gdb.execute(f"monitor info lapic {int(cpu['lapic_id'])}", to_string=True)
    except gdb.error:
        return 0
    match = re.search(r"initial_count = (\d+) current_count = (\d+)", told)
    if not match:
        return 0
    deadline_ns = int(variable("timer_cpus")[int(cpu["id"])]["hardware_ns"])
    rate = int(variable("timer_ticks_per_ns_32", "src/arch/lapic.c"))
    return before_deadline(deadline_ns, int(match[1]), int(match[2]), rate)


def now():
    """(ns, where it is from)."""
    newest_ns = max(stamps(), default=0)
    timer_ns = max(map(by_timer, cpus()))
    if timer_ns >= newest_ns and timer_ns:
        return timer_ns, "by the LAPIC timer"
    return newest_ns, "the newest time stamp: now, or earlier"


def now_ns():
    return now()[0]


def ms(ns):
    return f"{ns / 1e6:.3f}"
