"""Tests let hardware, firmware and drivers change behind the agent's back."""

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel.cards.slot import plug, unplug
from subfunction_simulator.kernel.device_users import DeviceUsers
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork
from subfunction_simulator.kernel.pci.function import PciFunction
from subfunction_simulator.kernel.schedule import Kind
from subfunction_simulator.kernel.topology import Topology


class FaultInjection(DeviceUsers):
    """Each verb acts now, from any thread, and never waits: what a device's user holds up comes when it closes."""

    # The firmware.

    def hold(self, kind: Kind) -> None:
        """Let nothing attach, or nothing detach, until it is let go."""
        with self.lock:
            self.schedule.hold(kind)

    def let_go(self, kind: Kind) -> None:
        """Let what was held go on."""
        with self.lock:
            self.schedule.let_go(kind)

    def lose_port(self, handle: Handle, number: int) -> None:
        """Delete a sub-function's port, as another user does with `devlink port del`."""
        with self.lock:
            port = self.sub_function(handle, number).port
            if port is not None:
                port.instance.delete_port(port)

    def lose_function(self, handle: Handle, number: int) -> None:
        """Let the firmware lose a sub-function: its device goes; on mlx5 its port goes on to say `active attached`."""
        with self.lock:
            self.sub_function(handle, number).vanish()

    def refuse_query(self, handle: Handle, index: int, *, refuse: bool = True) -> None:
        """Let the firmware refuse what the driver asks for to show a port: every dump of ports ends before it."""
        with self.lock:
            self.hardware.instances[handle].ports[index].unreadable = refuse

    def fail_card(self, handle: Handle, *, unload: bool = True) -> PendingWork:
        """Let a card's firmware meet a fatal error that its driver does not recover.

        The driver unloads where the last recovery was a moment ago; where it may not recover by itself, all stays.
        """
        with self.lock:
            return self.nic(handle).health.fail(unload=unload)

    def recover_card(self, handle: Handle) -> PendingWork:
        """Let its driver recover it (`devlink health recover ... reporter fw_fatal`): in legacy mode, without ports."""
        with self.lock:
            return self.nic(handle).health.recover()

    def crash_driver(self, handle: Handle) -> PendingWork:
        """Let a parent's driver start anew, as after a fatal error or a suspend: every sub-function is lost."""
        with self.lock:
            function = self._function(handle.device)
            return self.hardware.pci.unbind(function).after(lambda: self.hardware.pci.probe(function))

    def set_eswitch_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """Change an e-switch mode (`devlink dev eswitch set`); legacy ends every sub-function."""
        with self.lock:
            self.nic(handle).set_eswitch_mode(mode)

    # Cards and drivers.

    def remove_parent(self, handle: Handle) -> PendingWork:
        """Take a card out (`echo 1 > /sys/bus/pci/devices/.../remove`)."""
        with self.lock:
            return unplug(self.hardware, self._function(handle.device).parent)

    def rescan(self) -> None:
        """Find the cards that were taken out (`echo 1 > /sys/bus/pci/rescan`)."""
        with self.lock:
            for parent in self.topology.parents:
                if self.hardware.pci.find(parent.bdf) is None:
                    plug(self.hardware, parent)

    def unbind_function(self, name: str) -> PendingWork:
        """Take the driver off a sub-function (`echo mlx5_core.sf.4 > .../mlx5_core.sf/unbind`)."""
        with self.lock:
            device = self.hardware.auxiliary.find(name)
            return PendingWork(over=True) if device is None else self.hardware.auxiliary.unbind(device)

    def bind_function(self, name: str) -> None:
        """Bind it again."""
        with self.lock:
            device = self.hardware.auxiliary.find(name)
            if device is not None and device.bound is None:
                self.hardware.auxiliary.probe(device)

    def unbind_pci(self, address: str) -> PendingWork:
        """Take the driver off a PCI function, physical or virtual."""
        with self.lock:
            return self.hardware.pci.unbind(self._function(address))

    def probe_pci(self, address: str) -> PendingWork:
        """Let a PCI function find its driver again."""
        with self.lock:
            return self.hardware.pci.probe(self._function(address))

    def load_module(self, name: str) -> None:
        """Load a module (`modprobe`)."""
        with self.lock:
            self.modules.load(name)

    def unload_module(self, name: str) -> None:
        """Unload a module (`modprobe -r`).

        Raises:
            OSError: EBUSY, since one of its devices is open.
        """
        with self.lock:
            self.modules.unload(name)

    def delete_vdpa(self, name: str) -> PendingWork:
        """Delete a vDPA device (`vdpa dev del`)."""
        with self.lock:
            device = self.hardware.vdpa.bus.find(name)
            if device is None:
                raise LookupError(f"no vDPA device {name}")
            return self.hardware.vdpa.delete(device)

    def unbind_vdpa(self, name: str) -> PendingWork:
        """Take the driver off a vDPA device."""
        with self.lock:
            device = self.hardware.vdpa.bus.find(name)
            if device is None:
                raise LookupError(f"no vDPA device {name}")
            return self.hardware.vdpa.bus.unbind(device)

    def delete_mediated(self, uuid: str) -> PendingWork:
        """Remove a mediated device."""
        with self.lock:
            device = self.hardware.mediated.bus.find(uuid)
            if device is None:
                raise LookupError(f"no mediated device {uuid}")
            return self.hardware.mediated.remove(device)

    def _function(self, address: str) -> PciFunction:
        function = self.hardware.pci.find(address)
        if function is None:
            raise LookupError(f"no PCI function {address}")
        return function

    # Everything.

    def deafen(self, *, deaf: bool = True) -> None:
        """Lose notifications without a word, until heard again."""
        with self.lock:
            self.hardware.announcer.deaf = deaf

    def overrun(self) -> None:
        """Let every listener have lost notifications (ENOBUFS)."""
        with self.lock:
            self.hardware.announcer.overrun()

    def release_all(self) -> None:
        """Let everything that waits go on: the hangs are over, and so are the users of devices."""
        with self.lock:
            self.faults.release_all()
            self.hardware.nodes.close_all()
            self.lock.notify_all()

    def reboot(self, topology: Topology | None = None) -> None:
        """Start anew: no sub-functions, another boot id, every socket of before ended, every user of a device gone."""
        with self.lock:
            self.topology = topology or self.topology
            self.release_all()
            self.hardware.nodes.clear()
            self.schedule.clear()
            self.hardware.announcer.end()
            for name in self.tree.names():
                self.tree.bury(name)
            self._boot()
