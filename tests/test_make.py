# SPDX-License-Identifier: MIT
"""What the README tells a newcomer to type."""
import subprocess

import pytest
from conftest import BUILD, ROOT


def make(*arguments, timeout=300):
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL)


def test_help_names_every_target():
    text = make("help").stdout
    for target in ("run", "debug", "test", "stress", "bench", "check", "mutants", "clean"):
        assert f"make {target}" in text


@pytest.mark.xdist_group("build/disk.img")
def test_run_without_a_terminal_is_a_demo():
    run = make("run", "SMP=2")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    for word in ("vd0", "README.md", "stress: OK", " 0 wrong"):
        assert word in run.stdout


@pytest.mark.xdist_group("build/disk.img")
def test_run_refuses_bad_variables():
    for bad in ("SMP=0", "MACHINE=vax", "DISK=/nowhere.img"):
        run = make("run", bad)
        assert run.returncode != 0 and len(run.stderr.strip().splitlines()) <= 3, run.stderr


@pytest.mark.xdist_group("build/disk.img")
def test_run_commands():
    run = make("run", "CMD=echo one; frobnicate", "BOOT=kernel")
    assert run.returncode != 0 and ">>> echo one" in run.stdout


def test_clang_builds_a_kernel_that_boots(tmp_path):
    """The other compiler, the same file. Traced, since then more registers live across the calls that save them."""
    from vm import Machine
    run = make("-j2", "CC=clang", f"O={tmp_path}/clang", "kernel", timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    result = Machine(build=tmp_path / "clang", commands="trace start; ktest", smp=2).run(300)
    assert result.ok, result.output[-3000:]


def test_elf_carries_both_headers():
    """One ELF64 with a Multiboot2 header in its first 32 KiB and a PVH note (type 18, name Xen)."""
    data = (BUILD / "umbra.elf").read_bytes()
    assert (0xe85250d6).to_bytes(4, "little") in data[:32768]
    notes = subprocess.run(["readelf", "-n", BUILD / "umbra.elf"], capture_output=True, text=True).stdout
    assert "Xen" in notes and "0x00000012" in notes


def test_no_writable_and_executable_segment():
    headers = subprocess.run(["readelf", "-lW", BUILD / "umbra.elf"], capture_output=True, text=True).stdout
    loads = [line for line in headers.splitlines() if line.strip().startswith("LOAD")]
    assert loads and not any("RWE" in line for line in loads), headers


def test_no_sse_in_the_kernel():
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", BUILD / "umbra.elf"], capture_output=True, text=True).stdout
    assert "%xmm" not in code and "%st(" not in code
