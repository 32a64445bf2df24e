# SPDX-License-Identifier: MIT
"""Virtio devices that are no disks, on every transport and ring: the entropy device."""
import re

import pytest
from conftest import BUILD
from vm import Machine

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
    device = ",".join([f"virtio-rng-{suffix},rng=r", *(f"{key.replace('_', '-')}={value}" for key, value in options.items())])
    return ["-object", f"rng-random,filename={filename},id=r", "-device", device]


def source(row, name):
    return next(source for source in row["sources"] if source["name"] == name)


def hex_lines(text):
    return "".join(re.findall(r"^[0-9a-f]+$", text, re.M))


@pytest.mark.parametrize("interface", INTERFACES)
def test_seeded_by_device(boot, interface):
    """Without a source in the CPU; the device's bytes also come raw, and its name is known to `features`."""
    suffix, fields = INTERFACES[interface]
    result = boot("entropy --json; random; rng virtio0; features virtio0", cpu=WEAK_CPU, qemu_args=rng(suffix=suffix), **fields)
    assert "entropy: seeded, at last by virtio0" in result.output
    row = result.json()[0]
    assert row["seeded"] and source(row, "virtio0")["bytes"] == 64
    assert len(hex_lines(result.command("random")[1])) == 64 and "not seeded" not in result.command("random")[1]
    assert len(hex_lines(result.command("rng")[1])) == 128
    assert "entropy device on " in result.command("features")[1]
    assert ("+RING_PACKED" in result.output) == interface.startswith("packed")


def test_not_seeded_is_said(boot):
    result = boot("random; entropy", cpu=WEAK_CPU)
    assert "the pool is not seeded" in result.command("random")[1]
    assert re.search(r"^not seeded: 0 of 256 bits", result.command("entropy")[1], re.M)


def test_seeded_by_cpu(boot):
    result = boot("random; entropy --json")
    assert "not seeded" not in result.command("random")[1]
    assert [(s["name"], s["bytes"]) for s in result.json()[0]["sources"]] == [("rdrand", 64)]


def test_known_bytes(boot, tmp_path):
    """A file of known bytes shows what arrives, and that none of it leaves as it came: the pool mixes. Two boots
    with the same file differ."""
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)))
    runs = [boot("rng virtio0; rng virtio0; random 64; entropy --json", cpu=WEAK_CPU, qemu_args=rng(path)) for _ in range(2)]
    for result in runs:
        shown = hex_lines(result.output)
        assert shown[:256] == bytes(range(64, 192)).hex()  # the first 64 went into the pool
        assert bytes(range(8)).hex() not in shown[256:]
        assert source(result.json()[0], "virtio0")["bytes"] == 64
    assert hex_lines(runs[0].command("random")[1]) != hex_lines(runs[1].command("random")[1])


def test_stuck_device_gets_no_credit(boot, tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(bytes(4096))
    result = boot("random; random; entropy --json", cpu=WEAK_CPU, qemu_args=rng(path))
    row = result.json()[0]
    assert not row["seeded"] and source(row, "virtio0")["credit_bits"] == 0
    assert source(row, "virtio0")["bytes"] > 0 and source(row, "virtio0")["repeated"] > 0


def test_device_that_keeps_the_buffer():
    """64 bytes a minute: nobody waits for the second answer for ever, and who asked is told."""
    with Machine(cpu=WEAK_CPU, qemu_args=rng(max_bytes=64, period=60000)).start() as vm:
        assert "rng: no answer" in vm.command("rng virtio0")
        assert "[-110 ETIMEDOUT]" in vm.text
        assert len(hex_lines(vm.command("random"))) == 64


def test_reseeding(boot):
    """More is fetched when 64 KiB have been taken, not at each call (R7)."""
    result = boot("random 32; entropy --json; random 200k; entropy --json", cpu=WEAK_CPU, qemu_args=rng(), timeout=180)
    before, after = result.json()
    assert before["reseeds"] == 0 and after["reseeds"] == 3
    assert source(after, "virtio0")["asked"] == 4 and source(after, "virtio0")["bytes"] == 256


def test_debug_build(boot):
    result = boot("random 100k; rng virtio0; entropy --json; ktest --shuffle", build=BUILD / "debug", smp=2, qemu_args=rng(), timeout=300)
    assert re.search(r"\d+ passed, 0 failed", result.output)
    assert source(result.json()[0], "virtio0")["bytes"] >= 64
