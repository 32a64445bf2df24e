# SPDX-License-Identifier: MIT
"""gdb through the stub: break at kmain, the helpers of gdbinit on a busy kernel, and boot data corrupted from
outside."""
import os
import subprocess
import time

from conftest import BUILD, ROOT
from vm import Disk, Machine


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


def test_helpers_on_a_busy_kernel(tmp_path):
    with start(tmp_path, stopped=False, smp=2, disks=[Disk.null(latency_ns=300_000_000)]) as vm:
        vm.command("echo ready")
        vm.type("iobench name=g dev=vd0 rw=randread bs=4k iodepth=8 numjobs=4 runtime=60\r")
        time.sleep(3)
        output = gdb(vm, "umbra threads", "umbra queues", "umbra requests", "umbra log", "umbra cpus", "detach")
    assert "shell" in output or "main" in output
    assert "block" in output and "completion" in output or "group" in output, output[-3000:]
    assert "vd0" in output and "in flight" in output
    assert "Traceback" not in output and "Error" not in output, output[-3000:]


def test_multiboot_tags_that_overrun(tmp_path):
    """The boot loader's tags, corrupted in memory before the kernel reads them: a warning, no panic, no hang."""
    with start(tmp_path, stopped=True, boot="iso", commands="echo alive") as vm:
        output = gdb(vm, "hbreak arch_start", "continue", "umbra corrupt-boot-tag", "detach", timeout=180)
        result = vm.finish(60)
    assert "corrupted" in output, output[-2000:]
    assert result.status == 33 and "alive" in result.output and "warning: " in result.output, result.output[-2000:]
