# SPDX-License-Identifier: MIT
"""Disks that come and go behind a PCI Express port while they are used: every request ends once and with the right
status, nothing is lost of memory, vectors and address space, and whoever had the disk open gets ENODEV."""
import json
import re
import subprocess
import time

import pytest
from conftest import BUILD, sparse
from vm import OVMF, PROMPT, Disk, Machine

NATIVE = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
PORT = NATIVE + ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1"]
STRESS = "stress dev=vd1 seconds=3600 threads=8 size=8M --json"
VERIFIED = "iobench dev=vd1 rw=randrw iodepth=32 numjobs=2 runtime=3600 warmup=0 --json"
DEFERRED = "iobench dev=vd1 iodepth=1 numjobs=16 runtime=3600 warmup=0 --json"
LOADS = [STRESS, VERIFIED, DEFERRED]


def complaints(vm):
    return re.findall(r"^\[ *\d+\.\d+\] \S+: (?:error|warning): .*$|^PANIC.*$", vm.text, re.M)


class Slot:
    """A machine with one slot, and a disk that is plugged into it."""

    def __init__(self, vm):
        self.vm, self.round = vm, 0
        vm.wait_for(PROMPT)

    def plug(self, name="vd1", **device):
        self.round += 1
        start = len(self.vm.text)
        self.vm.qmp("device_add", driver="virtio-blk-pci", drive="hot", id=f"hot{self.round}", bus="rp0", **device)
        self.vm.wait_for(rf"\] {name}: \d+ sectors[\s\S]* slot 1: on\n", 30, start)

    def unplug(self):
        self.vm.qmp("device_del", id=f"hot{self.round}")
        self.vm.event("DEVICE_DELETED", device=f"hot{self.round}")

    def operations(self):
        """What the plugged device has done."""
        rows = self.vm.qmp("query-blockstats")
        return max(row["stats"]["rd_operations"] + row["stats"]["wr_operations"] for row in rows
                   if f"hot{self.round}/" in row.get("qdev", ""))

    def load(self, command):
        self.vm.command("background " + command)
        deadline = time.monotonic() + 60
        while self.operations() < 500:
            assert time.monotonic() < deadline, self.vm.text[-3000:]
            time.sleep(0.01)

    def wait(self, status="-19 ENODEV"):
        text = self.vm.command("wait", 60)
        assert f"[{status}]" in text, self.vm.text[-3000:]

    def json(self, command):
        return [json.loads(line) for line in self.vm.command(command).splitlines() if line.startswith("{")]

    def disks(self):
        return [row["name"] for row in self.json("lsblk --json")]

    def resources(self):
        """What must come back: bytes of pages, heap and addresses, vectors, functions, threads."""
        memory = self.json("mem --json")[0]
        return {"pages": memory["free_bytes"], "heap": memory["heap_bytes"], "addresses": memory["device_bytes"],
                "allocations": memory["heap_allocations"] - memory["heap_frees"],
                "vectors": [line.split()[:2] + line.split()[3:] for line in self.vm.command("irq").splitlines()[2:]
                            if line[:1] == " " and "virtio" in line or "slot" in line],
                "functions": len(self.vm.command("lspci").splitlines()), "disks": self.disks()}


@pytest.fixture
def slot(image):
    """slot(**Machine fields) -> a context with the machine booted and a disk to plug in."""
    def make(disk=None, cmdline="", **fields):
        disk = disk or {"driver": "raw", "file": {"driver": "file", "filename": str(image(name="hot.img"))}}
        args = fields.pop("qemu_args", PORT) + ["-blockdev", json.dumps({**disk, "node-name": "hot"})]
        fields.setdefault("disks", [Disk.null()])
        fields.setdefault("smp", 2)
        return Machine(cmdline=f"hotplug.delays=0 root=none {cmdline}", qemu_args=args, **fields).start()
    return make


@pytest.mark.parametrize("build, rounds", [("", 100), ("debug", 100)])
def test_rounds_under_load(slot, build, rounds):
    """Each round under another load. After the first three, where caches and stacks are made, nothing grows."""
    with slot(build=BUILD / build) as vm:
        disk, before, gone = Slot(vm), None, 0
        for i in range(rounds):
            disk.plug()
            start = len(vm.text)
            disk.load(LOADS[i % 3])
            disk.unplug()
            disk.wait()
            result = json.loads(re.search(r'{"job":.*}', vm.text[start:]).group())
            if result["job"] == "stress":
                assert result["fault"] == "the device has gone" and result["errors"] == result["wrong"] == 0, result
                gone += result["gone"]
            else:
                assert 0 < result["errors"] <= 256 and result["verify_errors"] == 0, result
            assert "vd1" not in disk.disks()
            if i == 2:
                before = disk.resources()
        after = disk.resources()
        # Pools and stacks keep what they had at their fullest, which may be later; a page a round would be more.
        assert before.pop("pages") - after.pop("pages") < (rounds - 3) * 1024
        assert gone > 0 and after == before
        assert not complaints(vm)


def test_every_load_ends_for_itself(slot):
    """The ways past the queue: polling, the bare ring, held requests."""
    loads = ["iobench dev=vd1 iodepth=8 mode=poll runtime=3600 warmup=0 --json",
             "iobench dev=vd1 rw=read iodepth=32 mode=raw number_ios=1000000000 warmup=0 --json"]
    with slot() as vm:
        disk = Slot(vm)
        for load in loads * 5:
            disk.plug()
            disk.load(load)
            disk.unplug()
            disk.wait()
        disk.plug()
        vm.command("fault vd1 hold count=3")
        disk.load(STRESS)
        assert disk.json("fault vd1 --json")[0]["parked"] == 3
        disk.unplug()
        disk.wait()
        assert disk.disks() == ["ram0", "vd0"]
        assert not complaints(vm)


@pytest.mark.parametrize("build", ["", "debug"])
def test_unplugged_while_it_is_reset(slot, build):
    with slot(build=BUILD / build) as vm:
        disk = Slot(vm)
        for _ in range(10):
            disk.plug()
            disk.load(STRESS + " reset=1")
            vm.command("background repeat 100000 reset vd1")
            disk.unplug()
            disk.wait()
        assert disk.disks() == ["ram0", "vd0"]


def slot_control(vm, value):
    """Writes the port's Slot Control past the kernel, by ports that it does not use with ECAM."""
    port = int(re.search(r"^00:(\w\w)\.0 .*hot plug", vm.command("lspci"), re.M).group(1), 16)
    express = 0x54  # where QEMU's port has its capability
    vm.qmp("human-monitor-command", **{"command-line": f"o/4 0xcf8 {0x80000000 | port << 11 | express + 0x18:#x}"})
    vm.qmp("human-monitor-command", **{"command-line": f"o/2 0xcfc {value:#x}"})


@pytest.mark.parametrize("build", ["", "debug"])
def test_gone_without_notice(slot, build):
    """The power goes under a running disk, as if it was torn out: nobody waits for it."""
    with slot(build=BUILD / build) as vm:
        disk = Slot(vm)
        for load in LOADS * 3:
            disk.plug()
            disk.load(load)
            slot_control(vm, 0x172b)  # power and indicator off; interrupts stay
            disk.wait()
            vm.event("DEVICE_DELETED", device=f"hot{disk.round}")
        assert vm.text.count("its card went without notice") == 9
        assert disk.disks() == ["ram0", "vd0"] and "PANIC" not in vm.text


def test_eject(slot):
    with slot() as vm:
        disk = Slot(vm)
        assert "-19 ENODEV" in vm.command("eject 01:00.0")
        for target in ("01:00.0", re.search(r"^(\S+) .*hot plug, slot off", vm.command("lspci"), re.M).group(1)):
            disk.plug()
            assert "slot on" in vm.command("lspci")
            disk.load(STRESS)
            assert "[-" not in vm.command(f"eject {target}")
            disk.wait()
            vm.event("DEVICE_DELETED", device=f"hot{disk.round}")
            assert "slot off" in vm.command("lspci")
        assert "-19 ENODEV" in vm.command("eject 00:1f.0")


def test_mounted_disk(slot, tmp_path):
    """Its files end with ENODEV, unmounting works, and its name is free only then."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "f").write_bytes(bytes(4 << 20))
    filled = tmp_path / "fs.img"
    subprocess.run([BUILD / "eclipsefs", "import", filled, folder], check=True, capture_output=True)
    spec = {"driver": "raw", "file": {"driver": "file", "filename": str(filled)}}
    with slot(spec, cmdline="root=none") as vm:
        disk = Slot(vm)
        disk.plug()
        before = disk.json("mem --json")[0]
        vm.command("mount vd1 /")
        disk.unplug()
        assert "vd1: removed, but still in use" in vm.text
        assert "-19 ENODEV" in vm.command("sha256 /f")
        assert "vd1 on /" in vm.command("mount")
        disk.plug("vd2")
        assert disk.disks() == ["ram0", "vd0", "vd2"]
        assert "-19 ENODEV" in vm.command("sha256 /f")
        vm.command("umount /")
        assert "unmounted from /" in vm.text
        assert "[-" not in vm.command("mount vd2 /") and "[-" not in vm.command("sha256 /f")
        vm.command("umount /")
        disk.unplug()
        disk.plug()  # vd1 again
        assert disk.json("mem --json")[0]["device_bytes"] == before["device_bytes"]
        assert vm.text.count("are lost") == 0


def test_dirty_blocks_of_a_lost_disk_are_told(slot):
    """mkfs writes through the cache: what it cannot write is forgotten with the device, in one line."""
    with slot() as vm:
        disk = Slot(vm)
        disk.plug()
        vm.command("fault vd1 hold op=write")
        vm.command("background mkfs vd1")
        time.sleep(0.3)
        disk.unplug()
        disk.wait()
        assert re.search(r"bcache: error: vd1: \d+ dirty blocks are lost", vm.text)
        disk.plug()
        vm.command("mkfs vd1")
        assert "[-" not in vm.command("fsck vd1")


def test_disk_that_was_there_at_boot(image):
    """Firmware's addresses are given back, and the next disk gets ours."""
    hot = Disk.file(image(name="hot.img"), {"bus": "rp0"})
    machine = Machine(disks=[Disk.null(), hot], qemu_args=PORT, smp=2, cmdline="hotplug.delays=0 root=none")
    machine.arguments = lambda folder, plain=machine.arguments: ports_first(plain(folder))
    with machine.start() as vm:
        vm.command(f"background {STRESS}")
        vm.qmp("device_del", id="disk1")
        vm.event("DEVICE_DELETED", device="disk1")
        assert "[-19 ENODEV]" in vm.command("wait")
        vm.qmp("device_add", driver="virtio-blk-pci", drive="node1", id="again", bus="rp0")
        vm.wait_for(r"slot 1: a card came\n[\s\S]* vd1: \d+ sectors")
        assert '"errors":0' in vm.command("iobench dev=vd1 number_ios=100 --json")


def ports_first(arguments):
    """QEMU wants a bus before what is on it."""
    at = arguments.index("-global")
    return arguments[:1] + arguments[at:] + arguments[1:at]


@pytest.mark.parametrize("fields", [
    {"boot": "iso"},
    pytest.param({"boot": "iso", "uefi": True}, id="uefi"),
    pytest.param({"cmdline": "virtio.msix=0"}, id="intx"),
    pytest.param({"cmdline": "virtio.packed=1 virtio.indirect=0"}, id="packed"),
    pytest.param({"qemu_args": NATIVE + ["-device", "ioh3420,id=rp0,chassis=1,slot=1"]}, id="ioh3420"),
    pytest.param({"qemu_args": NATIVE + ["-device", "pcie-root-port,id=up,chassis=2,slot=2", "-device",
                                         "x3130-upstream,id=sw,bus=up", "-device",
                                         "xio3130-downstream,id=rp0,bus=sw,chassis=1,slot=1"]}, id="switch"),
])
def test_machines(slot, fields):
    with slot(**fields) as vm:
        disk = Slot(vm)
        for _ in range(3):
            disk.plug(packed=True)
            disk.load(STRESS)
            disk.unplug()
            disk.wait()
        assert disk.disks() == ["ram0", "vd0"]
        assert not complaints(vm)


def test_delays_are_kept(slot):
    """With delays, as by default, the button leaves time to press it again; QEMU cannot, so it only waits."""
    with slot(cmdline="hotplug.delays=1") as vm:
        disk = Slot(vm)
        disk.plug()
        disk.load(STRESS)
        vm.qmp("device_del", id="hot1")
        vm.wait_for(r"slot 1: button: its card goes in 5 s, unless the button is pressed again")
        assert "slot closing" in vm.command("lspci")
        vm.event("DEVICE_DELETED", device="hot1")
        disk.wait()
