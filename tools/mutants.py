#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make mutants: puts known bugs back in, one at a time, and sees their tests fail. docs/hazards.md says what each
bug is; tools/mutants_table.py has the table.

Works on a copy of the tree. For each mutant: the test must pass without it, the mutant must build, and then the
test must fail (or not end in time). The exit status is the number of mutants that survived.

A test's name says how it is run:
    tests/host/NAME_test.c::FUNCTION    the host program of that name
    tests/test_NAME.py::TEST            pytest
    src/…/test/NAME_test.c::TEST        the shell's ktest, in QEMU
    src/…/FILE.c::_Static_assert        the compiler refuses FILE.c
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants_table import MUTANTS
from vm import Disk, Machine

ROOT = Path(__file__).resolve().parent.parent
HAZARDS = ROOT / "docs" / "hazards.md"
HAZARD_NAMES = [*map(str, range(1, 49)), *(f"R{n}" for n in range(1, 8))]
TIMEOUT = 900  # of anything, in seconds; of a test with a mutant: see Tree.limit


# ---- The table fits the tree (make check) ---------------------------------------------------------------------------

def stale(mutant):
    """Why the mutant cannot be applied, or None."""
    path = ROOT / mutant.file
    if not path.is_file():
        return f"no file {mutant.file}"
    count = path.read_text().count(mutant.old)
    return None if count == 1 else f"its text is {count} times in {mutant.file}, not once"


def test_text(path):
    """What a test's file says, with the headers of its own folder: tests may be shared there."""
    text = path.read_text()
    headers = (path.parent / name for name in re.findall(r'^#include "(\w+\.h)"', text, re.M))
    return "\n".join([text, *(header.read_text() for header in headers if header.is_file())])


def missing(test):
    """Why there is no such test, or None."""
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return f"no file {file}"
    if name == "_Static_assert":
        return None  # it is in a header that the file includes
    return None if re.search(rf"\b{re.escape(name.partition('[')[0])}\b", test_text(path)) else f"no {name} in {file}"


def hazard_texts():
    """Number -> what docs/hazards.md says of it."""
    parts = re.split(r"^(?:\* )?(R\d|\d+)\.? ", HAZARDS.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def findings():
    """What is wrong with the table and with docs/hazards.md, one line each."""
    texts = hazard_texts()
    found = [f"docs/hazards.md: no hazard {n}" for n in HAZARD_NAMES if n not in texts]
    for test in sorted(set(re.findall(r"`([\w./]+::\w+)`", HAZARDS.read_text()))):
        if why := missing(test):
            found.append(f"docs/hazards.md: {why}")
    names = [mutant.name for mutant in MUTANTS]
    found += [f"{name}: more than one mutant of this name" for name in sorted(set(names)) if names.count(name) > 1]
    for mutant in MUTANTS:
        if why := stale(mutant) or missing(mutant.test):
            found.append(f"{mutant.name}: {why}")
        elif mutant.test.partition("[")[0] not in texts.get(str(mutant.hazard), ""):
            found.append(f"{mutant.name}: hazard {mutant.hazard} in docs/hazards.md does not name {mutant.test}")
    return found


# ---- Running --------------------------------------------------------------------------------------------------------

class Tree:
    """A copy of the tree, built as far as a test needs it."""

    def __init__(self, folder):
        self.path = Path(folder) / "umbra"
        shutil.copytree(ROOT, self.path, symlinks=True, ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
        self.passed = {}  # (test, …) -> seconds that it took without a mutant; 0: it failed
        self.limit = TIMEOUT

    def call(self, *command):
        """True: status 0. False: another one, or no end; then everything that it started is ended."""
        process = subprocess.Popen(command, cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        try:
            output, _ = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        self.output = output or f"status {process.returncode}"
        return process.returncode == 0

    def make(self, *arguments):
        return self.call("make", "-s", "-j2", *arguments)

    def build(self, mutant):
        """True when what the test needs could be built."""
        file = mutant.test.partition("::")[0]
        if file.startswith("tests/host/"):
            return self.make(f"build/host/{Path(file).stem}")
        return mutant.is_static or self.make(f"BUILD={mutant.build}", "kernel")

    def test(self, mutant):
        """True when the test passes."""
        file, _, name = mutant.test.partition("::")
        if file.startswith("tests/host/"):
            return self.call(f"build/host/{Path(file).stem}")
        if file.startswith("tests/"):
            return self.call(sys.executable, "-m", "pytest", "-q", "-x", mutant.test)
        if mutant.is_static:
            return self.make("build/obj/" + file.removeprefix("src/").removesuffix(".c") + ".o") or \
                "static assertion failed" not in self.output
        result = Machine(build=self.path / "build" / ("" if mutant.build == "release" else mutant.build),
                         commands=f"ktest {name}", smp=mutant.smp, disks=[Disk.null()]).run(self.limit)
        self.output = result.output
        return result.ok

    def seconds_without(self, mutant):
        """How long the test takes without the mutant; 0: it fails."""
        file = mutant.test.partition("::")[0]
        key = file if file.startswith("tests/host/") else (mutant.test, mutant.build, mutant.smp)
        if key not in self.passed:
            is_built, start = self.build(mutant), time.monotonic()
            self.passed[key] = time.monotonic() - start if is_built and self.test(mutant) else 0
        return self.passed[key]

    def passes_with(self, mutant):
        """The test's result; one that takes far longer than without the mutant fails."""
        self.limit = 30 + 20 * self.seconds_without(mutant)
        try:
            return self.test(mutant)
        finally:
            self.limit = TIMEOUT

    def verdict(self, mutant):
        """Why the mutant counts as survivor, or None: it was killed."""
        if not self.seconds_without(mutant):
            return f"{mutant.test} fails without it"
        path = self.path / mutant.file
        text = path.read_text()
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            if not self.build(mutant):
                return "does not build"
            return f"{mutant.test} passes with it" if self.passes_with(mutant) else None
        finally:
            path.write_text(text)


def run(mutants, is_verbose):
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="umbra-mutants-") as folder:
        tree = Tree(folder)
        for mutant in mutants:
            why = tree.verdict(mutant)
            survivors += why is not None
            print(f"{'SURVIVED' if why else 'killed  '} {mutant.hazard:>2} {mutant.name}" + (f": {why}" if why else ""), flush=True)
            if is_verbose or (why and "passes with it" not in why):
                print("\n".join("    " + line for line in tree.output.splitlines()[-12:]), flush=True)
    print(f"{len(mutants) - survivors} killed, {survivors} survived")
    return survivors


def fits(mutant, word):
    return str(mutant.hazard) == word if re.fullmatch(r"R?\d+", word) else word in mutant.name


def select(words):
    """The mutants of these hazards (numbers) or with these words in their names; all without words."""
    chosen = [m for m in MUTANTS if not words or any(fits(m, word) for word in words)]
    if not chosen:
        sys.exit(f"mutants: none of {' '.join(words)}; --list shows all")
    return chosen


def main():
    parser = argparse.ArgumentParser(description="Put known bugs back in and see their tests fail.")
    parser.add_argument("which", nargs="*", help="hazard numbers, or parts of names; default: all")
    parser.add_argument("-l", "--list", action="store_true", help="only list them")
    parser.add_argument("-v", "--verbose", action="store_true", help="show how each test failed")
    arguments = parser.parse_args()
    chosen = select(arguments.which)
    if arguments.list:
        for m in chosen:
            print(f"{m.hazard:>2} {m.name:34} {m.file}  {m.test}")
        return 0
    if found := [f"{m.name}: {why}" for m in chosen if (why := stale(m) or missing(m.test))]:
        sys.exit("mutants: the table is stale:\n" + "\n".join("  " + line for line in found))
    return min(run(chosen, arguments.verbose), 255)


if __name__ == "__main__":
    sys.exit(main())
