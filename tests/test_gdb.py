# SPDX-License-Identifier: MIT
"""gdb through the stub: break at kmain with symbols and data."""
import os
import subprocess
import time

from conftest import BUILD, ROOT
from vm import Machine


def gdb(vm, *commands, timeout=120):
    """Runs gdb commands against a VM started with stub_arguments(); its output."""
    arguments = ["gdb", "-q", "-nx", "-batch", "-x", "gdbinit", str(BUILD / "umbra.elf"),
                 "-ex", f"target remote {vm.folder}/gdb.sock"]
    for command in commands:
        arguments += ["-ex", command]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, cwd=ROOT, stdin=subprocess.DEVNULL)
    return run.stdout + run.stderr


def start(folder, stopped, **fields):
    machine = Machine(qemu_args=["-chardev", f"socket,path={folder}/gdb.sock,server=on,wait=off,id=gdb", "-gdb", "chardev:gdb",
                                 *(["-S"] if stopped else [])], **fields)
    vm = machine.start()
    vm.folder = str(folder)
    while not os.path.exists(f"{folder}/gdb.sock"):
        assert vm.process.poll() is None, vm.text
        time.sleep(0.01)
    return vm


def test_break_at_kmain(tmp_path):
    with start(tmp_path, stopped=True) as vm:
        output = gdb(vm, "break kmain", "continue", "backtrace", "info registers rip", "print boot_info.protocol", "detach")
    assert "Breakpoint 1, kmain" in output and "PVH" in output
