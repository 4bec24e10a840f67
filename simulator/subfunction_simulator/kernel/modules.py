"""Kernel modules that can be there or not: each is a driver on a bus."""

import errno
import os
from collections.abc import Callable
from typing import Final, Protocol

from subfunction_simulator.kernel.auxiliary import AuxiliaryDriver
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.nic import Nic
from subfunction_simulator.kernel.pci import VfioPci
from subfunction_simulator.kernel.vhost import VhostVdpa
from subfunction_simulator.kernel.virtio import VirtioVdpa

_OF_VDPA: Final = frozenset({"mlx5_vdpa", "vhost_vdpa", "virtio_vdpa"})


class _InUse(Protocol):
    @property
    def in_use(self) -> bool: ...


class Modules:
    """The modules that are loaded, in the order of their loading."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._users: dict[str, _InUse] = {}
        self._loaded: list[str] = []
        self._load: dict[str, Callable[[], None]] = {
            "mlx5_ib": self._load_rdma,
            "mlx5_vdpa": self._load_management,
            "vhost_vdpa": self._load_vhost,
            "virtio_vdpa": self._load_virtio,
            "vfio_pci": lambda: self._load_vfio("vfio-pci"),
            "mlx5_vfio_pci": lambda: self._load_vfio("mlx5_vfio_pci"),
        }
        self.vdpa = False
        """Whether the family `vdpa` is there: the drivers above need it, and it stays when they go."""

    @property
    def loaded(self) -> tuple[str, ...]:
        """What is loaded (`lsmod`)."""
        return tuple(self._loaded)

    def load(self, name: str) -> None:
        """Load a module (`modprobe NAME`); one that is there already is no work."""
        name = name.replace("-", "_")
        if name not in self._loaded:
            self._loaded.append(name)
            self.vdpa |= name in _OF_VDPA
            self._load[name]()
            self._tell("add", name)

    def unload(self, name: str) -> None:
        """Take a module away (`rmmod NAME`).

        Raises:
            OSError: EBUSY, since somebody has one of its devices open.
        """
        name = name.replace("-", "_")
        user = self._users.get(name)
        if user is not None and user.in_use:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        self._loaded.remove(name)
        machine = self._machine
        match name:
            case "mlx5_ib":
                machine.auxiliary.unregister("mlx5_ib.rdma")
                for nic in self._nics():
                    nic.hide_rdma()
            case "mlx5_vdpa":
                machine.auxiliary.unregister("mlx5_vdpa.vnet")
            case "vhost_vdpa" | "virtio_vdpa":
                machine.vdpa.bus.unregister(name)
            case _:
                machine.pci.unregister("vfio-pci" if name == "vfio_pci" else name)
        self._tell("remove", name)

    def _tell(self, action: str, name: str) -> None:
        self._machine.devices.tell(action, f"module/{name}", "module")

    def _nics(self) -> list[Nic]:
        return [instance for instance in self._machine.instances.values() if isinstance(instance, Nic)]

    def _load_rdma(self) -> None:
        self._machine.auxiliary.register(AuxiliaryDriver("mlx5_ib.rdma", "mlx5_core.rdma"))
        for nic in self._nics():
            nic.show_rdma()

    def _load_management(self) -> None:
        self._machine.auxiliary.register(AuxiliaryDriver("mlx5_vdpa.vnet", "mlx5_core.vnet"))

    def _load_vhost(self) -> None:
        machine = self._machine
        driver = VhostVdpa(machine.tree, machine.nodes, machine.faults)
        self._users["vhost_vdpa"] = driver
        machine.vdpa.bus.register(driver)

    def _load_virtio(self) -> None:
        machine = self._machine
        machine.vdpa.bus.register(VirtioVdpa(machine.devices, machine.netdevs, machine.faults))

    def _load_vfio(self, name: str) -> None:
        machine = self._machine
        machine.vfio.load()
        driver = VfioPci(name, machine.vfio, machine.iommu, machine.faults)
        self._users[name.replace("-", "_")] = driver
        machine.pci.register(driver)
