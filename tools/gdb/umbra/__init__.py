# SPDX-License-Identifier: MIT
"""Umbra's commands for gdb, loaded by gdbinit: `help umbra` lists them.

A file a subject. All of them only read: no kernel code is called and nothing is written, so a kernel may be
stopped anywhere, with locks held and lists half changed. kernel.py is the way to its variables and structs.
The names and fields that they use are the kernel's; tests/test_gdb.py notices when one of them changes.
"""
from . import backtrace, cache, cpus, irq, locks, log, panic, printers, queues, threads, trace, virtqueue  # noqa: F401
from .kernel import Umbra

Umbra()
for module in (threads, backtrace, cpus, virtqueue, queues, cache, locks, irq, log, trace):
    for command in module.COMMANDS:
        command()
printers.register()
