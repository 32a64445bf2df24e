# SPDX-License-Identifier: MIT
"""Virtio devices that are no disks, on every transport and ring: the entropy device and the console."""
import json
import random
import re
import socket
import subprocess
import time
from contextlib import closing

import pytest
from conftest import BUILD
from vm import EXIT_PANIC, Disk, Machine

WEAK_CPU = "max,-erms,-rdrand,-rdseed"  # so that the device is the only source
# How a device is attached: what follows its name in -device, and the machine.
INTERFACES = {
    "modern PCI": ("pci,disable-legacy=on", {}),
    "transitional PCI": ("pci", {}),
    "legacy PCI": ("pci,disable-modern=on,disable-legacy=off", {}),
    "pins": ("pci,vectors=0", {"machine": "pc"}),
    "packed": ("pci,packed=on", {}),
    "modern mmio": ("device", {"machine": "microvm"}),
    "legacy mmio": ("device", {"machine": "microvm", "mmio_legacy": True}),
    "packed mmio": ("device,packed=on", {"machine": "microvm"}),
}


def rng(filename="/dev/urandom", suffix="pci", **options):
    device = ",".join([f"virtio-rng-{suffix},rng=r", *(f"{key}={value}" for key, value in options.items())])
    return ["-object", f"rng-random,filename={filename},id=r", "-device", device]


def source(row, name):
    return next(source for source in row["sources"] if source["name"] == name)


def hex_lines(text):
    return "".join(re.findall(r"^[0-9a-f]+$", text, re.M))


def json_of(vm, command):
    """The rows that a command with --json prints."""
    return [json.loads(line) for line in vm.command(command).splitlines() if line.startswith("{")]


def wait_until(look, tries=600):
    for _ in range(tries):
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


def wait_for_bytes(vm):
    """Until the device has answered the pool; the row of `entropy`."""
    def look():
        row = json_of(vm, "entropy --json")[0]
        return row if source(row, "virtio0")["bytes"] else None
    return wait_until(look)


@pytest.mark.parametrize("interface", INTERFACES)
def test_seeded_by_device(interface):
    """Without a source in the CPU; the device's bytes also come raw, and its name is known to `features`."""
    suffix, fields = INTERFACES[interface]
    with Machine(cpu=WEAK_CPU, qemu_args=rng(suffix=suffix), **fields).start() as vm:
        vm.wait_for("entropy: seeded, at last by virtio0")
        row = wait_for_bytes(vm)
        assert row["seeded"] and source(row, "virtio0")["bytes"] == 64
        text = vm.command("random")
        assert len(hex_lines(text)) == 64 and "not seeded" not in text
        assert len(hex_lines(vm.command("rng virtio0"))) == 128
        assert "entropy device on " in vm.command("features virtio0")
        assert ("+RING_PACKED" in vm.text) == interface.startswith("packed")


def test_not_seeded_is_said(boot):
    result = boot("random; entropy", cpu=WEAK_CPU)
    assert "the pool is not seeded" in result.command("random")[1]
    assert re.search(r"^not seeded: 0 of 256 bits", result.command("entropy")[1], re.M)


def test_seeded_by_cpu(boot):
    result = boot("random; entropy --json")
    assert "not seeded" not in result.command("random")[1]
    assert [(s["name"], s["bytes"]) for s in result.json()[0]["sources"]] == [("rdrand", 64)]


def known_bytes_run(path):
    with Machine(cpu=WEAK_CPU, qemu_args=rng(path)).start() as vm:
        assert source(wait_for_bytes(vm), "virtio0")["bytes"] == 64
        return [hex_lines(vm.command(command)) for command in ("rng virtio0", "rng virtio0", "random 64")]


def test_known_bytes(tmp_path):
    """A file of known bytes shows what arrives, and that none of it leaves as it came: the pool mixes. Two boots
    with the same file differ."""
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)))
    runs = [known_bytes_run(path) for _ in range(2)]
    for first, second, mixed in runs:
        assert first + second == bytes(range(64, 192)).hex()  # the first 64 went into the pool
        assert len(mixed) == 128 and not any(bytes(range(at, at + 4)).hex() in mixed for at in range(252))
    assert runs[0][2] != runs[1][2]


def test_stuck_device_gets_no_credit(tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(bytes(4096))
    with Machine(cpu=WEAK_CPU, qemu_args=rng(path)).start() as vm:
        row = wait_for_bytes(vm)
        assert not row["seeded"] and source(row, "virtio0")["credit_bits"] == 0
        assert source(row, "virtio0")["repeated"] > 0
        assert "the pool is not seeded" in vm.command("random")


def test_device_that_keeps_the_buffer():
    """64 bytes a minute: nobody waits for the second answer for ever, and who asked is told."""
    with Machine(cpu=WEAK_CPU, qemu_args=rng(**{"max-bytes": 64, "period": 60000})).start() as vm:
        wait_for_bytes(vm)
        assert "rng: no answer" in vm.command("rng virtio0")
        assert "[-110 ETIMEDOUT]" in vm.text
        assert len(hex_lines(vm.command("random"))) == 64


def test_reseeding():
    """More is fetched when 64 KiB have been taken, not at each call (R7)."""
    with Machine(cpu=WEAK_CPU, qemu_args=rng()).start() as vm:
        wait_for_bytes(vm)
        vm.command("random 32")
        assert json_of(vm, "entropy --json")[0]["reseeds"] == 0
        vm.command("random 200k", timeout=180)
        row = json_of(vm, "entropy --json")[0]
        assert row["reseeds"] == 3 and source(row, "virtio0")["asked"] == 4


def test_device_comes_and_goes():
    """In a PCI Express slot, while random numbers are wanted of it."""
    root = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
            "-device", "pcie-root-port,id=rp0,chassis=1,slot=1"]
    with Machine(cpu=WEAK_CPU, qemu_args=[*root, *rng(bus="rp0", id="d0")]).start() as vm:
        wait_for_bytes(vm)
        for number in range(1, 4):
            vm.command("random 70k")
            vm.qmp("device_del", id="d0")
            wait_until(lambda: None if json_of(vm, "entropy --json")[0]["sources"] else True)
            vm.qmp("device_add", driver="virtio-rng-pci", rng="r", bus="rp0", id="d0")
            vm.wait_for(f"virtio{number}: queue 0")
        assert "features: no device named 'virtio0'" in vm.command("features virtio0")


def test_debug_build(boot):
    result = boot("random 100k; rng virtio0; entropy --json; ktest sched_* timer_* --shuffle", build=BUILD / "debug",
                  smp=2, qemu_args=rng(), timeout=300)
    assert re.search(r"\d+ passed, 0 failed", result.output)
    assert source(result.json()[0], "virtio0")["bytes"] >= 64


# ---- Console -----------------------------------------------------------------------------------------------------------

def console(suffix="pci", ports=(), **options):
    """A console at port 0, and channels: ports is a list of (name, chardev options)."""
    bus = ",".join([f"virtio-serial-{suffix},id=vs", *(f"{key}={value}" for key, value in options.items())])
    args = ["-device", bus]
    for number, (name, chardev) in enumerate(ports):
        device = f"virtserialport,name={name}" if name else "virtconsole"
        args += ["-chardev", f"{chardev},id=port{number}",
                 "-device", f"{device},chardev=port{number},bus=vs.0,id=dev{number}"]
    return args


def to_file(path):
    return f"file,path={path}"


def to_socket(path):
    return f"socket,path={path},server=on,wait=off"


def port(result, name):
    return next(row for row in result.json() if row.get("name") == name)


def port_row(vm, name):
    return next(row for row in json_of(vm, "vport --json") if row["name"] == name)


class Peer:
    """The host's side of a port on a unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.text = ""

    def wait_for(self, pattern):
        while not (match := re.search(pattern, self.text)):
            self.text += self.socket.recv(65536).decode()
        return match


@pytest.mark.parametrize("interface", INTERFACES)
def test_console(boot, tmp_path, interface):
    """All output also goes there, early log lines too, and a command's output to a channel by its name."""
    suffix, fields = INTERFACES[interface]
    seen, bulk = tmp_path / "seen", tmp_path / "bulk"
    result = boot("echo one; vport bulk dmesg; vport --json; features virtio0; echo last words",
                  qemu_args=console(suffix, [(None, to_file(seen)), ("bulk", to_file(bulk))]), **fields)
    text = seen.read_bytes().decode()
    assert text.replace("\r", "") == result.output and "\n" not in text.replace("\r\n", "")
    assert "boot: Umbra" in bulk.read_text() and "boot: Umbra" not in result.command("vport bulk")[1]
    assert port(result, "bulk")["bytes"] == bulk.stat().st_size
    assert port(result, "virtio0p0")["dropped_bytes"] == 0
    assert ("+RING_PACKED" in result.output) == interface.startswith("packed")


def test_single_port(boot, tmp_path):
    """Without MULTIPORT: no control queues, port 0 is the console."""
    seen = tmp_path / "seen"
    result = boot("echo one; vport; features virtio0", qemu_args=console(ports=[(None, to_file(seen))], max_ports=1))
    assert seen.read_text().replace("\r", "") == result.output
    assert "MULTIPORT" not in result.command("features")[1] and "queue 2" not in result.command("features")[1]


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_commands_typed_at_the_console(tmp_path, machine):
    suffix = "device" if machine == "microvm" else "pci"
    path = tmp_path / "console.sock"
    with Machine(machine=machine, qemu_args=console(suffix, [(None, to_socket(path))])).start() as vm:
        vm.wait_for("umbra> ")
        peer = Peer(path)
        for number in range(20):  # more than there are buffers
            peer.socket.sendall(f"echo answer $((no)) {number}; help nothing\r".encode())
            peer.wait_for(rf"\nanswer \S+ {number}\r\n(?s:.*)umbra> ")
        vm.wait_for(r"^answer \$\(\(no\)\) 19$")  # both show the same
        vm.type("echo from the serial line\r")
        peer.wait_for("\nfrom the serial line\r\n")
        peer.socket.sendall(b"poweroff\r")
        assert vm.finish(60).status == 0


@pytest.mark.parametrize("ring", ["packed=off", "packed=on"])
def test_bulk_output(boot, tmp_path, ring):
    """8 MiB through a channel arrive byte by byte as they were, in pieces of tens of KiB: the serial line has one port
    access a byte, and more."""
    data = random.Random(1).randbytes(8 << 20)
    disk, bulk = tmp_path / "disk.img", tmp_path / "bulk"
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(data)
    subprocess.run([BUILD / "eclipsefs", "import", disk, tree], check=True, capture_output=True)
    result = boot("vport bulk cat /big; vport --json", disks=[Disk.file(disk)], smp=2,
                  qemu_args=console(f"pci,{ring}", [(None, to_file(tmp_path / "console")), ("bulk", to_file(bulk))]))
    assert f"vport: {len(data)} bytes" in result.command("vport bulk")[1]
    assert bulk.read_bytes() == data
    row = port(result, "bulk")
    assert row["bytes"] == len(data) and row["dropped_bytes"] == 0
    assert row["bytes"] / row["doorbells"] >= 16384 and row["bytes"] / row["interrupts"] >= 16384, row


def test_console_that_nobody_reads(tmp_path):
    """The kernel prints on at its serial line, and the end comes. (QEMU itself drops what a console's reader does not
    take; a device that keeps the buffers is in tests/host/virtio_console_test.c.)"""
    path = tmp_path / "console.sock"
    with Machine(qemu_args=console(ports=[(None, to_socket(path))])).start() as vm:
        vm.wait_for("umbra> ")
        with closing(Peer(path).socket):
            vm.command("repeat 100 help", timeout=120)
            vm.type("poweroff\r")
            assert vm.finish(60).status == 0


def test_channel_that_nobody_reads(tmp_path):
    """A command to it ends with ETIMEDOUT, one while nobody listens or after the host has gone with EPIPE."""
    path = tmp_path / "bulk.sock"
    with Machine(qemu_args=console(ports=[(None, "null"), ("bulk", to_socket(path))])).start() as vm:
        assert "the host does not listen" in vm.command("vport bulk help")
        peer = Peer(path)
        wait_until(lambda: port_row(vm, "bulk")["open"] or None)
        assert re.search(r"vport: \d+ bytes", vm.command("vport bulk help"))
        assert "vport: ETIMEDOUT after " in vm.command("vport bulk random 1M", timeout=120)
        peer.socket.close()
        assert re.search("the host does not listen|vport: EPIPE after", vm.command("vport bulk random 1M"))
        peer = Peer(path)  # and all is well again
        wait_until(lambda: port_row(vm, "bulk")["open"] or None)
        vm.command("vport bulk echo once more")
        peer.wait_for("once more\n")


def test_ports_come_and_go(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with Machine(qemu_args=[*console(ports=[(None, "null"), ("one", to_file(first))]),
                            "-chardev", to_file(second) + ",id=later"]).start() as vm:
        vm.command("vport one echo first")
        vm.qmp("device_del", id="dev1")
        vm.wait_for("virtio0: port 1 is gone")
        assert "no port named 'one'" in vm.command("vport one echo lost")
        vm.qmp("device_add", driver="virtserialport", name="two", chardev="later", bus="vs.0", nr=1)
        vm.wait_for("virtio0: port 1 is 'two'")
        assert "vport: 7 bytes" in vm.command("vport two echo second")
        vm.qmp("device_del", id="dev0")
        vm.wait_for("virtio0: port 0 is gone")
        vm.command("echo still here")
        vm.type("poweroff\r")
        assert vm.finish(60).status == 0
    assert (first.read_text(), second.read_text()) == ("first\n", "second\n")


def test_port_beyond_the_queues():
    args = [*console(ports=[(None, "null")]), "-chardev", "null,id=far",
            "-device", "virtserialport,name=far,chardev=far,nr=20,bus=vs.0"]
    result = Machine(commands="vport; vport far help", qemu_args=args).run()
    assert "port 20 is not used: there are queues for 7" in result.output
    assert "no port named 'far'" in result.output


@pytest.mark.parametrize("interface", ["modern PCI", "legacy PCI", "modern mmio"])
@pytest.mark.parametrize("emergency", ["on", "off"])
def test_panic(tmp_path, interface, emergency):
    """The serial line has it all, whatever the console does; with its emergency register, the console too."""
    suffix, fields = INTERFACES[interface]
    seen = tmp_path / "seen"
    args = [*console(suffix, [(None, to_file(seen))], **{"emergency-write": emergency})]
    result = Machine(commands="panic surprise", qemu_args=args, **fields).run()
    assert result.status == EXIT_PANIC and re.search(r"^PANIC: surprise\n(?s:.*)^CPU 0", result.output, re.M)
    if emergency == "on":
        report = result.output[result.output.index("PANIC"):].splitlines()
        text = seen.read_bytes().decode().replace("\r", "")
        missing = [line for line in report if line not in text]
        # What was in the queue before may come into the middle of a line: the register overtakes it.
        assert len(report) > 10 and len(missing) <= 2, missing


def test_panic_when_nobody_reads(tmp_path):
    path = tmp_path / "console.sock"
    with Machine(qemu_args=console(ports=[(None, to_socket(path))], **{"emergency-write": "off"})).start() as vm:
        vm.wait_for("umbra> ")
        with closing(Peer(path).socket):
            vm.command("repeat 40 help", timeout=120)
            vm.type("panic surprise\r")
            result = vm.finish(60)
    assert result.status == EXIT_PANIC and "PANIC: surprise" in result.output


def test_console_debug_build(boot, tmp_path):
    """Lockdep watches: the console is a sink of the log, which everybody may call with anything held."""
    seen = tmp_path / "seen"
    result = boot("ktest log_* console_* sched_* timer_*; vport bulk dmesg; stress dev=ram0 ios=500 threads=4",
                  build=BUILD / "debug", smp=2, timeout=300, cmdline="root=none",
                  qemu_args=console(ports=[(None, to_file(seen)), ("bulk", to_file(tmp_path / "bulk"))]))
    assert re.search(r"\d+ passed, 0 failed", result.output)
    assert "stress: OK" in seen.read_text()
