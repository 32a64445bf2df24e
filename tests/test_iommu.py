# SPDX-License-Identifier: MIT
"""Machines with an IOMMU (VT-d), which the kernel does not use: a disk behind it (ACCESS_PLATFORM) or beside it gets
physical addresses all the same. Interrupt remapping is there, and not used either."""
import socket
import time

import pytest
from vm import EXIT_OK, Disk, Machine

STRESS = "stress dev=vd0 ios=1500 threads=8 seed=21"
IOMMU = "intel-iommu,intremap=on"
COMMAND = 0xfed90018  # the unit's global command register
TRANSLATION, INTERRUPT_REMAPPING = 1 << 31, 1 << 25


def machine(image, device=None, iommu=IOMMU, **fields):
    return Machine(smp=2, disks=[Disk.file(image, {"disable-legacy": "on", **(device or {})})], commands=f"features vd0; {STRESS}",
                   qemu_args=["-device", iommu, *fields.pop("qemu_args", [])], **fields)


@pytest.mark.parametrize("iommu", [IOMMU, "intel-iommu", "intel-iommu,intremap=on,device-iotlb=on"])
@pytest.mark.parametrize("device", [{}, {"iommu_platform": True}, {"iommu_platform": True, "ats": True, "packed": True}],
                         ids=["beside", "behind", "ats"])
def test_not_used(image, device, iommu):
    result = machine(image(), device, iommu).run()
    assert result.status == EXIT_OK and "stress: OK" in result.output, result.output[-3000:]
    assert ("+ACCESS_PLATFORM" in result.output) == ("iommu_platform" in device)
    assert result.output.count("iommu: VT-d at 0xfed90000: not used") == 1 and "firmware left" not in result.output


def test_uefi(image):
    """OVMF leaves the unit alone."""
    result = machine(image(), {"iommu_platform": True}, boot="iso", uefi=True).run()
    assert result.status == EXIT_OK and "iommu: VT-d" in result.output and "firmware left" not in result.output


def connect(vm, path):
    stub = socket.socket(socket.AF_UNIX)
    stub.settimeout(30)
    while stub.connect_ex(str(path)) != 0:
        assert vm.process.poll() is None
        time.sleep(0.01)
    return stub


def write_physical(stub, address, value):
    """By QEMU's gdb stub, which also lets the stopped machine go on."""
    with stub:
        for packet in ("Qqemu.PhyMemMode:1", f"M{address:x},4:{value.to_bytes(4, 'little').hex()}", "D"):
            stub.sendall(f"${packet}#{sum(packet.encode()) % 256:02x}".encode())
            answer = b""
            while b"#" not in answer:
                answer += stub.recv(100)
            assert b"$OK#" in answer, packet


@pytest.mark.parametrize("left, what", [(TRANSLATION, "translation"), (INTERRUPT_REMAPPING, "interrupt remapping")])
def test_left_on(image, tmp_path, left, what):
    """As some firmware might: without tables, so that neither a disk nor an interrupt would work."""
    stub = tmp_path / "gdb.sock"
    arguments = ["-chardev", f"socket,path={stub},server=on,wait=off,id=gdb", "-gdb", "chardev:gdb", "-S"]
    with machine(image(), {"iommu_platform": True}, qemu_args=arguments).start() as vm:
        write_physical(connect(vm, stub), COMMAND, left)
        result = vm.finish(60)
    assert result.status == EXIT_OK and "stress: OK" in result.output, result.output[-3000:]
    assert f"firmware left {what} on: switched off" in result.output
