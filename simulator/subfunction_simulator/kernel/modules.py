"""A kernel module can be there or not: each is a driver on a bus."""

import errno
import os
from collections.abc import Callable
from typing import Final, Protocol

from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDriver
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.pci.function import VfioPci
from subfunction_simulator.kernel.vdpa.vhost import VhostVdpa
from subfunction_simulator.kernel.vdpa.virtio import VirtioVdpa

_RDMA_DRIVERS: Final = (("mlx5_ib.rep", "mlx5_core.rdma-rep"), ("mlx5_ib.rdma", "mlx5_core.rdma"))
_OF_VDPA: Final = frozenset({"mlx5_vdpa", "vhost_vdpa", "virtio_vdpa"})


class _InUse(Protocol):
    @property
    def in_use(self) -> bool: ...


class Modules:
    """The loaded modules stand in the order of their loading."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
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
    def names(self) -> tuple[str, ...]:
        """List what is loaded (`lsmod`)."""
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
            OSError: EBUSY, since one of its devices is open.
        """
        name = name.replace("-", "_")
        user = self._users.get(name)
        if user is not None and user.in_use:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        self._loaded.remove(name)
        hardware = self._hardware
        match name:
            case "mlx5_ib":
                for driver, _ in _RDMA_DRIVERS:
                    hardware.auxiliary.unregister(driver)
            case "mlx5_vdpa":
                hardware.auxiliary.unregister("mlx5_vdpa.vnet")
            case "vhost_vdpa" | "virtio_vdpa":
                hardware.vdpa.bus.unregister(name)
            case _:
                hardware.pci.unregister("vfio-pci" if name == "vfio_pci" else name)
        self._tell("remove", name)

    def _tell(self, action: str, name: str) -> None:
        self._hardware.devices.tell(action, f"module/{name}", "module")

    def _load_rdma(self) -> None:
        for driver, kind in _RDMA_DRIVERS:
            self._hardware.auxiliary.register(AuxiliaryDriver(driver, kind))

    def _load_management(self) -> None:
        self._hardware.auxiliary.register(AuxiliaryDriver("mlx5_vdpa.vnet", "mlx5_core.vnet"))

    def _load_vhost(self) -> None:
        hardware = self._hardware
        driver = VhostVdpa(hardware.tree, hardware.nodes, hardware.faults)
        self._users["vhost_vdpa"] = driver
        hardware.vdpa.bus.register(driver)

    def _load_virtio(self) -> None:
        hardware = self._hardware
        hardware.vdpa.bus.register(VirtioVdpa(hardware.devices, hardware.netdevs, hardware.faults))

    def _load_vfio(self, name: str) -> None:
        hardware = self._hardware
        hardware.vfio.load()
        driver = VfioPci(name, hardware.vfio, hardware.iommu, hardware.faults)
        self._users[name.replace("-", "_")] = driver
        hardware.pci.register(driver)
