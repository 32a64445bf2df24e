# SPDX-License-Identifier: MIT
"""The kernel's own C on the host, under ASan and UBSan: one test a program that `make host-tests` built."""
import subprocess

import pytest
from conftest import BUILD, ROOT

NAMES = sorted(p.name.removesuffix("_test.c") for p in (ROOT / "tests" / "host").glob("*_test.c"))


@pytest.mark.parametrize("name", NAMES)
def test_host(name):
    program = BUILD / "host" / f"{name}_test"
    run = subprocess.run([program], capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
