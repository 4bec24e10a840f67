"""The PCI bus finds a card's functions in its slot, and loses them with the card."""

from functools import partial

from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, one_after_another
from subfunction_simulator.kernel.driver_traits import traits_of
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.pci.function import NETWORK, PciFunction
from subfunction_simulator.kernel.topology import Parent


def plug(hardware: Hardware, parent: Parent) -> None:
    """Find a physical function, and the virtual ones that the boot scripts make on it."""
    traits = traits_of(parent.driver)
    group = _add(hardware, PciFunction(parent, traits.driver), None)
    if parent.virtual_functions:
        count: dict[str, str | int] = {"sriov_numvfs": parent.virtual_functions}
        hardware.tree.directory(parent.path, {**count, "sriov_totalvfs": parent.virtual_functions})
    for index in range(parent.virtual_functions):
        if index % parent.functions_per_group == 0:
            group = None
        virtual = PciFunction(parent, traits.virtual_driver, index)
        hardware.tree.link(f"{virtual.path}/physfn", parent.path)
        hardware.tree.link(f"{parent.path}/virtfn{index}", virtual.path)
        group = _add(hardware, virtual, group)


def _add(hardware: Hardware, function: PciFunction, group: int | None) -> int | None:
    traits = traits_of(function.parent.driver)
    shown: dict[str, str | int] = {
        "vendor": traits.vendor,
        "device": traits.device,
        "class": NETWORK,
        "numa_node": function.parent.numa_node,
    }
    if hardware.topology.iommu:
        hardware.tree.directory(function.path)
        group = hardware.iommu.join(function.path, group)
    hardware.pci.add(function, shown, f"PCI_SLOT_NAME={function.name}")
    return group


def unplug(hardware: Hardware, parent: Parent) -> PendingWork:
    """Take a card's function out, its virtual ones first."""
    mine = [function for function in hardware.pci if function.parent is parent]
    return one_after_another(partial(_remove, hardware, function) for function in reversed(mine))


def _remove(hardware: Hardware, function: PciFunction) -> PendingWork:
    def forget() -> None:
        if function.index is not None:
            hardware.tree.unlink(f"{function.parent.path}/virtfn{function.index}")
        group = hardware.iommu.group_of(function.path)
        if group is not None:
            hardware.iommu.leave(function.path, group)

    work = hardware.pci.unbind(function)
    work.then(forget)
    return work.after(partial(hardware.pci.remove, function))
