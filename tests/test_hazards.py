# SPDX-License-Identifier: MIT
"""Hazards and invariants (docs/hazards.md) that need a look from outside: at a panic, at the CPUs, at the code."""
import random
import re
import subprocess

import pytest
from conftest import BUILD
from vm import EXIT_PANIC, Disk, Machine

# What a request passes between submit and done (R3).
REQUEST_PATH = ["block/merge", "block/queue", "block/sched_deadline", "block/sched_none", "block/segments",
                "virtio/virtio_blk_bounce", "virtio/virtio_blk_queue", "virtio/virtqueue"]


@pytest.mark.parametrize("memory", ["a_stack", "kernel_data", "device_registers"])
def test_no_dma_address_outside_the_direct_map(memory):
    """An assertion in every build: silent corruption otherwise (hazards 22, 23)."""
    result = Machine(commands=f"ktest provoke_dma_of_{memory}").run()
    assert result.status == EXIT_PANIC, result.output[-3000:]
    assert re.search(r"^PANIC: \S+: dma_address: assertion failed", result.output, re.M), result.output[-3000:]


def test_dma_to_odd_places(boot, image):
    """Hazard 23, with data on the disk that tells its places apart."""
    path = image(1 << 20)
    path.write_bytes(random.Random(1).randbytes(1 << 20))
    assert "2 passed, 0 failed" in boot("ktest dma_*", disks=[Disk.file(path)]).output


def halted(vm):
    """Whether each CPU is halted just now, as QEMU sees it."""
    registers = vm.qmp("human-monitor-command", **{"command-line": "info registers -a"})
    return [state == "1" for state in re.findall(r"\bHLT=(\d)", registers)]


def looks_with_all_halted(vm, looks=20):
    return sum(all(halted(vm)) for _ in range(looks))


@pytest.mark.parametrize("smp", [1, 2])
def test_waiting_cpus_halt(smp):
    """R7, not by the kernel's own figures: while 32 threads wait for a slow disk, the CPUs are seen halted, and
    while the shell waits for a key."""
    disk = Disk.null(latency_ns=100_000_000)
    with Machine(disks=[disk], smp=smp).start() as vm:
        vm.command("echo ready")
        assert looks_with_all_halted(vm) >= 15
        vm.type("iobench name=t dev=vd0 rw=randread bs=4k iodepth=1 numjobs=32 number_ios=200\r")
        assert looks_with_all_halted(vm) >= 10


@pytest.mark.parametrize("file", REQUEST_PATH)
def test_request_path_allocates_nothing(file):
    """R3, by what the object code could call at all."""
    symbols = subprocess.run(["nm", "-u", BUILD / "obj" / "drivers" / f"{file}.o"], capture_output=True, text=True, check=True).stdout
    called = set(re.findall(r"^ +U (\w+)$", symbols, re.M))
    assert not {name for name in called if re.match(r"(heap|page|pool)_(alloc|free)|mutex_lock|sched_sleep|completion_wait", name)}
