# SPDX-License-Identifier: MIT
"""The kernel's memory as gdb sees it, for the commands: variables, structs, lists, text; and the commands' base.

QEMU's stub reads memory with the page tables of the selected CPU. A CPU that firmware has, or that was never
started, does not map the kernel; so each command reads through a CPU that does.
"""
import contextlib

import gdb


class Broken(gdb.GdbError):
    """A structure of the kernel that cannot be what it should."""


class NotBooted(gdb.GdbError):
    def __init__(self, missing):
        super().__init__(f"not booted that far: {missing}")


# ---- Values ------------------------------------------------------------------------------------------------


def variable(name, file=None):
    """A global variable; `file` tells the source of a static one, whose name need not be unique."""
    return gdb.parse_and_eval(f"'{file}'::{name}" if file else name)


def at(kind, address, count=None):
    """The struct of type `kind` ("struct thread") at an address, or an array of so many; fetched in one transfer."""
    of = gdb.lookup_type(kind)
    of = of if count is None else of.array(count - 1)
    value = gdb.Value(int(address)).cast(of.pointer()).dereference()
    value.fetch_lazy()
    return value


def offset_of(kind, member):
    return next(f.bitpos // 8 for f in gdb.lookup_type(kind).fields() if f.name == member)


def has_field(kind, member):
    return any(f.name == member for f in gdb.lookup_type(kind).fields())


def read(address, size):
    return gdb.selected_inferior().read_memory(int(address), size).tobytes()


def text(value):
    """A char array or pointer as Python text; "" for NULL."""
    is_array = value.type.code == gdb.TYPE_CODE_ARRAY
    return value.string(errors="replace") if is_array or int(value) else ""


def enum_name(kind, value, prefix=""):
    """The enumerator's name in small letters without its prefix: 2 of enum thread_state is "blocked"."""
    for field in gdb.lookup_type(kind).fields():
        if field.enumval == int(value):
            return field.name[len(prefix):].lower()
    return f"{int(value)}?"


def chain(first, follow, end=0):
    """Addresses from `first` on, each the `follow` of the one before, up to `end`; Broken when it is not met."""
    seen, address = set(), int(first)
    while address != end:
        if address == 0 or address in seen:
            raise Broken(f"a list is broken behind {len(seen)} nodes: it leads to 0x{address:x}")
        seen.add(address)
        yield address
        address = int(follow(address))


def list_entries(head, kind, member):
    """The structs that a struct list holds by their `member`."""
    offset = offset_of(kind, member)
    for node in chain(head["next"], lambda a: at("struct list", a)["next"], int(head.address)):
        yield at(kind, node - offset)


def fifo_entries(fifo, kind, member):
    """The same for a struct fifo."""
    offset = offset_of(kind, member)
    for node in chain(fifo["head"], lambda a: at("struct fifo_node", a)["next"]):
        yield at(kind, node - offset)


# ---- Code --------------------------------------------------------------------------------------------------


def symbol_of(address):
    """"name" or "name+12" of a function or variable; the bare address when there is none."""
    found = gdb.execute(f"info symbol {int(address)}", to_string=True)
    if found.startswith("No symbol"):
        return f"0x{int(address):x}"
    return found.split(" in section")[0].replace(" + ", "+").strip()


def line_of(pc):
    """"src/kernel/sched.c:210", or "" for code without lines."""
    place = gdb.find_pc_line(pc)
    return f"{place.symtab.filename}:{place.line}" if place.symtab else ""


def functions_of(pc):
    """The functions at an address: the innermost inlined one first, that which was called last."""
    names, block = [], gdb.block_for_pc(pc)
    while block and not block.is_static and not block.is_global:
        if block.function:
            names.append(block.function.name)
        block = block.superblock
    return names or [symbol_of(pc).split("+")[0]]


# ---- CPUs --------------------------------------------------------------------------------------------------


def cpus():
    """The struct cpu of each CPU that runs the kernel."""
    blocks = variable("cpus", "src/arch/cpu.c")
    if not int(blocks[0]["self"]):
        raise NotBooted("the boot CPU is not set up")
    return [blocks[i] for i in range(int(variable("cpu_running_count", "src/arch/cpu.c")))]


def gdb_threads():
    """The gdb thread of each CPU that runs the kernel, by the kernel's number: GS points at its struct cpu."""
    by_block, found = {int(cpu.address): int(cpu["id"]) for cpu in cpus()}, {}
    with selection_kept():
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            block = int(gdb.parse_and_eval("$gs_base")) & (1 << 64) - 1
            if block in by_block:
                found[by_block[block]] = thread
    return found


@contextlib.contextmanager
def selection_kept():
    """Whatever CPU and frame are selected inside, the user's are afterwards."""
    thread, frame = gdb.selected_thread(), gdb.selected_frame()
    try:
        yield
    finally:
        if gdb.selected_thread() != thread:
            thread.switch()
        if frame.is_valid():
            frame.select()


def is_kernel_mapped():
    """Does the selected CPU map the kernel, and has boot.S run?"""
    try:
        return int(gdb.parse_and_eval("*(unsigned long *) &boot_entry_tsc")) != 0
    except gdb.MemoryError:
        return False


def select_mapped_cpu():
    if is_kernel_mapped():
        return
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        if is_kernel_mapped():
            return
    raise NotBooted("no CPU has the kernel in its page tables")


# ---- Commands ----------------------------------------------------------------------------------------------


class Umbra(gdb.Command):
    """What the Umbra kernel is doing: threads, requests, rings, interrupts, log.

    All commands only read; no code of the kernel is called."""

    def __init__(self):
        super().__init__("umbra", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, arguments, from_tty):
        gdb.execute("help umbra")


class Command(gdb.Command):
    """Base of the commands: `name` behind "umbra", `usage` of its arguments if it takes any, run(*words)."""

    name = usage = ""

    def __init__(self):
        super().__init__(f"umbra {self.name}", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, arguments, from_tty):
        if not gdb.selected_thread():
            raise gdb.GdbError("no machine is attached: target remote …")
        words = gdb.string_to_argv(arguments)
        if words and not self.usage:
            raise self.wrong_usage()
        try:
            with selection_kept():
                select_mapped_cpu()
                self.run(*words)
        except (Broken, NotBooted) as error:
            raise gdb.GdbError(f"umbra {self.name}: {error}") from None
        except gdb.MemoryError as error:
            raise gdb.GdbError(f"umbra {self.name}: {error}: not set up yet, or overwritten") from None
        except gdb.error as error:
            raise gdb.GdbError(f"umbra {self.name}: {error}: is this the kernel that runs?") from None

    def wrong_usage(self):
        return gdb.GdbError(f"usage: umbra {self.name} {self.usage}".rstrip())

    def count(self, words, default):
        """The optional number of lines that some commands take."""
        if not words:
            return default
        if len(words) > 1 or not words[0].isdigit():
            raise self.wrong_usage()
        return int(words[0])

    def run(self, *words):
        raise NotImplementedError
