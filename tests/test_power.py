# SPDX-License-Identifier: MIT
"""Leaving on machines without the debug-exit device: power off and reset by ACPI."""
import pytest
from vm import PROMPT, Machine

MACHINES = [("q35", "kernel", False), ("pc", "kernel", False), ("microvm", "kernel", False),
            ("q35", "iso", False), ("pc", "iso", False), ("q35", "iso", True)]


@pytest.mark.parametrize("machine,boot,uefi", MACHINES)
def test_reboot_and_poweroff(machine, boot, uefi):
    """The machine comes up again after the one and is gone after the other."""
    with Machine(machine=machine, boot=boot, uefi=uefi, smp=2, debug_exit=False,
                 qemu_args=["-action", "reboot=reset"]).start() as vm:
        vm.wait_for(PROMPT, 90)
        typed = len(vm.text)
        vm.type("reboot\r")
        vm.wait_for(PROMPT, 90, typed)
        vm.type("poweroff\r")
        result = vm.finish(60)
    assert result.status == 0 and result.output.count("boot: Umbra") == 2, result.output[-3000:]


@pytest.mark.parametrize("machine", ["q35", "pc", "microvm"])
@pytest.mark.parametrize("command", ["echo done", "panic"])
def test_end_of_run_switches_off(machine, command):
    result = Machine(machine=machine, smp=2, commands=command, debug_exit=False).run(60)
    assert result.status == 0 and ("PANIC" in result.output) == (command == "panic"), result.output[-3000:]
