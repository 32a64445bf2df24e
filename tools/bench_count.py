# SPDX-License-Identifier: MIT
"""Counting for make bench: what the guest executes between the marker NOPs of iobench, by a TCG plugin
(tools/qemu_plugin/count.c), and meanwhile doorbells, interrupts and device requests, by QEMU's own trace points."""
import re
import subprocess
from pathlib import Path

from vm import ROOT

TRACE = {"virtio_queue_notify": "doorbells", "virtio_notify": "interrupts", "virtio_notify_irqfd": "interrupts",
         "virtio_blk_handle_read": "requests", "virtio_blk_handle_write": "requests"}


def plugin(folder):
    path = Path(folder) / "count.so"
    subprocess.run(["gcc", "-O2", "-Wall", "-fPIC", "-shared", "-fvisibility=hidden", "-o", path,
                    ROOT / "tools/qemu_plugin/count.c"], check=True)
    return path


def run(machine, count=None, log=None):
    """{name: row} of the machine's iobench commands; with `count`, a plugin, their windows go to `log`."""
    if count:
        machine.qemu_args += ["-plugin", str(count), "-d", "plugin", "-D", str(log)]
        for event in TRACE:
            machine.qemu_args += ["-trace", f"enable={event}"]
    result = machine.run(600)
    if not result.ok:
        raise SystemExit(f"bench: the run failed with {result.status}:\n{result.output[-2000:]}")
    return {row["name"]: row for row in result.json()}


def windows(log):
    """The events between each pair of markers, in order."""
    found, current, start = [], None, None
    for line in open(log, errors="replace"):
        if match := re.match(r"MARK (\d+) (\d+) (\d+) (\d+)", line):
            mark, *counts = map(int, match.groups())
            if mark == 1:
                current, start = dict.fromkeys(("doorbells", "interrupts", "requests"), 0), counts
            elif current is not None:
                current.update(zip(("instructions", "rep", "halts"), (b - a for a, b in zip(start, counts))))
                found.append(current)
                current = None
        elif current is not None and (match := re.match(r"(\w+) ", line)) and match.group(1) in TRACE:
            current[TRACE[match.group(1)]] += 1
    return found
