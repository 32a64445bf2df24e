# SPDX-License-Identifier: MIT
"""Shared by all tests: the path to tools/vm.py, images to boot with, and what every boot must show."""
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
os.chdir(ROOT)

from vm import EXIT_OK, Machine  # noqa: E402

BUILD = ROOT / "build"
FIXTURES = ROOT.parent / "shared" / "fixtures" / "eclipsefs"


def sparse(path, size):
    path.touch()
    os.truncate(path, size)
    return path


@pytest.fixture
def image(tmp_path):
    """image(size) -> a new sparse file of that many bytes."""
    def make(size=64 << 20, name="disk.img"):
        return sparse(tmp_path / name, size)
    return make


def report(result):
    """What to show of a run that went wrong: failed expectations, tests, commands and panics, and the end."""
    telling = re.findall(r"^(?:FAILED |  \S+:\d+: |<<< -|PANIC).*$", result.output, re.M)
    return "\n".join([f"status {result.status}", *telling[:50], "…", result.output[-4000:]])


@pytest.fixture
def boot():
    """boot(commands, **Machine fields) -> Result of a run that must end well."""
    def run(commands, timeout=120, **fields):
        result = Machine(commands=commands, **fields).run(timeout)
        assert result.status == EXIT_OK, report(result)
        return result
    return run
