# SPDX-License-Identifier: MIT
"""A second, independent implementation of the device: the vhost-user block server of qemu-storage-daemon, a process
of its own that works on the guest's memory and rings with other code than QEMU's virtio-blk.

No reset while the daemon has requests: that of QEMU 7.2 does not wait for them when its queues are stopped, so it
writes to the disk and to the guest's memory after the reset, which no driver can help."""
import json
import re
import subprocess
import time

import pytest
from conftest import BUILD
from vm import EXIT_OK, Machine

STRESS = "stress dev=vd0 ios=1500 threads=8 seed=17"


class Daemon:
    """A qemu-storage-daemon that exports one image."""

    def __init__(self, folder, image, **export):
        self.socket, self.image = folder / "disk.sock", image
        image = {"driver": "file", "filename": str(image), "node-name": "disk", "discard": "unmap"}
        export = {"type": "vhost-user-blk", "id": "export", "node-name": "disk", "writable": True, "num-queues": 2,
                  "addr": {"type": "unix", "path": str(self.socket)}, **export}
        self.arguments = ["qemu-storage-daemon", "--blockdev", json.dumps(image), "--export", json.dumps(export)]
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(self.arguments)
        while not self.socket.exists():
            assert self.process.poll() is None
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def daemon(image, tmp_path):
    """daemon(**export options) -> a running Daemon with a disk of 64 MiB."""
    running = []

    def start(**export):
        running.append(Daemon(tmp_path, image(), **export))
        return running[-1]
    yield start
    for each in running:
        each.kill()


def machine(daemon, device=None, reconnect=False, **fields):
    """One that shares its memory with the daemon."""
    device = {"driver": "vhost-user-blk-pci", "chardev": "daemon", "num-queues": 2, **(device or {})}
    memory = "memory-backend-memfd,id=mem,size=256M,share=on"
    chardev = f"socket,id=daemon,path={daemon.socket}" + (",reconnect=1" if reconnect else "")
    return Machine(machine="q35,memory-backend=mem", qemu_args=[
        "-object", memory, "-chardev", chardev, "-device", json.dumps(device)], **{"smp": 2, **fields})


def stress_ok(output):
    return re.search(r"^stress: OK: .* 0 wrong, 0 failed, .*all descriptors free$", output, re.M)


def queues_of(features):
    return re.findall(r"^  queue \d+: (.*), (\d+) entries, MSI-X vector \d+ on CPU (\d)$", features, re.M)


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("event_idx", [False, True])
@pytest.mark.parametrize("smp, size", [(1, 128), (2, 4), (2, 256), (4, 1024)])
def test_stress(daemon, boot, indirect, event_idx, smp, size):
    device = {"indirect_desc": indirect, "event_idx": event_idx, "queue-size": size}
    result = machine(daemon(), device, smp=smp, commands=f"features vd0; {STRESS}", cmdline="virtio.queue_size=1024").run()
    assert result.status == EXIT_OK and stress_ok(result.output), result.output[-3000:]
    features = result.command("features")[1]
    assert ("+INDIRECT_DESC" in features) == indirect and ("+EVENT_IDX" in features) == event_idx
    ring = "split, indirect" if indirect else "split"
    assert queues_of(features) == [(ring, str(size), str(queue)) for queue in range(min(smp, 2))]


def test_debug_build(daemon):
    result = machine(daemon(), commands=STRESS, build=BUILD / "debug").run()
    assert result.status == EXIT_OK and stress_ok(result.output), result.output[-3000:]


def test_what_it_is_not(daemon):
    """It offers no packed ring, though QEMU is told to; the blocks are its own choice; it has no legacy interface."""
    result = machine(daemon(**{"logical-block-size": 4096}), {"packed": True}, commands=f"lsblk; features vd0; {STRESS}").run()
    assert result.status == EXIT_OK and stress_ok(result.output), result.output[-3000:]
    assert "RING_PACKED" not in result.output and "split, indirect" in result.command("features")[1]
    assert re.search(r"^vd0 +64 MiB +4096 ", result.command("lsblk")[1], re.M)


def test_read_only(daemon):
    result = machine(daemon(writable=False), commands=f"lsblk; {STRESS}; dd if=/README.md of=vd0").run()
    assert re.search(r"^vd0 .* ro ", result.command("lsblk")[1], re.M) and stress_ok(result.output)
    assert "+RO" in result.output and result.command("dd")[0] != "0"


def test_ranges(daemon):
    """Discard and write zeroes, of a device that has limits of its own for them."""
    disk = daemon()
    disk.image.write_bytes(b"\xaa" * (64 << 20))
    result = machine(disk, commands="features vd0; discard vd0 2048 2048; discard vd0 8193 7 --zero").run()
    assert result.status == EXIT_OK and "+DISCARD +WRITE_ZEROES" in result.output, result.output[-3000:]
    expected = bytearray(b"\xaa" * (64 << 20))
    for first, count in ((2048, 2048), (8193, 7)):
        expected[first * 512:(first + count) * 512] = bytes(count * 512)
    assert disk.image.read_bytes() == expected


# ---- The daemon dies -------------------------------------------------------------------------------------

def in_flight(vm):
    return int(re.search(r"in flight (\d+) ", vm.command("iostat vd0")).group(1))


def kill_under_load(vm, daemon, command):
    vm.command("echo ready")
    vm.command(f"background {command}")
    vm.wait_for(r"stress: 1 s: [1-9]")
    daemon.kill()
    vm.wait_for(r"vd0: warning: a request is in flight for more than")
    assert in_flight(vm) > 0


@pytest.mark.parametrize("smp", [1, 2])
def test_killed(daemon, smp):
    """What was in flight stays so; whoever does not wait for it goes on."""
    disk = daemon()
    with machine(disk, smp=smp).start() as vm:
        kill_under_load(vm, disk, "stress dev=vd0 seconds=2 threads=16 seed=3")
        assert "vd0" in vm.command("lsblk") and "virtio0-queue0" in vm.command("irq")
        assert "0 failed" in vm.command("ktest mutex*") and in_flight(vm) > 0
        assert "PANIC" not in vm.text


@pytest.mark.parametrize("build", ["build", "build/debug"])
def test_killed_and_back(daemon, build):
    """A reset while it is away makes what was in flight be sent again, to the next daemon: each ends once, and what
    was written is there."""
    disk = daemon()
    with machine(disk, reconnect=True, build=BUILD.parent / build).start() as vm:
        kill_under_load(vm, disk, "stress dev=vd0 seconds=4 threads=16 seed=3")
        assert "[" not in vm.command("reset vd0")
        waiting = in_flight(vm)
        disk.start()
        assert "[" not in vm.command("wait") and waiting > 0
        assert stress_ok(vm.text) and in_flight(vm) == 0
        assert stress_ok(vm.command(STRESS))


def test_killed_and_back_in_order(daemon):
    """With one request in flight the next daemon knows from the ring which it is: it goes on without a reset."""
    disk = daemon()
    with machine(disk, {"num-queues": 1}, reconnect=True).start() as vm:
        vm.command("echo ready")
        vm.command("background iobench name=one dev=vd0 rw=randread bs=4k iodepth=1 number_ios=20000 --json")
        disk.kill()
        vm.wait_for(r"vd0: warning: a request is in flight for more than")
        assert in_flight(vm) == 1
        disk.start()
        assert "[" not in vm.command("wait")
        row = json.loads(re.search(r"^(?:umbra> )?(\{.*\})$", vm.text, re.M).group(1))
        assert (row["ios"], row["errors"]) == (20000, 0) and "warning: reset" not in vm.text
