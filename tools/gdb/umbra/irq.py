# SPDX-License-Identifier: MIT
"""umbra irq: the device interrupts that have handlers."""
from .kernel import Command, NotBooted, cpus, enum_name, list_entries, symbol_of, text, variable


class Irq(Command):
    """List the interrupt vectors with CPU, count, kind, name and handler, and each CPU's total.

    umbra irq"""

    name = "irq"

    def run(self):
        irqs = list(list_entries(variable("all_irqs", "src/kernel/irq.c"), "struct irq", "all_node"))
        if not irqs:
            raise NotBooted("no interrupt has a handler")
        print("VECTOR CPU      COUNT KIND        NAME                    HANDLER")
        for irq in irqs:
            print(f"{int(irq['vector']):6} {int(irq['cpu']):3} {int(irq['count']):10} "
                  f"{enum_name('enum irq_kind', irq['kind'], 'IRQ_').replace('_', ' '):11} {text(irq['name']):23} "
                  f"{symbol_of(irq['handler'])}")
        spurious = variable("spurious_counts", "src/kernel/irq.c")
        for cpu in cpus():
            print(f"CPU {int(cpu['id'])}: {int(cpu['interrupts'])} interrupts, "
                  f"{int(spurious[int(cpu['id'])])} of them that nobody claimed")


COMMANDS = (Irq,)
