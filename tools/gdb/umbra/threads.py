# SPDX-License-Identifier: MIT
"""umbra threads: the kernel's threads and what each of them waits for."""
import gdb

from . import backtrace, clock, requests, virtqueue
from .kernel import Command, enum_name, symbol_of, text, variable
from .scheduler import all_threads, on_cpus

HEADING = "    ID NAME                    STATE    CPU PRI    CPU [ms]  WAITS FOR"


class Waits:
    """What threads sleep on, in words; the requests in flight are looked up once."""

    def __init__(self, now_ns):
        self.now_ns = now_ns
        self.by_owner = {}
        for request in virtqueue.requests_in_flight():
            self.by_owner.setdefault(int(request["owner"]), []).append(request)

    def __call__(self, thread, is_on_cpu):
        if enum_name("enum thread_state", thread["state"], "THREAD_") != "blocked":
            return ""
        on, why = int(thread["waiting_for"]), text(thread["waiting_why"]) or "?"
        words = why + (f" {symbol_of(on)}" if on else "")
        if why == "mutex":
            words += self.mutex(on)
        for request in self.by_owner.get(on, [])[:1]:
            words += f" of {requests.summary(request)}"
        if len(self.by_owner.get(on, [])) > 1:
            words += f" and {len(self.by_owner[on]) - 1} more"
        if not is_on_cpu:
            return f"{words} ({clock.ms(self.now_ns - int(thread['last_switch_ns']))} ms)"
        return f"{words} ({'its CPU rests here' if is_resting(thread) else 'not asleep yet'})"

    @staticmethod
    def mutex(address):
        owner = gdb.parse_and_eval(f"((struct mutex *) {address})->owner")
        return f" held by {int(owner['id'])} {text(owner['name'])}" if int(owner) else " free by now"


def run_queue(thread):
    return variable("run_queues", "src/kernel/sched.c")[int(thread["cpu"])]


def is_resting(thread):
    return int(run_queue(thread)["resting"]) == int(thread.address)


def cpu_ns(thread, is_on_cpu, now_ns):
    """Up to the last switch; and since then, for one that has a CPU, without the time that this is halted."""
    if not is_on_cpu:
        return int(thread["cpu_ns"])
    is_halted = bool(variable("cpus", "src/arch/cpu.c")[int(thread["cpu"])]["is_idle"])
    until_ns = int(run_queue(thread)["halted_since_ns"]) if is_halted else now_ns
    return int(thread["cpu_ns"]) + max(0, until_ns - int(thread["last_switch_ns"]))


def print_thread(thread, running, waits):
    state = enum_name("enum thread_state", thread["state"], "THREAD_")
    is_on_cpu = int(thread.address) in running
    print(f"{'*' if is_on_cpu else ' '}{int(thread['id']):5} {text(thread['name']):23} {state:8} {int(thread['cpu']):3} "
          f"{int(thread['priority']):3} {clock.ms(cpu_ns(thread, is_on_cpu, waits.now_ns)):>11}  "
          f"{waits(thread, is_on_cpu)}".rstrip())


class Threads(Command):
    """List the kernel's threads: id, name, state, CPU, priority, time run, what they wait for.

    umbra threads [-b]

    -b prints the backtrace of each, as umbra backtrace does. A star marks those that CPUs are on: an idle thread
    stays "running" while others run there, and a CPU without work rests on the stack of the last sleeper. In
    brackets: how long ago a sleeper was last given a CPU, by the clock of `umbra cpus`. gdb's own `info threads`
    lists the CPUs."""

    name, usage = "threads", "[-b]"

    def run(self, *words):
        if words not in ((), ("-b",)):
            raise self.wrong_usage()
        threads = all_threads()
        running, waits = on_cpus(threads), Waits(clock.now_ns())
        print(HEADING)
        for thread in threads:
            print_thread(thread, running, waits)
            if words:
                backtrace.print_backtrace(thread, running)


COMMANDS = (Threads,)
