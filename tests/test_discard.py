# SPDX-License-Identifier: MIT
"""Discard, write zeroes and the write cache's mode, on QEMU's disks: what the commands say, and what the image file
on the host looks like afterwards. QEMU has neither secure erase nor lifetime: tests/host/virtio_blk_range_test.h has."""
import json
import re
import subprocess

import pytest
from conftest import BUILD
from vm import Disk, Machine

MIB = 1 << 20
SECTORS = MIB // 512


def filled(path):
    """An image that has a byte in every place."""
    path.write_bytes(b"\xaa" * path.stat().st_size)
    return path


def unmapping(path, device=None):
    """A disk whose discards reach the file."""
    disk = Disk.file(path, device)
    disk.spec["discard"] = "unmap"
    return disk


def holes(path):
    """(first MiB, MiB past the end) of what is not allocated, in whole MiB."""
    table = json.loads(subprocess.run(["qemu-img", "map", "-f", "raw", "--output=json", str(path)], check=True,
                                      capture_output=True, text=True).stdout)
    return [(row["start"] / MIB, (row["start"] + row["length"]) / MIB) for row in table if not row["data"]]


@pytest.mark.parametrize("packed,indirect,queue", [(0, 1, 256), (1, 1, 256), (0, 0, 4), (0, 1, 2), (1, 0, 2)])
def test_the_image_gives_its_blocks_back(boot, image, packed, indirect, queue):
    path = filled(image(16 * MIB))
    boot(f"discard vd0 {2 * SECTORS} {SECTORS}; discard vd0 {5 * SECTORS} {2 * SECTORS} --zero --unmap;"
         f"discard vd0 {9 * SECTORS + 1} 7 --zero",
         disks=[unmapping(path, {"packed": bool(packed)})],
         cmdline=f"virtio.packed={packed} virtio.indirect={indirect} virtio.queue_size={queue}")
    assert holes(path) == [(2, 3), (5, 7)]
    data = path.read_bytes()
    expected = bytearray(b"\xaa" * len(data))
    for first, end in ((2 * MIB, 3 * MIB), (5 * MIB, 7 * MIB), (9 * MIB + 512, 9 * MIB + 8 * 512)):
        expected[first:end] = bytes(end - first)
    assert data == expected


def test_long_ranges_are_cut(boot, image):
    """A device of 100 sectors a request, aligned to 8: seen by QEMU's own trace of its requests."""
    path = filled(image(16 * MIB))
    limits = {"max-discard-sectors": 100, "max-write-zeroes-sectors": 64, "discard_granularity": 4096}
    result = boot("discard vd0 4 1000; discard vd0 2048 1000 --zero; iostat vd0 --json", disks=[unmapping(path, limits)])
    row = json.loads(result.command("iostat vd0 --json")[1])
    assert row["discards"] == 1 and row["write_zeroes"] == 1
    # 4 to 104, by 96 to 968, the rest; and 1000 / 64 rounded up. The others are the root's reads.
    assert row["device_requests"] - row["reads"] == 1 + 9 + 1 + 16
    data = path.read_bytes()
    assert data[2048 * 512:3048 * 512] == bytes(1000 * 512) and data[3048 * 512] == 0xaa and data[2048 * 512 - 1] == 0xaa


@pytest.mark.parametrize("device,commands,says", [
    ({"discard": False, "write-zeroes": False}, ("discard vd0 0 8", "discard vd0 0 8 --zero", "iobench dev=vd0 rw=trim"), "vd0 has no "),
    ({}, ("discard vd0 0 8 --secure",), "vd0 has no secure-erase"),
])
def test_what_the_disk_has_not(image, device, commands, says):
    path = filled(image(MIB))
    result = Machine(commands="; ".join(commands), cmdline="keep_going", disks=[unmapping(path, device)]).run()
    for command in commands:
        status, output = result.command(command)
        assert status == "-95 EOPNOTSUPP" and says in output, output
    assert path.read_bytes() == b"\xaa" * MIB


def test_refusals(image):
    """A read-only disk, a range past the end, wrong words: nothing is destroyed."""
    path = filled(image(MIB))
    read_only = Disk.file(path, read_only=True)
    commands = {"discard vd0 0 8": "-30 EROFS", "discard vd1 2047 2": "-22 EINVAL", "discard vd1 0 8 --zero --secure": "-22 EINVAL",
                "discard vd1 0 8 --unmap": "-22 EINVAL", "discard vd1 zero 8": "-22 EINVAL", "discard vd1 0": "-22 EINVAL",
                "discard nosuch0 0 8": "-19 ENODEV", "discard vd1 0 8 --all": "-22 EINVAL", "cache vd1 writeabout": "-22 EINVAL",
                "cache ram0 writethrough": "-95 EOPNOTSUPP"}
    other = filled(image(MIB, "other.img"))
    result = Machine(commands="; ".join(commands), cmdline="keep_going", disks=[read_only, unmapping(other)]).run()
    for command, status in commands.items():
        assert result.command(command)[0] == status, (command, result.command(command))
    assert path.read_bytes() == other.read_bytes() == b"\xaa" * MIB


def test_mounted_disks_are_kept(image):
    result = Machine(commands="discard ram0 0 8; discard ram0 0 8 --secure force=1", cmdline="keep_going").run()
    status, output = result.command("discard ram0 0 8")
    assert status == "-16 EBUSY" and "force=1" in output
    assert result.command("discard ram0 0 8 --secure force=1")[0] == "0"


@pytest.mark.parametrize("interface", ["modern PCI", "legacy PCI", "modern mmio", "legacy mmio"])
@pytest.mark.parametrize("at_start", ["on", "off"])
def test_cache_mode(boot, image, interface, at_start):
    """Switched, read back from the device, and kept through a reset, which gives QEMU's own mode back."""
    device = {"write-cache": at_start}
    machine = {}
    if interface == "legacy PCI":
        device.update({"disable-modern": True, "disable-legacy": "off"})
    if "mmio" in interface:
        machine = {"machine": "microvm", "mmio_legacy": "legacy" in interface}
    first, other = ("writeback", "writethrough") if at_start == "on" else ("writethrough", "writeback")
    result = boot(f"features vd0; cache vd0; cache vd0 {other}; reset vd0; sleep 1; features vd0; cache vd0 {first}; lsblk --json",
                  disks=[Disk.file(image(MIB), device)], **machine)
    assert interface in result.command("features vd0")[1]
    assert f"vd0: {first}" in result.command("cache vd0")[1]
    assert f"vd0: {other}" in result.command(f"cache vd0 {other}")[1]
    shown = re.findall(r"write cache: (\S+)", result.output)
    assert shown == [first, other]
    assert f"vd0: {first}" in result.command(f"cache vd0 {first}")[1]
    assert f'"writeback":{"true" if first == "writeback" else "false"}' in result.command("lsblk --json")[1].splitlines()[-1]
    assert "stays" not in result.output


def test_flushes_follow_the_mode(boot, image):
    """They reach the device just when it writes back, and once more to end that."""
    load = "iobench dev=vd0 rw=write bs=4k fsync=4 number_ios=40 warmup=0; iostat vd0 --json"
    result = boot(f"{load}; cache vd0 writethrough; {load}; cache vd0 writeback; {load}", disks=[Disk.file(image(MIB))])
    assert [row["flushes"] for row in result.json()] == [10, 11, 21]


def test_a_mode_that_cannot_be_switched(image):
    result = Machine(commands="cache vd0; cache vd0 writethrough", cmdline="keep_going",
                     disks=[Disk.file(image(MIB), {"config-wce": False})]).run()
    assert "vd0: writeback" in result.command("cache vd0")[1]
    status, output = result.command("cache vd0 writethrough")
    assert status == "-95 EOPNOTSUPP" and "vd0: writeback" in output


def test_cache_is_switched_under_load(boot, image):
    """What is in flight is sent again and every block is right."""
    result = boot("background stress dev=vd0 ios=6000 threads=8 seed=3; cache vd0 writethrough; cache vd0 writeback; "
                  "cache vd0 writethrough; wait; cache vd0", disks=[unmapping(image())], smp=2)
    assert "stress: OK" in result.output and "vd0: writethrough" in result.command("cache vd0")[1]


@pytest.mark.parametrize("build", ["build", "build/debug"])
def test_stress_with_discards(boot, image, build):
    """On a disk that unmaps, over resets and both schedulers; some of each kind were done and verified."""
    result = boot("stress dev=vd0 ios=6000 threads=16 seed=11 size=8M reset=1 --json", smp=2, build=BUILD.parent / build, timeout=300,
                  disks=[unmapping(image())])
    row = result.json()[0]
    assert row["ok"] and row["discards"] > 20 and row["write_zeroes"] > 20 and row["wrong"] == 0, row


def test_trim(boot, image):
    row, stats = boot("iobench dev=vd0 rw=trim bs=64k number_ios=128 warmup=0 iodepth=8 --json; iostat vd0 --json",
                      disks=[unmapping(filled(image(8 * MIB)))]).json()
    assert row["ios"] == 128 and row["errors"] == 0 and row["rw"] == "trim" and stats["discards"] == 128
