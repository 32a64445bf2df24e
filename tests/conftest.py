# SPDX-License-Identifier: MIT
"""Shared by all tests: the path to tools/vm.py, images to boot with, and what every boot must show."""
import os
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


@pytest.fixture
def boot():
    """boot(commands, **Machine fields) -> Result of a run that must end well."""
    def run(commands, timeout=120, **fields):
        result = Machine(commands=commands, **fields).run(timeout)
        assert result.status == EXIT_OK, f"status {result.status}\n{result.output[-4000:]}"
        return result
    return run
