# SPDX-License-Identifier: MIT
"""What a device, a disk image, a boot loader or a user sends wrongly gets one clear line and no panic."""
import random
import re
import struct

import pytest
from test_gdb import gdb, start
from vm import EXIT_FAILED, EXIT_OK, Disk, Machine


def lines(result, pattern):
    return re.findall(r"^\[ *\d+\.\d+\] .*(?:" + pattern + r").*$", result.output, re.M)


def boots(result):
    assert result.status in (EXIT_OK, EXIT_FAILED), f"{result.status}\n{result.output[-3000:]}"
    assert "PANIC" not in result.output


@pytest.mark.parametrize("text,word", [
    ("nonsense=1", "nonsense"), ("smp=many", "many"), ("virtio.queue_size=3", "3 entries"),
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


# ---- Boot data that is damaged in guest memory, by gdb, before the kernel looks at it

GUEST_MEMORY = """python
import struct
def read(at, count): return gdb.selected_inferior().read_memory(0xffff800000000000 + at, count).tobytes()
def write(at, data): gdb.selected_inferior().write_memory(0xffff800000000000 + at, data)
def read32(at): return struct.unpack("<I", read(at, 4))[0]
def write32(at, value): write(at, struct.pack("<I", value))
"""


def boot_damaged(tmp_path, function, damage, use="iobench dev=vd0 rw=randread bs=4k iodepth=4 number_ios=200", **fields):
    """Boots up to the first instruction of `function`, runs `damage` (Python) in gdb there, and goes on to the end."""
    with start(tmp_path, stopped=True, commands=f"echo alive; {use}", disks=[Disk.null(64 << 20)], **fields) as vm:
        output = gdb(vm, f"break *{function}", "continue", GUEST_MEMORY + damage, "delete", "detach")
        assert "Breakpoint 1, " in output.all, output.all
        result = vm.finish()
    assert result.status == EXIT_OK and "alive" in result.command("echo")[1], result.output[-4000:]
    return result


# multiboot2_parse's first argument is the information area: {size, reserved}, then tags {type, size}, 8-byte aligned.
TAG = """
area = int(gdb.parse_and_eval("$rdi")) - 0xffff800000000000 & (1 << 64) - 1
tags, at = {}, area + 8
while not tags.get(0):
    tags[read32(at)] = at
    at += read32(at + 4) + 7 & ~7
"""


@pytest.mark.parametrize("damage,words", [
    ("write32(tags[8] + 4, 0x7fffffff)", "tag at byte .* overruns the data"),
    ("write32(tags[8] + 4, 7)", "tag at byte .* has an impossible size"),
    ("write32(tags[0], 99); write32(tags[0] + 4, 9)", "tag at byte .* overruns the data"),
    ("write32(tags[6] + 8, 23)", "memory map with entries of 23 bytes"),
    ("write32(area, 0xffffffff)", "boot information with an impossible size"),
], ids=["overrun", "underrun", "no-end", "memory-map", "total"])
def test_multiboot2_information(tmp_path, damage, words):
    """One line, and the rest of the boot: ACPI is found by a search, RAM that nobody described is guessed."""
    result = boot_damaged(tmp_path, "multiboot2_parse", TAG + damage, boot="iso")
    assert len(lines(result, "Multiboot2: ")) == 1 and lines(result, f"boot: warning: Multiboot2: {words}"), result.output[-4000:]


# The root table of the RSDP that PVH names, and the tables that it lists, by signature.
ACPI = """
rsdp = int(gdb.parse_and_eval("boot_info.rsdp"))
is_xsdt = read(rsdp + 15, 1) >= b"\\2" and read(rsdp + 24, 8) != bytes(8)
root, width = (read32(rsdp + 24), 8) if is_xsdt else (read32(rsdp + 16), 4)
tables = {b"ROOT": root}
for entry in range(root + 36, root + read32(root + 4), width):
    tables[read(read32(entry), 4)] = read32(entry)
"""


@pytest.mark.parametrize("table", ["ROOT", "APIC", "MCFG", "HPET", "FACP"])
@pytest.mark.parametrize("damage,words", [
    ("write(table + 9, bytes([read(table + 9, 1)[0] ^ 1]))", "wrong checksum"), ("write32(table + 4, 0xfffffff0)", "too long"),
    ("write32(table + 4, 35)", "shorter than a header")], ids=["checksum", "long", "short"])
def test_acpi_table_damaged(tmp_path, table, damage, words):
    """One line, and the boot goes on with what the other tables say, or with what every PC has."""
    result = boot_damaged(tmp_path, "kmain", f"{ACPI}\ntable = tables[b'{table}']\n{damage}", smp=2)
    found = lines(result, "acpi: warning")
    name = table if table != "ROOT" else "RSDT"
    assert len(found) == 1 and re.search(rf"table {name} at 0x\w+: {words}", found[0]), found


def test_acpi_xsdt_damaged(tmp_path):
    """Only microvm's firmware makes one. Its disks stand in the DSDT alone, so none is found."""
    result = boot_damaged(tmp_path, "kmain", f"{ACPI}\nassert is_xsdt\nwrite32(root + 4, 0xfffffff0)", use="lsblk",
                          machine="microvm", smp=2)
    found = lines(result, "acpi: warning")
    assert len(found) == 1 and re.search(r"table XSDT at 0x\w+: too long", found[0]), found
    assert "ram0" in result.command("lsblk")[1] and "vd0" not in result.command("lsblk")[1]
