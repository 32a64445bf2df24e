# SPDX-License-Identifier: MIT
"""The transports of a virtio disk: PCI modern, transitional and legacy, mmio modern and legacy. Each boots with
two disks, runs a verified stress on both at queue sizes 256 and 4, and hears of a new size by its interrupt."""
import re

import pytest
from conftest import BUILD
from vm import EXIT_OK, Disk, Machine

INTERFACES = {"legacy": {"disable-modern": True, "disable-legacy": "off"},
              "transitional": {"disable-modern": False, "disable-legacy": "off"},
              "modern": {"disable-modern": False, "disable-legacy": "on"}}


def disks(image, size=64 << 20, **device):
    return [Disk.file(image(size), {"queue-size": 256, **device}),
            Disk.file(image(size // 2, "b.img"), {"queue-size": 4, **device})]


def drive_both(vm):
    for name, seed in (("vd0", 7), ("vd1", 8)):
        output = vm.command(f"stress dev={name} ios=1500 threads=8 seed={seed}", 120)
        assert "stress: OK" in output and "all descriptors free" in output, output


def resize_both(vm):
    """One disk grows, one shrinks; each is told of its own change by a configuration interrupt."""
    for node, name, size in (("node0", "vd0", 128 << 20), ("node1", "vd1", 16 << 20)):
        vm.qmp("block_resize", **{"node-name": node, "size": size})
        vm.wait_for(rf"{name}: capacity changed from \d+ to {size >> 9} sectors")
        assert re.search(rf"^{name} +{size >> 20} MiB ", vm.command("lsblk"), re.M)
    drive_both(vm)


def where(vm, name):
    """Where lsblk says that the disk is, and features too."""
    text = re.search(rf"^{name} .* (?:none|deadline) +(.*)$", vm.command("lsblk"), re.M).group(1)
    assert f"block device on {text}" in vm.command(f"features {name}")
    return text


@pytest.mark.parametrize("vectors", [0, 2])
@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize("interface", INTERFACES)
def test_pci(image, interface, machine, vectors):
    own = disks(image, vectors=vectors, **INTERFACES[interface])
    with Machine(machine=machine, disks=own, smp=2).start() as vm:
        vm.command("echo")
        kind = "legacy" if interface == "legacy" else "modern"
        address = re.fullmatch(rf"{kind} PCI (00:0[1-9]\.0)", where(vm, "vd0")).group(1)
        assert re.search(rf"^{address} 1af4:.*, driver virtio, {kind} PCI$", vm.command("lspci"), re.M)
        features = vm.command("features vd0")
        assert ("INTx" in features) == (vectors == 0) and ("+VERSION_1" in features) == (kind == "modern")
        assert ", 256 entries" in features and ", 4 entries" in vm.command("features vd1")
        drive_both(vm)
        resize_both(vm)


def test_legacy_pci_under_uefi(boot, image):
    """Other firmware that places the ports."""
    result = boot("lsblk; stress dev=vd0 ios=1500 threads=8 seed=7", boot="iso", uefi=True, smp=2,
                  disks=disks(image, **INTERFACES["legacy"]))
    assert "stress: OK" in result.output and "legacy PCI" in result.command("lsblk")[1]


@pytest.mark.parametrize("acpi", ["on", "off"])
@pytest.mark.parametrize("legacy", [False, True], ids=["modern", "legacy"])
def test_mmio(image, legacy, acpi):
    """With ACPI the disks are found in their slots, without it on the command line that QEMU writes. The first
    disk is vd0 both times."""
    with Machine(machine=f"microvm,acpi={acpi}", mmio_legacy=legacy, disks=disks(image), smp=2).start() as vm:
        vm.command("echo")
        kind = "legacy" if legacy else "modern"
        slot = "0xfeb02e00, GSI 47" if acpi == "on" else "0xfeb00e00, GSI 12"
        assert where(vm, "vd0") == f"{kind} mmio {slot}"
        assert re.search(r"^vd0 +64 MiB .*\nvd1 +32 MiB ", vm.command("lsblk"), re.M)
        assert ("+VERSION_1" in vm.command("features vd0")) != legacy
        drive_both(vm)
        resize_both(vm)


@pytest.mark.parametrize("options", ["ioapic2=off", "acpi=off,auto-kernel-cmdline=off"])
def test_slots_of_other_microvms(boot, image, options):
    result = boot("lsblk; stress dev=vd0 ios=500 threads=4 seed=1", machine=f"microvm,{options}", disks=disks(image))
    assert "stress: OK" in result.output and "mmio 0xfeb00e00" in result.command("lsblk")[1]


def test_named_devices(boot, image):
    """Of two disks the second, by the command line; what is wrong there gets a line each."""
    keys = ("512@0xfeb02c00:46", "512@0xfeb02c00:46", "512@0xfeb02a00:45", "512@0x100000:5", "512@0xfeb02e00")
    result = boot("lsblk; stress dev=vd0 ios=500 threads=4 seed=1", machine="microvm", disks=disks(image),
                  cmdline=" ".join(f"virtio_mmio.device={key}" for key in keys))
    assert re.search(r"^vd0 +32 MiB .* 0xfeb02c00, GSI 46$", result.command("lsblk")[1], re.M)
    assert "vd1" not in result.command("lsblk")[1] and "stress: OK" in result.output
    for complaint in ("'512@0xfeb02c00:46' is there twice", "mmio 0xfeb02a00: an empty slot",
                      "mmio 0x100000: no virtio device there", "'512@0xfeb02e00' is not BYTES@ADDRESS:GSI"):
        assert result.output.count(complaint) == 1, complaint


def test_legacy_ring_has_the_devices_size(boot, image):
    """virtio.queue_size limits what is in flight; the ring stays as the device has it (hazard 31)."""
    result = boot("lsblk; features vd0; stress dev=vd0 ios=1500 threads=8 seed=2", cmdline="virtio.queue_size=16",
                  disks=disks(image, **INTERFACES["legacy"]), smp=2)
    assert re.search(r"^vd0 +64 MiB +512 +16 ", result.command("lsblk")[1], re.M)
    assert ", 256 entries" in result.command("features")[1] and "stress: OK" in result.output


def test_legacy_ring_of_two_is_refused(boot, image):
    """Header, data and status are three buffers without ANY_LAYOUT, which QEMU's legacy disks do not offer."""
    result = boot("lsblk", machine="microvm", mmio_legacy=True, cmdline="virtio.queue_size=2", disks=disks(image))
    assert "vd0" not in result.command("lsblk")[1]
    assert result.output.count("two queue entries are too few without ANY_LAYOUT") == 2


@pytest.mark.parametrize("interface", ["legacy PCI", "legacy mmio", "modern mmio"])
def test_reset_under_load(boot, image, interface):
    """What is in flight over a reset ends once, with the debug build's checks on."""
    pci = {"disks": disks(image, **INTERFACES["legacy"])}
    mmio = {"machine": "microvm", "mmio_legacy": interface == "legacy mmio", "disks": disks(image)}
    result = boot("lsblk; stress dev=vd0 ios=2000 threads=8 seed=5 reset=1; stress dev=vd1 ios=500 threads=8 seed=6 reset=1",
                  build=BUILD / "debug", smp=2, timeout=300, **(pci if interface == "legacy PCI" else mmio))
    assert result.output.count("stress: OK") == 2 and interface in result.command("lsblk")[1]


@pytest.mark.parametrize("build", ["build", "build/debug"])
def test_ktest_on_microvm(boot, image, build):
    result = boot("ktest", machine="microvm", build=BUILD.parent / build, smp=2, disks=disks(image), timeout=300)
    assert re.search(r"\d+ passed, 0 failed", result.output)


@pytest.mark.parametrize("acpi,status", [("on", 0), ("off", EXIT_OK)])
def test_poweroff_of_microvm(image, acpi, status):
    """By ACPI's sleep control register; without ACPI only the debug-exit device is left."""
    with Machine(machine=f"microvm,acpi={acpi}", disks=disks(image)).start() as vm:
        vm.wait_for(r"umbra> ")
        vm.type("poweroff\r")
        assert vm.finish(60).status == status
