# SPDX-License-Identifier: MIT
"""What the kernel says and does at its end: panics provoked by the tests of src/kernel/test/provoke_test.c,
an NMI from outside, and that the runner of the in-kernel tests notices failures."""
import re

import pytest
from conftest import BUILD
from vm import EXIT_FAILED, EXIT_OK, EXIT_PANIC, Machine

BUILDS = {"release": BUILD, "debug": BUILD / "debug"}


def provoke(name, build="release", smp=2):
    return Machine(commands=f"ktest {name}", build=BUILDS[build], smp=smp).run(120)


def report(result):
    """The report of the one panic in the output: it starts a line, and nothing runs behind it."""
    assert result.status == EXIT_PANIC, result.output[-3000:]
    starts = [match.start() for match in re.finditer(r"^PANIC: ", result.output, re.M)]
    assert len(starts) == 1, result.output[-6000:]
    text = result.output[starts[0]:]
    assert "<<<" not in text
    return text


@pytest.mark.parametrize("build", ["release", "debug"])
@pytest.mark.parametrize("name,first_line,frames", [
    ("provoke_assertion", r"src/kernel/test/provoke_test\.c:\d+: .*assertion failed: kept == &kept", ["ktest_run_"]),
    ("provoke_write_to_text", r"page fault: write of protected address 0xffffffff8", ["ktest_run_provoke_write_to_text"]),
    ("provoke_read_of_nothing", r"page fault: read of unmapped address 0x1230 ", ["ktest_run_provoke_read_of_nothing"]),
    ("provoke_execution_of_data", r"page fault: execution of protected address 0xffffffff8",
     ["ktest_run_provoke_execution_of_data"]),
    ("provoke_stack_overflow", r"stack overflow of thread provoke_stack_overf", ["recurse"]),
], ids=["assertion", "write", "read", "execution", "overflow"])
def test_panic_report(build, name, first_line, frames):
    text = report(provoke(name, build))
    assert re.match(r"PANIC: " + first_line, text), text
    for word in ["rip", "rsp", "rax", "cr2", "cr3"]:
        assert re.search(rf"^(.* )?{word} +[0-9a-f]{{8,16}}", text, re.M), word
    assert re.search(r"^CPU \d, thread provoke_.*:$", text, re.M)
    assert len(re.findall(r"^CPU [01], thread .*:$", text, re.M)) == 2
    for frame in frames:
        assert re.search(rf"^  #\d+ +0x[0-9a-f]{{16}} \S*{frame}\S*\+0x[0-9a-f]+$", text, re.M), (frame, text)


@pytest.mark.parametrize("build", ["release", "debug"])
def test_two_cpus_panic_at_once(build):
    text = report(provoke("provoke_two_panics", build))
    assert len(re.findall(r"#0 .* race_to_panic\S*\+|#2 .* race_to_panic\S*\+", text)) == 2, text


@pytest.mark.parametrize("name,first_line", [
    ("provoke_heap_overrun", r"src/kernel/pool\.c:\d+: check_used: assertion failed: .*(USED_WORD|ZONE_BYTE)"),
    ("provoke_heap_double_free", r"src/kernel/pool\.c:\d+: check_used: assertion failed: .*FREE_WORD"),
    ("provoke_shift_by_too_much", r"undefined behaviour: shift by too much.* at src/kernel/test/provoke_test\.c:\d+"),
    ("provoke_stack_smash", r"stack frame overwritten"),
], ids=["overrun", "double-free", "shift", "smash"])
def test_debug_build_notices(name, first_line):
    text = report(provoke(name, "debug"))
    assert re.match(r"PANIC: " + first_line, text), text


def test_panic_ends_with_trace_events():
    result = Machine(commands="trace start; sleep 0.05; panic", smp=2).run(60)
    text = report(result)
    events = re.findall(r"^\[ *(\d+\.\d{9})\] cpu\d +\S+ +a=0x[0-9a-f]+ b=0x[0-9a-f]+$", text, re.M)
    assert events and events == sorted(events, key=float), text


@pytest.mark.parametrize("name,words", [
    ("provoke_failure", [r"provoke_test\.c:\d+: expected ktest_random\(\) == 0", r"1 \+ 1 is 2, 3 is 3"]),
    ("provoke_leak", [r"\d+ bytes of heap leak in each run"]),
], ids=["failure", "leak"])
def test_ktest_notices_failures(name, words):
    result = provoke(name)
    assert result.status == EXIT_FAILED
    status, output = result.command("ktest")
    assert status == "-5 EIO"
    for word in [*words, rf"^FAILED {name}; again: ktest {name} seed=1$", r"^0 passed, 1 failed, 0 skipped$"]:
        assert re.search(word, output, re.M), output


def test_ktest_options():
    result = Machine(commands="ktest sym* seed=9 --json; ktest no_such_test; ktest --list; ktest log* symbols* shuffle "
                     "--repeat=2; ktest symbols_find_functions provoke_fail*", cmdline="keep_going", smp=1).run(120)
    assert result.status == EXIT_FAILED
    assert result.json()[0] == {"passed": 1, "failed": 0, "skipped": 0, "seed": 9}
    assert result.command("ktest no_such_test")[0] == "-2 ENOENT"
    names = result.command("ktest --list")[1].split("\n")
    assert names == sorted(names[:-1]) + [""] and not any("provoke" in name for name in names)
    order = re.findall(r"^ok (\S+)", result.command("ktest log*")[1], re.M)
    assert len(order) == 2 * len(set(order)) and order != sorted(order)
    assert "1 passed, 0 failed" in result.command("ktest symbols_find_functions")[1]


@pytest.mark.parametrize("build", ["release", "debug"])
def test_nmi_from_outside_is_reported_and_survived(build):
    with Machine(build=BUILDS[build], smp=2).start() as vm:
        vm.command("echo ready")
        start = len(vm.text)
        vm.qmp("inject-nmi")
        vm.wait_for(r"^NMI from outside[^$]*?^  #0 ", start=start)
        vm.type("poweroff\r")
        assert vm.finish(60).status in (0, EXIT_OK)
