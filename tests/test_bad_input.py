# SPDX-License-Identifier: MIT
"""What a device, a disk image, a boot loader or a user sends wrongly gets one clear line and no panic."""
import random
import re
import struct

import pytest
from vm import EXIT_FAILED, EXIT_OK, Disk, Machine


def lines(result, pattern):
    return re.findall(r"^\[ *\d+\.\d+\] .*(?:" + pattern + r").*$", result.output, re.M)


def boots(result):
    assert result.status in (EXIT_OK, EXIT_FAILED), f"{result.status}\n{result.output[-3000:]}"
    assert "PANIC" not in result.output


@pytest.mark.parametrize("text,word", [
    ("nonsense=1", "nonsense"), ("smp=many", "many"), ("virtio.queue_size=3", "queue_size"),
    ("loglevel=loud", "loud"), ("blk.sched=psychic", "psychic"), ("bcache.size=-1", "bcache.size")])
def test_command_line(text, word):
    result = Machine(cmdline=text, commands="echo alive", disks=[Disk.null(64 << 20)]).run()
    boots(result)
    found = lines(result, r"warning: .*" + re.escape(word))
    assert len(found) == 1, found or result.output[-2000:]
    assert "alive" in result.command("echo")[1]


@pytest.mark.parametrize("append,fw_cfg", [('loglevel="info', 'run="echo alive"'), ("", 'run="echo alive" loglevel="info'),
                                           ("", 'loglevel=info run="echo alive')], ids=["loader", "fw_cfg", "run"])
def test_open_quote(append, fw_cfg):
    """It swallows the rest of its own source, and never the other source."""
    result = Machine(cmdline=fw_cfg, qemu_args=["-append", append]).run()
    boots(result)
    found = lines(result, "cmdline: warning")
    assert len(found) == 1 and "quote" in found[0], found or result.output[-2000:]
    assert result.command("echo alive") == ("0", "alive\n")


def test_unknown_command():
    result = Machine(commands="frobnicate 1 2").run()
    assert result.status == EXIT_FAILED
    status, output = result.command("frobnicate")
    assert status.startswith("-") and len(output.strip().splitlines()) == 1 and "frobnicate" in output


@pytest.mark.parametrize("command", ["iobench dev=nope", "iobench bs=3 dev=ram0", "iobench rw=sideways dev=ram0",
                                     "stress dev=nope", "cat /nope", "ls", "mount nope /", "sched ram0 nope",
                                     "iobench dev=ram0 iodepth=0", "iobench dev=ram0 offset=1000T number_ios=1"])
def test_bad_arguments(command):
    result = Machine(commands=command).run()
    assert result.status == (EXIT_OK if command == "ls" else EXIT_FAILED)
    assert "PANIC" not in result.output


def image(tmp_path, data):
    path = tmp_path / "bad.img"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0, 1, 512, 513, 4095, 4097])
def test_small_disk(tmp_path, size):
    result = Machine(commands="lsblk; ls /; iobench dev=vd0 rw=read bs=512 number_ios=1",
                     cmdline="keep_going", disks=[Disk.file(image(tmp_path, b"\xa5" * size))]).run()
    boots(result)
    assert re.search(r"^vd0 ", result.command("lsblk")[1], re.M) or lines(result, "vd0")


@pytest.mark.parametrize("seed", range(4))
def test_garbage_disk(tmp_path, seed):
    result = Machine(commands="ls /", disks=[Disk.file(image(tmp_path, random.Random(seed).randbytes(1 << 20)))]).run()
    boots(result)
    assert result.command("ls")[0] == "0"


def test_garbage_behind_a_good_magic(tmp_path):
    data = b"ECLIPSEFS" + struct.pack("<IQQI", 0x00020000, 4096, 1 << 40, 0xffffffff)
    result = Machine(commands="ls /", disks=[Disk.file(image(tmp_path, data + bytes(1 << 16)))]).run()
    boots(result)
    assert len(lines(result, "warning: .*eclipsefs|error: .*eclipsefs|eclipsefs: .*(?:refused|table)")) >= 1


def acpi_table(signature, body, checksum_error=0, length=None):
    size = 36 + len(body) if length is None else length
    table = bytearray(struct.pack("<4sIBB6s8sI4sI", signature, size, 1, 0, b"UMBRA ", b"BADTABLE", 1, b"TEST", 1) + body)
    table[9] = (-sum(table) + checksum_error) & 0xff
    return bytes(table)


@pytest.mark.parametrize("signature", [b"APIC", b"MCFG", b"HPET", b"FACP"])
@pytest.mark.parametrize("body", [b"", b"\0" * 8 + b"\0\0" * 4, b"\xff" * 64, b"\0\0\xe0\xfe\0\0\0\0" + b"\1\xff" + b"\0" * 4],
                         ids=["empty", "zero-length-entry", "ones", "entry-overruns"])
def test_acpi_table(tmp_path, signature, body):
    """A second table of a kind that we parse, with nonsense inside: QEMU puts it beside its own."""
    path = tmp_path / "table"
    path.write_bytes(acpi_table(signature, body))
    result = Machine(commands="echo alive; iobench name=x dev=vd0 rw=randread bs=4k iodepth=4 number_ios=200",
                     disks=[Disk.null(64 << 20)],
                     qemu_args=["-acpitable", f"file={path}"]).run()
    boots(result)
    assert "alive" in result.command("echo")[1]
