# SPDX-License-Identifier: MIT
"""make check: what a reviewer should not have to look for. Each check prints its findings; the exit status is
the number of checks that failed. Names of checks as arguments run only those.

    layering   who may include whom (docs/architecture.md)
    cycles     no cycle among headers
    format     clang-format, SPDX line, a head comment in every .c
    analysis   cppcheck and clang's analyzer, over the kernel and the host tools
    spelling   codespell
    mutants    the bugs of tools/mutants_table.py and the tests that docs/hazards.md names still exist
    sizes      the figures of functions, files and comments; fails beyond the hard limits
"""
import os
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mutants

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
FILE_LINES_MAX = 650
FUNCTION_LINES_MAX = 110

# layer (longest matching folder wins) -> prefixes of what it may include
LAYERS = {
    "arch": ("arch/", "kernel/base/", "kernel/entry.h"),
    "kernel": ("kernel/", "arch/"),
    "kernel/base": ("kernel/base/",),
    "drivers": ("drivers/", "kernel/", "arch/"),
    "drivers/block": ("drivers/block/", "drivers/describe.h", "kernel/", "arch/"),
    "drivers/pci": ("drivers/pci/", "drivers/driver.h", "kernel/", "arch/"),
    "fs": ("fs/", "kernel/", "drivers/block/block.h"),
}
COMPILER = {"stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "stdatomic.h", "limits.h"}
HOST_ONLY = {"string.h", "stdio.h", "errno.h"}  # in the #ifndef __KERNEL__ part of three headers
VIRTIO_DRIVERS = [f"drivers/virtio/virtio_{name}" for name in ("blk", "rng", "console")]
BOOT_TABLE = "kernel/main.c"  # the one file that knows every subsystem


def sources(*patterns):
    return sorted(p for pattern in patterns for p in SRC.rglob(pattern))


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line):
            yield number, match.group(1), match.group(2)


def layer_of(name):
    folders = [layer for layer in LAYERS if name.startswith(layer + "/")]
    return max(folders, key=len) if folders else None


def include_finding(path, kind, target):
    name = path.relative_to(SRC).as_posix()
    if kind == '"':
        if not target.endswith("_internal.h") or "/" in target:
            return "a quoted include is for a *_internal.h of its own folder"
        return None if (path.parent / target).exists() else "no such file in its own folder"
    if target in COMPILER or (target in HOST_ONLY and path.suffix == ".h"):
        return None
    if "/test/" in target:
        return "nothing includes from a test folder"
    if name == BOOT_TABLE:
        return None
    allowed = LAYERS[layer_of(name)]
    if "/test/" in name:
        allowed += ("kernel/",)
    if not target.startswith(allowed):
        return f"{layer_of(name)} may include {', '.join(allowed)} only"
    for driver in VIRTIO_DRIVERS:
        if target.startswith(driver) and not name.startswith(driver):
            return "the virtio core does not know device drivers"
    return None


def check_layering():
    found = []
    for path in sources("*.c", "*.h", "*.S"):
        for number, kind, target in includes(path):
            if finding := include_finding(path, kind, target):
                found.append(f"{path.relative_to(ROOT)}:{number}: {target}: {finding}")
    return found


def check_cycles():
    graph = {p.relative_to(SRC).as_posix(): [t for _, k, t in includes(p) if k == "<"] for p in sources("*.h")}
    done, found = set(), []

    def visit(name, path):
        if name in path:
            found.append("include cycle: " + " -> ".join(path[path.index(name):] + [name]))
        elif name in graph and name not in done:
            for target in graph[name]:
                visit(target, path + [name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def check_format():
    files = sources("*.c", "*.h") + sorted((ROOT / "tools").rglob("*.[ch]")) + sorted((ROOT / "tests").rglob("*.[ch]"))
    found = []
    for path in files:
        text = path.read_text()
        if not text.startswith("/* SPDX-License-Identifier: MIT */\n"):
            found.append(f"{path.relative_to(ROOT)}:1: no SPDX line")
        elif path.suffix == ".c" and not text.split("\n", 2)[1].startswith("/*"):
            found.append(f"{path.relative_to(ROOT)}:2: no head comment")
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True, text=True)
    unformatted = {line.split(":")[0] for line in run.stderr.splitlines() if "error:" in line}
    return found + [f"{path}: clang-format -i" for path in sorted(unformatted)]


def make_flags(target):
    """What the Makefile compiles with, for clang."""
    text = subprocess.run(["make", "-s", "CC=clang", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return text.split()


def cppcheck_command(flags, files):
    """One process for all: in its own -j, cppcheck 2.10 loses the symbols that tools/cppcheck.xml names."""
    defines = [flag for flag in flags if flag[:2] in ("-D", "-I")]
    return ["cppcheck", "-q", "--std=c11", "--enable=warning,portability", "--inline-suppr", *defines,
            "-D__BYTE_ORDER__=1234", "-D__ORDER_LITTLE_ENDIAN__=1234", "--suppress-xml=tools/cppcheck.xml",
            "--template={file}:{line}: {severity}: {message} [{id}]", *files]


def clang_command(flags, file):
    return ["clang", *flags, "--analyze", "-Xclang", "-analyzer-output=text", "-Wno-error", file]


def findings_of(command):
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = [line for line in run.stderr.splitlines() if re.search(r": (warning|portability|(fatal )?error): ", line)]
    return found or ([f"{command[0]} failed: {run.stderr.strip()}"] if run.returncode else [])


def check_analysis():
    kernel = [str(p.relative_to(ROOT)) for p in sources("*.c")]
    tools = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "tools").rglob("*.c"))]
    commands = []
    for target, files in (("print-kernel-flags", kernel), ("print-host-flags", tools)):
        flags = make_flags(target)
        commands += [cppcheck_command(flags, files)] + [clang_command(flags, file) for file in files]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [line for lines in pool.map(findings_of, commands) for line in lines]
    return list(dict.fromkeys(found))  # a header's only once


def check_spelling():
    run = subprocess.run(["codespell", "-L", "ist,nd,alph", "--skip=*/build/*,*/__pycache__/*", "src", "tools", "tests", "docs",
                          "README.md", "Makefile"], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.splitlines()


def check_mutants():
    return mutants.findings()


def functions():
    """(lines, name, file) of every function, by ctags."""
    tags = subprocess.run(["ctags", "-R", "--languages=C", "--c-kinds=f", "--fields=+ne", "-f", "-", str(SRC)],
                          capture_output=True, text=True).stdout
    for line in tags.splitlines():
        if match := re.search(r"^(\S+)\t(\S+)\t.*\tline:(\d+)\t.*end:(\d+)", line):
            yield int(match.group(4)) - int(match.group(3)) + 1, match.group(1), match.group(2)


def check_sizes():
    found = []
    files = [p for p in sources("*.c", "*.h", "*.S")]
    lines = {p: len(p.read_text().splitlines()) for p in files}
    own = sorted(functions())
    sizes = [size for size, _, _ in own]
    text = "\n".join(p.read_text() for p in files)
    code = [line for line in text.splitlines() if line.strip()]
    comments = sum(c.count("\n") + 1 for c in re.findall(r"/\*.*?\*/|//[^\n]*", text, re.S))
    asserts = len(re.findall(r"\b(?:debug_|static_|_Static_)?assert(?:_\w+)?\(", text))
    counted = sorted(lines.values())
    print(f"  {len(files)} files, {sum(counted)} lines: median {statistics.median(counted):.0f}, "
          f"p95 {counted[len(counted) * 95 // 100]}, longest {counted[-1]}")
    print(f"  {len(sizes)} functions: median {statistics.median(sizes):.0f}, p95 {sizes[len(sizes) * 95 // 100]}, "
          f"longest {sizes[-1]} lines ({own[-1][1]})")
    print(f"  comments {100 * comments // len(code)} % of the non-blank lines; {100 * asserts // len(sizes)} assertions a "
          f"100 functions")
    found += [f"{p.relative_to(ROOT)}: {n} lines, more than {FILE_LINES_MAX}" for p, n in lines.items() if n > FILE_LINES_MAX]
    found += [f"{Path(f).relative_to(ROOT)}: {name} has {n} lines, more than {FUNCTION_LINES_MAX}" for n, name, f in own
              if n > FUNCTION_LINES_MAX]
    return found


CHECKS = {"layering": check_layering, "cycles": check_cycles, "format": check_format, "analysis": check_analysis,
          "spelling": check_spelling, "mutants": check_mutants, "sizes": check_sizes}


def main(names):
    if unknown := set(names) - set(CHECKS):
        sys.exit(f"check: no check named {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    failed = 0
    for name in names or CHECKS:
        found = CHECKS[name]()
        failed += bool(found)
        print(f"{name}: {'ok' if not found else f'{len(found)} findings'}")
        for line in found:
            print("  " + line)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
