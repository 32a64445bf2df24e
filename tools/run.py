# SPDX-License-Identifier: MIT
"""make run and make debug: boots Umbra in QEMU by the variables of the README.

    run.py run|debug NAME=VALUE …     SMP MEM DISK UEFI MACHINE BOOT ACCEL CMD QEMU_ARGS O

On a terminal: the shell, Ctrl-A X ends QEMU. Without one: a demo that lists devices and files, runs a
verified iobench and stress, and powers off. Exit status 0 when all went well.
"""
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vm import EXIT_FAILED, EXIT_OK, EXIT_PANIC, OVMF, Disk, Machine

KNOWN = ("SMP", "MEM", "DISK", "UEFI", "MACHINE", "BOOT", "ACCEL", "CMD", "QEMU_ARGS", "O")
DEMO = ("lsblk; df; ls /; cat /README.md; "
        "iobench name=demo dev=vd1 rw=randrw bs=4k iodepth=32 number_ios=20000 verify=crc32c; "
        "stress dev=vd1 ios=20000 threads=16 seed=1; lsblk")


def variables(words):
    values = {"SMP": "1", "MEM": "256M", "UEFI": "", "MACHINE": "q35", "ACCEL": "tcg", "O": "build"}
    for word in words:
        name, _, value = word.partition("=")
        if name not in KNOWN:
            sys.exit(f"run.py: unknown variable {name!r}; there are {' '.join(KNOWN)}")
        if value:
            values[name] = value
    if not values["SMP"].isdigit() or not 1 <= int(values["SMP"]) <= 32:
        sys.exit(f"SMP={values['SMP']} is not a number from 1 to 32")
    for name, allowed in (("MACHINE", ("q35", "pc", "microvm")), ("ACCEL", ("tcg", "kvm")),
                          ("BOOT", ("iso", "kernel"))):
        if values.get(name, allowed[0]) not in allowed:
            sys.exit(f"{name}={values[name]} is not one of {', '.join(allowed)}")
    return values


def main_disk(path, build):
    """The disk that the user sees as vd0: given, or made on first use from the tree's own documents."""
    if path:
        if not os.path.exists(path):
            sys.exit(f"DISK={path}: no such file")
        return path
    disk = build / "disk.img"
    if not disk.exists():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name in ("README.md", "LICENSE", "docs", "src"):
                subprocess.run(["cp", "-a", name, root], check=True)
            partial = build / "disk.img.partial"
            subprocess.run([build / "eclipsefs", "import", partial, root], check=True)
            os.truncate(partial, max(64 << 20, partial.stat().st_size))
            partial.rename(disk)
    return disk


def scratch_disk(build):
    """vd1: empty, for benchmarks and stress, so that they do not write over the files of vd0."""
    disk = build / "scratch.img"
    if not disk.exists():
        disk.touch()
        os.truncate(disk, 64 << 20)
    return disk


def machine(values, demo):
    build = Path(values["O"])
    boot = values.get("BOOT") or ("kernel" if values["MACHINE"] == "microvm" else "iso")
    if values["UEFI"] and not os.path.exists(OVMF):
        sys.exit(f"UEFI=1 needs {OVMF} (package ovmf)")
    return Machine(machine=values["MACHINE"], boot=boot, uefi=bool(values["UEFI"]), smp=int(values["SMP"]),
                   memory=values["MEM"], accel=values["ACCEL"], build=build.resolve(), cpu="max,-erms",
                   disks=[Disk.file(main_disk(values.get("DISK"), build)), Disk.file(scratch_disk(build))],
                   commands=values.get("CMD") or (DEMO if demo else ""),
                   qemu_args=shlex.split(values.get("QEMU_ARGS", "")))


def exit_status(status):
    meaning = {EXIT_OK: 0, EXIT_FAILED: 1, EXIT_PANIC: 2}
    if status in (EXIT_FAILED, EXIT_PANIC):
        print("run: a command failed" if status == EXIT_FAILED else "run: the kernel panicked", file=sys.stderr)
    return meaning.get(status, status)


def run(values):
    demo = not sys.stdin.isatty() or not sys.stdout.isatty()
    with tempfile.TemporaryDirectory(prefix="umbra-") as folder:
        args = machine(values, demo).arguments(folder)
        args += ["-serial", "stdio" if demo else "mon:stdio"]
        if not demo:
            print("run: Ctrl-A X ends QEMU, `poweroff` ends Umbra")
        return exit_status(subprocess.run(args, stdin=subprocess.DEVNULL if demo else None).returncode)


def end(*_):
    sys.exit(1)


def debug(values):
    """QEMU stopped at the first instruction, gdb attached over a unix socket, gdbinit loaded.

    QEMU gets a process group of its own: Ctrl-C is gdb's, which interrupts the machine with it, and neither
    QEMU nor this program may end from it."""
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, end)
    signal.signal(signal.SIGTERM, end)
    with tempfile.TemporaryDirectory(prefix="umbra-") as folder:
        args = machine(values, demo=False).arguments(folder)
        gdb_socket, console = f"{folder}/gdb.sock", f"{folder}/console.log"
        args += ["-chardev", f"pty,id=com1,logfile={console}", "-serial", "chardev:com1",
                 "-chardev", f"socket,path={gdb_socket},server=on,wait=off,id=gdb", "-gdb", "chardev:gdb", "-S"]
        print(f"debug: the console is the terminal named below (screen /dev/pts/…), and goes to {console}", flush=True)
        qemu = subprocess.Popen(args, stdin=subprocess.DEVNULL, preexec_fn=os.setpgrp)
        try:
            while not os.path.exists(gdb_socket) and qemu.poll() is None:
                time.sleep(0.01)
            gdb = ["gdb", "-q", "-nx", "-x", "gdbinit", f"{values['O']}/umbra.elf", "-ex", f"target remote {gdb_socket}"]
            return qemu.poll() or subprocess.run(gdb).returncode
        finally:
            qemu.kill()
            qemu.wait()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("run", "debug"):
        sys.exit(__doc__)
    sys.exit({"run": run, "debug": debug}[sys.argv[1]](variables(sys.argv[2:])))
