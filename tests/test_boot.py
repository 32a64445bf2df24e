# SPDX-License-Identifier: MIT
"""Whole boots over the matrix of the README: firmware, machine, CPUs, memory, queue sizes, vectors, features,
disks. Each runs a verified stress on its disk and must end with every descriptor free."""
import re

import pytest
from conftest import BUILD
from vm import Disk, Machine

STRESS = "stress dev=vd0 ios=1500 threads=8 seed=7"


def stress_ok(result):
    status, output = result.command("stress")
    assert status == "0" and "stress: OK" in output, output


@pytest.mark.parametrize("machine,boot_from,uefi", [
    ("q35", "kernel", False), ("pc", "kernel", False),
    ("q35", "iso", False), ("pc", "iso", False), ("q35", "iso", True), ("pc", "iso", True)])
def test_firmware(boot, image, machine, boot_from, uefi):
    result = boot(f"lsblk; {STRESS}", machine=machine, boot=boot_from, uefi=uefi, disks=[Disk.file(image())], smp=2)
    stress_ok(result)
    assert re.search(r"^\[ +\d+\.\d{6}\] \S+: ", result.output, re.M)


@pytest.mark.parametrize("smp", [1, 2, 4, 8])
def test_cpus(boot, image, smp):
    result = boot(STRESS, smp=smp, disks=[Disk.file(image())])
    stress_ok(result)
    assert f"{smp} CPU" in result.output


def test_smp_key_limits_cpus(boot):
    assert "smp: 2 CPUs" in boot("ps", smp=4, cmdline="smp=2").output


@pytest.mark.parametrize("memory", ["64M", "1G", "4G", "6G"])
def test_memory(boot, image, memory):
    stress_ok(boot(f"mem; {STRESS}", memory=memory, disks=[Disk.file(image())]))


@pytest.mark.parametrize("size", [4, 8, 64, 256, 1024])
@pytest.mark.parametrize("indirect", [0, 1])
def test_queue_size(boot, image, size, indirect):
    result = boot(STRESS, cmdline=f"virtio.queue_size={size} virtio.indirect={indirect}",
                  disks=[Disk.file(image(), {"queue-size": size})], smp=2)
    stress_ok(result)
    assert f"{size} entries" in result.output


@pytest.mark.parametrize("indirect", [0, 1])
def test_queue_size_2(boot, image, indirect):
    """QEMU offers no queue of 2; the command line takes only 2 of its entries."""
    stress_ok(boot(STRESS, cmdline=f"virtio.queue_size=2 virtio.indirect={indirect}", disks=[Disk.file(image())]))


@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize("vectors", [0, 1, 2])
def test_vectors(boot, image, machine, vectors):
    """Two disks, so that with vectors=0 two devices share lines (hazard 7)."""
    result = boot(f"{STRESS}; stress dev=vd1 ios=500 threads=4 seed=8; irq", machine=machine,
                  disks=[Disk.file(image(), {"vectors": vectors}), Disk.file(image(name="b.img"), {"vectors": vectors})])
    stress_ok(result)
    assert result.command("stress dev=vd1")[0] == "0"


def test_msix_off_by_command_line(boot, image):
    stress_ok(boot(STRESS, cmdline="virtio.msix=0", disks=[Disk.file(image())]))


@pytest.mark.parametrize("event_idx", [0, 1])
@pytest.mark.parametrize("indirect", [0, 1])
@pytest.mark.parametrize("by", ["device", "cmdline"])
def test_features(boot, image, event_idx, indirect, by):
    """Each feature off by the device's offer and by the command line; the log names what was negotiated."""
    device = {"event_idx": bool(event_idx), "indirect_desc": bool(indirect)} if by == "device" else {}
    cmdline = f"virtio.event_idx={event_idx} virtio.indirect={indirect}" if by == "cmdline" else ""
    result = boot(STRESS, cmdline=cmdline, disks=[Disk.file(image(), device)], smp=2)
    stress_ok(result)
    assert ("+EVENT_IDX" in result.output) == bool(event_idx)
    assert ("+INDIRECT_DESC" in result.output) == bool(indirect)


@pytest.mark.parametrize("device", [{"packed": True}, {"iommu_platform": True, "disable-legacy": "on"}, {"queue_reset": False},
                                    {"page-per-vq": True}, {"modern-pio-notify": True}, {"disable-legacy": "on"}],
                         ids=lambda d: next(iter(d)))
def test_device_options(boot, image, device):
    """What we have is accepted where it is offered, the rest refused, nothing half-accepted (hazards 26, 28)."""
    result = boot(STRESS, disks=[Disk.file(image(), device)])
    stress_ok(result)
    assert ("+RING_PACKED" in result.output) == ("packed" in device)


def test_no_disk(boot):
    result = boot("lsblk; ls /; stress dev=ram0 ios=1500 threads=8 seed=7 force=1")
    stress_ok(result)
    assert "ram0" in result.command("lsblk")[1]
    assert re.search(r"warning: .*ram0", result.output)


def test_two_disks(boot, image):
    result = boot(f"{STRESS}; stress dev=vd1 ios=1500 threads=8 seed=9; lsblk",
                  disks=[Disk.file(image()), Disk.file(image(32 << 20, "b.img"))], smp=2)
    assert result.command("stress dev=vd1")[0] == "0"
    assert re.search(r"vd0 .*\n.*vd1 ", result.command("lsblk")[1])


def test_read_only_disk(image):
    result = Machine(commands="stress dev=vd0 ios=1000 threads=8; iobench name=w dev=vd0 rw=write bs=4k number_ios=10",
                     cmdline="keep_going", disks=[Disk.file(image(), read_only=True)]).run()
    assert result.command("stress")[0] == "0"
    assert "EROFS" in result.command("iobench")[0]


def test_4096_byte_blocks(boot, image):
    device = {"logical_block_size": 4096, "physical_block_size": 4096}
    result = boot(f"lsblk; {STRESS}", disks=[Disk.file(image(), device)], smp=2)
    stress_ok(result)


def test_one_possible_cpu(boot, image):
    """Without maxcpus=2 TCG emits no guest barriers: lost doorbells must be mended (hazard 48)."""
    stress_ok(boot(STRESS, smp=1, maxcpus=1, disks=[Disk.file(image())]))


def test_over_65536_requests(boot):
    """An index that wraps, with EVENT_IDX (hazards 3, 5)."""
    result = boot("iobench name=wrap dev=vd0 rw=randread bs=512 iodepth=64 number_ios=140000 --json", disks=[Disk.null()])
    assert result.json()[0]["ios"] >= 140000


def test_debug_build(boot, image):
    """Lockdep, UBSan, poisoning and the stack protector over the same path."""
    stress_ok(boot(STRESS, build=BUILD / "debug", smp=2, disks=[Disk.file(image())]))


@pytest.mark.parametrize("smp", [1, 2])
@pytest.mark.parametrize("build", ["build", "build/debug"])
def test_ktest(boot, image, build, smp):
    result = boot("ktest", build=BUILD.parent / build, smp=smp, disks=[Disk.file(image())], timeout=300)
    assert re.search(r"\d+ passed, 0 failed", result.output)


def test_microvm(boot):
    result = boot("lsblk; stress dev=ram0 ios=1500 threads=8 seed=7 force=1", machine="microvm", smp=2)
    stress_ok(result)
