# SPDX-License-Identifier: MIT
"""umbra backtrace and umbra thread: where threads are, also those that no CPU runs.

A sleeping thread's struct context holds its stack pointer; there lie the registers that context_switch pushed,
rbp and the return address last (src/arch/switch.S). Two ways on from there:

  * the chain of frame pointers, which all of the kernel's code keeps: needs two words a frame and nothing else;
  * gdb's own unwinder, with arguments and locals: `Sleeper` makes gdb believe that the stopped CPU's innermost
    frame was called from the thread's. Nothing is written to the machine.
"""
import re
import struct

import gdb
from gdb.unwinder import Unwinder, register_unwinder

from .kernel import Command, at, functions_of, line_of, read, selection_kept, symbol_of, text
from .scheduler import STACK_BYTES, all_threads, find, on_cpus

FRAMES_MAX = 64
SAVED = ("r15", "r14", "r13", "r12", "rbx", "rbp")


def is_code(address):
    start, end = (int(gdb.parse_and_eval(f"(unsigned long) &kernel_text_{edge}")) for edge in ("start", "end"))
    return start < int(address) <= end


def saved_registers(thread):
    return at("struct saved_registers", thread["context"]["rsp"])


def return_addresses(thread):
    """The chain of frame pointers. A frame is {caller's frame pointer, return address}; callers lie higher."""
    saved = saved_registers(thread)
    stack, frame = int(thread["stack"]), int(saved["rbp"])
    if not is_code(saved["return_address"]):
        return
    yield int(saved["return_address"])
    for _ in range(FRAMES_MAX):
        if frame % 8 or (stack and not stack < frame <= stack + STACK_BYTES - 16):
            return
        try:
            caller, address = struct.unpack("<QQ", read(frame, 16))
        except gdb.MemoryError:
            return
        if address == 0:
            return
        yield address
        if caller <= frame:
            return
        frame = caller


def print_frame(number, pc, functions, line):
    inlined = f", in it {' < '.join(functions[:-1])}" if len(functions) > 1 else ""
    print(f"  #{number:<2} 0x{pc:016x} {functions[-1]}{f' at {line}' if line else ''}{inlined}")


def print_sleeping(thread):
    """The byte before a return address belongs to the call. A new thread has called nothing: context_start takes
    its entry from rbx."""
    saved = saved_registers(thread)
    if symbol_of(saved["return_address"]) == "context_start":
        entry = int(thread["entry"]) or int(saved["rbx"])
        print(f"  has not run yet; begins in {symbol_of(entry)}")
        return
    frames = list(return_addresses(thread))
    for number, pc in enumerate(frames):
        print_frame(number, pc, functions_of(pc - 1), line_of(pc - 1))
    if not frames:
        print("  no registers are saved on its stack; a CPU that starts uses its idle thread's")


def print_running(gdb_thread):
    with selection_kept():
        gdb_thread.switch()
        frame, number = gdb.newest_frame(), 0
        while frame and number < FRAMES_MAX and (number == 0 or frame.name()):  # without a name: past the end
            place = frame.find_sal()
            line = f"{place.symtab.filename}:{place.line}" if place.symtab else ""
            print_frame(number, frame.pc(), [frame.name() or symbol_of(frame.pc())], line)
            frame, number = frame.older(), number + 1


def print_backtrace(thread, running):
    gdb_thread = running.get(int(thread.address))
    if gdb_thread:
        print_running(gdb_thread)
    elif int(thread["context"]["rsp"]):
        print_sleeping(thread)
    else:
        print("  has never left its CPU")


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Sleeper(Unwinder):
    """While it is enabled, the caller of the stopped CPU's innermost frame is the sleeping thread's."""

    def __init__(self):
        super().__init__("umbra-sleeper")
        self.enabled = False
        self.registers, self.live_rsp = {}, 0

    def __call__(self, frame):
        if int(frame.read_register("rsp")) != self.live_rsp:
            return None
        below = gdb.Value(self.registers["rsp"] - 8).cast(frame.read_register("rsp").type)
        info = frame.create_unwind_info(FrameId(below, frame.read_register("rip")))
        for name, value in self.registers.items():
            info.add_saved_register(name, gdb.Value(value).cast(frame.read_register(name).type))
        return info

    def backtrace(self, thread):
        """What `backtrace -full` says of that thread."""
        saved = saved_registers(thread)
        self.registers = {name: int(saved[name]) for name in SAVED}
        self.registers["rip"] = int(saved["return_address"])
        self.registers["rsp"] = int(saved.address) + saved.type.sizeof
        self.live_rsp = int(gdb.newest_frame().read_register("rsp"))
        with selection_kept():
            self.enabled = True
            gdb.invalidate_cached_frames()
            try:
                return without_first(frames_of_cpu(), gdb.execute("backtrace -full", to_string=True))
            finally:
                self.enabled = False
                gdb.invalidate_cached_frames()


SLEEPER = Sleeper()
register_unwinder(None, SLEEPER, replace=True)


def frames_of_cpu():
    """How many of gdb's frames the stopped CPU's innermost one is, with what is inlined into it."""
    frame, count = gdb.newest_frame(), 1
    while frame.type() == gdb.INLINE_FRAME:
        frame, count = frame.older(), count + 1
    return count


def split_frames(trace):
    """The frames of a backtrace as text. The zero that ends each kernel stack is none."""
    frames = re.split(r"^(?=#\d)", trace, flags=re.M)[1:]
    return [frame for frame in frames if not re.match(r"#\d+ +0x0+ in ", frame)]


def without_first(count, trace):
    frames = split_frames(trace)[count:]
    return "".join(re.sub(r"^#(\d+) *", lambda m: f"#{int(m[1]) - count:<3}", frame) for frame in frames)


class Backtrace(Command):
    """Print where a thread is; without an argument, where all of them are.

    umbra backtrace [ID|NAME]

    Of a thread that no CPU runs, by the frame pointers on its stack. Inlined functions have no frames of their
    own: "in it" names them, the innermost first, and the line is the innermost one's."""

    name, usage = "backtrace", "[ID|NAME]"

    def run(self, *words):
        if len(words) > 1:
            raise self.wrong_usage()
        running = on_cpus(all_threads())
        for thread in find(words[0]) if words else all_threads():
            print(f"{int(thread['id'])} {text(thread['name'])}")
            print_backtrace(thread, running)


class Thread(Command):
    """Print a thread's backtrace with arguments and locals.

    umbra thread ID|NAME

    By gdb's own unwinder. It selects nothing: the CPU and the frame that were selected stay so."""

    name, usage = "thread", "ID|NAME"

    def run(self, *words):
        if len(words) != 1:
            raise self.wrong_usage()
        for thread in find(words[0]):
            gdb_thread = on_cpus(all_threads()).get(int(thread.address))
            print(f"{int(thread['id'])} {text(thread['name'])}, (struct thread *) 0x{int(thread.address):x}")
            if gdb_thread:
                with selection_kept():
                    gdb_thread.switch()
                    print("".join(split_frames(gdb.execute("backtrace -full", to_string=True))), end="")
            else:
                print(SLEEPER.backtrace(thread), end="")


COMMANDS = (Backtrace, Thread)
