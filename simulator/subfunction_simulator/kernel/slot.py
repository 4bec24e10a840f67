"""Cards in their slots: the functions that the PCI bus finds, and that go with the card."""

from functools import partial

from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.manners import manners_of
from subfunction_simulator.kernel.pci import NETWORK, PciFunction
from subfunction_simulator.kernel.topology import Parent
from subfunction_simulator.kernel.work import Work, one_after_another


def plug(machine: Machine, parent: Parent) -> None:
    """Find a physical function, and the virtual ones that the boot scripts make on it."""
    manners = manners_of(parent.driver)
    group = _found(machine, PciFunction(parent, manners.driver), None)
    if parent.virtual_functions:
        count: dict[str, str | int] = {"sriov_numvfs": parent.virtual_functions}
        machine.tree.directory(parent.path, {**count, "sriov_totalvfs": parent.virtual_functions})
    for index in range(parent.virtual_functions):
        if index % parent.functions_per_group == 0:
            group = None
        virtual = PciFunction(parent, manners.virtual_driver, index)
        machine.tree.link(f"{virtual.path}/physfn", parent.path)
        machine.tree.link(f"{parent.path}/virtfn{index}", virtual.path)
        group = _found(machine, virtual, group)


def _found(machine: Machine, function: PciFunction, group: int | None) -> int | None:
    manners = manners_of(function.parent.driver)
    shown: dict[str, str | int] = {
        "vendor": manners.vendor,
        "device": manners.device,
        "class": NETWORK,
        "numa_node": function.parent.numa_node,
    }
    if machine.topology.iommu:
        machine.tree.directory(function.path)
        group = machine.iommu.join(function.path, group)
    machine.pci.add(function, shown, f"PCI_SLOT_NAME={function.name}")
    return group


def unplug(machine: Machine, parent: Parent) -> Work:
    """Take a card's function out, its virtual ones first."""
    mine = [function for function in machine.pci if function.parent is parent]
    return one_after_another(partial(_lost, machine, function) for function in reversed(mine))


def _lost(machine: Machine, function: PciFunction) -> Work:
    def forget() -> None:
        if function.index is not None:
            machine.tree.unlink(f"{function.parent.path}/virtfn{function.index}")
        group = machine.iommu.group_of(function.path)
        if group is not None:
            machine.iommu.leave(function.path, group)

    work = machine.pci.unbind(function)
    work.then(forget)
    return work.after(partial(machine.pci.remove, function))
