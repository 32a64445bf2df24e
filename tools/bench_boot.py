# SPDX-License-Identifier: MIT
"""The figure `boot` of make bench: from the kernel's entry, and from QEMU's start, to the shell's prompt.

Instructions are counted by the TCG plugin (tools/qemu_plugin/count.c) between two addresses and hardly vary;
the times are of this machine and this moment, without the plugin. QEMU's CPU time suffers least from a busy
one. `-kernel` by way of SeaBIOS, one null disk, no display adapter: the firmware and QEMU's own start are most
of what the host's clock shows.
"""
import re
import statistics
import subprocess
import time
from pathlib import Path

from vm import PROMPT, Disk, Machine

MACHINES = [(memory, cpus) for memory in ("256M", "4G") for cpus in (1, 4)]
ENTRY, AT_PROMPT = 240, 241  # markers: none that the guest has
PHYSICAL = (1 << 31) - 1  # the kernel is linked at its physical address - 2 GiB; paging is off at its entry
COLUMNS = {"instructions": "instructions", "rep": "rep", "log_ms": "kernel's log [ms]",
           "first_byte_ms": "QEMU to first byte [ms]", "prompt_ms": "QEMU to prompt [ms]", "cpu_ms": "CPU time to prompt [ms]"}


def machine(memory, cpus, arguments=()):
    return Machine(memory=memory, smp=cpus, disks=[Disk.null()], qemu_args=["-vga", "none", *arguments])


def places(elf):
    """The plugin's arguments: the kernel's first instruction, and where the shell first waits for input."""
    symbols = dict(reversed(line.split()[::2]) for line in
                   subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout.splitlines())
    entry, prompt = int(symbols["boot_pvh"], 16) & PHYSICAL, int(symbols["console_read"], 16)
    return f",at={entry:#x}:{ENTRY},at={prompt:#x}:{AT_PROMPT}"


def counted(memory, cpus, count, folder):
    """{instructions, rep} of one boot, all CPUs together."""
    log = Path(folder) / "boot.log"
    subject = machine(memory, cpus)
    subject.qemu_args += ["-plugin", str(count) + places(subject.build / "umbra.elf"), "-d", "plugin", "-D", str(log)]
    with subject.start() as vm:
        vm.command("echo", 120)  # once it answers, the shell has been at its prompt
        vm.qmp("quit")
        vm.finish()
    marks = {int(mark): (int(instructions), int(rep)) for mark, instructions, rep in
             reversed(re.findall(r"^MARK (\d+) (\d+) (\d+)", log.read_text(errors="replace"), re.M))}
    (start, start_rep), (end, end_rep) = marks[ENTRY], marks[AT_PROMPT]
    return {"instructions": end - start, "rep": end_rep - start_rep}


def cpu_ms(pid):
    """What all threads of a process have run."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


def timed(memory, cpus):
    """Milliseconds of one boot: by the kernel's log, to the first byte, to the prompt."""
    start = time.monotonic()
    with machine(memory, cpus).start() as vm:
        vm.wait_for(r"^\[", 120)
        first = time.monotonic()
        vm.wait_for(re.escape(PROMPT), 120)
        end, spent = time.monotonic(), cpu_ms(vm.process.pid)
        last_line = re.findall(r"^\[ *(\d+\.\d+)\]", vm.text, re.M)[-1]
    return {"log_ms": float(last_line) * 1e3, "first_byte_ms": (first - start) * 1e3, "prompt_ms": (end - start) * 1e3,
            "cpu_ms": spent}


def measure(count, runs, folder):
    """{machine: medians}. `count`: the plugin."""
    figures = {}
    for memory, cpus in MACHINES:
        rows = [counted(memory, cpus, count, folder) | timed(memory, cpus) for _ in range(runs)]
        figures[f"{memory}, {cpus} CPU{'s' if cpus > 1 else ''}"] = {
            key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return figures


def table(figures):
    print("| boot | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, row in figures.items():
        print(f"| {name} | " + " | ".join(f"{row[key]:,.0f}" for key in COLUMNS) + " |")


def as_json(figures):
    return figures
