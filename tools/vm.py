# SPDX-License-Identifier: MIT
"""QEMU for Umbra: one place that turns "this machine, this disk, this command" into a command line.

tools/run.py (make run, make debug), tools/bench.py and the tests build a Machine, then either run it to its
end (`Machine.run`) or keep it and talk to it over its console and QMP (`Machine.start`). Every process is a
child that is ended by its own handle; sockets are unix sockets in the machine's temporary folder.
"""
import codecs
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OVMF = "/usr/share/ovmf/OVMF.fd"
EXIT_OK, EXIT_FAILED, EXIT_PANIC = 33, 35, 37  # QEMU's status for the kernel's 0x10, 0x11, 0x12
PROMPT = "umbra> "


@dataclass
class Disk:
    """One virtio-blk disk: `spec` is a -blockdev object (a dict), `device` its extra -device properties."""

    spec: dict
    device: dict = field(default_factory=dict)

    @staticmethod
    def file(path, device=None, read_only=False, **more):
        spec = {"driver": "raw", "read-only": read_only,
                "file": {"driver": "file", "filename": str(path), "read-only": read_only, **more}}
        return Disk(spec, device or {})

    @staticmethod
    def null(size=1 << 30, latency_ns=0, device=None):
        spec = {"driver": "null-co", "size": size, "read-zeroes": True}
        if latency_ns:
            spec["latency-ns"] = latency_ns
        return Disk(spec, device or {})


@dataclass
class Machine:
    """A machine to boot. `commands` become run="…" (the kernel then leaves); `cmdline` is added as it is."""

    machine: str = "q35"  # with its options: "microvm,acpi=off"
    boot: str = "kernel"  # or "iso"
    uefi: bool = False
    smp: int = 1
    maxcpus: int = 0  # 0: at least 2 (with one possible CPU, TCG drops guest barriers)
    memory: str = "256M"
    cpu: str = "max,-erms"
    accel: str = "tcg"
    build: Path = ROOT / "build"
    disks: list = field(default_factory=list)
    commands: str = ""
    cmdline: str = ""
    qemu_args: list = field(default_factory=list)
    interactive: bool = False
    debug_exit: bool = True  # the device that makes an exit status of how a run ended
    mmio_legacy: bool = False  # on a microvm: QEMU's default, but not ours

    @property
    def is_microvm(self):
        return self.machine.split(",")[0] == "microvm"

    def arguments(self, folder):
        accel = "tcg,thread=multi" if self.accel == "tcg" else self.accel
        machine = self.machine + (",isa-serial=on" if self.is_microvm else "")
        a = ["qemu-system-x86_64", "-M", machine, "-accel", accel,
             "-cpu", "host" if self.accel == "kvm" else self.cpu,
             "-smp", f"{self.smp},maxcpus={self.maxcpus or max(2, self.smp)}", "-m", self.memory,
             "-nodefaults", "-no-reboot", "-display", "none"]
        if self.debug_exit:
            a += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        if self.is_microvm:
            a += ["-global", f"virtio-mmio.force-legacy={'on' if self.mmio_legacy else 'off'}"]
        else:
            a += ["-vga", "std"]
        text = self.cmdline + (f' run="{self.commands}"' if self.commands else "")
        if self.boot == "iso":
            a += ["-cdrom", str(self.build / "umbra.iso")]
            if self.uefi:
                a += ["-bios", OVMF]
        else:
            a += ["-kernel", str(self.build / "umbra.elf")]
        if text.strip():
            path = Path(folder) / "cmdline"
            path.write_text(text)
            a += ["-fw_cfg", f"name=opt/umbra/cmdline,file={path}"]
        for i, disk in enumerate(self.disks):
            bus = "virtio-blk-device" if self.is_microvm else "virtio-blk-pci"
            device = {"driver": bus, "id": f"disk{i}", "drive": f"node{i}", **disk.device}
            if not self.is_microvm:
                device.setdefault("num-queues", 1)
            a += ["-blockdev", json.dumps({**disk.spec, "node-name": f"node{i}"}), "-device", json.dumps(device)]
        return a + list(self.qemu_args)

    def run(self, timeout=120):
        """Runs to the end; returns a Result. A timeout ends QEMU and is a Result with status None."""
        with self.start() as vm:
            return vm.finish(timeout)

    def start(self):
        return Vm(self)


@dataclass
class Result:
    status: int  # QEMU's exit status, None after a timeout
    output: str

    @property
    def ok(self):
        return self.status == EXIT_OK

    def json(self):
        """The --json objects that the run printed, in order."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def command(self, text):
        """(status text, output) of the first command of run= that begins with `text`."""
        match = re.search(r"^>>> (" + re.escape(text) + r"[^\n]*)\n(.*?)^<<< ([^\n]*)$", self.output, re.S | re.M)
        if not match:
            raise AssertionError(f"no command {text!r} in:\n{self.output[-3000:]}")
        return match.group(3), match.group(2)


class Vm:
    """A running QEMU. Use as a context manager: the end of the block ends QEMU."""

    def __init__(self, machine):
        self.folder = tempfile.mkdtemp(prefix="umbra-")
        self.qmp_path = os.path.join(self.folder, "qmp.sock")
        args = machine.arguments(self.folder)
        args += ["-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1",
                 "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        self.args = args
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.text = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._qmp = None
        self._events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while chunk := self.process.stdout.read1(65536):
            with self._changed:
                self.text += decoder.decode(chunk).replace("\r", "")
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(timeout=10)

    def finish(self, timeout=120):
        try:
            self.process.wait(timeout)
            status = self.process.returncode
        except subprocess.TimeoutExpired:
            status = None
            self.kill()
        self._reader.join(timeout=10)
        return Result(status, self.text)

    def wait_for(self, pattern, timeout=60, start=0):
        """Waits until `pattern` (a regular expression) is in the output from `start` on; returns the match."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                if match := re.compile(pattern, re.M).search(self.text, start):
                    return match
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no {pattern!r} within {timeout} s in:\n{self.text[-3000:]}")
                self._changed.wait(min(left, 0.5))

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def command(self, line, timeout=60):
        """Types one line at the prompt; returns what it printed, up to the next prompt."""
        self.wait_for(re.escape(PROMPT), timeout)
        start = len(self.text)
        self.type(line + "\r")
        match = self.wait_for(r"\n" + re.escape(PROMPT), timeout, start)
        return self.text[start:match.start() + 1]

    def qmp(self, command, **arguments):
        """One QMP command; its return value. Events that come meanwhile are kept for `event`."""
        if self._qmp is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(30)
            connection.connect(self.qmp_path)
            self._qmp = connection.makefile("rw")
            self._qmp.readline()
            self._exchange("qmp_capabilities", {})
        return self._exchange(command, arguments)

    def _exchange(self, command, arguments):
        self._qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._qmp.flush()
        while reply := self._receive():
            if "error" in reply:
                raise RuntimeError(f"{command}: {reply['error']}")
            if "return" in reply:
                return reply["return"]
        raise RuntimeError(f"{command}: QEMU closed the connection")

    def _receive(self):
        """The next message, or None at the end; an event is kept, and told by its name."""
        line = self._qmp.readline()
        message = json.loads(line) if line else None
        if message and "event" in message:
            self._events.append(message)
            return {"event": message["event"]}
        return message

    def event(self, name, **data):
        """Waits for the QMP event of this name with these data; earlier ones count. Each is given out once."""
        def matches(event):
            return event["event"] == name and all(event["data"].get(key) == value for key, value in data.items())
        while not any(map(matches, self._events)):
            if not self._receive():
                raise RuntimeError(f"{name}: QEMU closed the connection")
        found = next(filter(matches, self._events))
        self._events.remove(found)
        return found["data"]
