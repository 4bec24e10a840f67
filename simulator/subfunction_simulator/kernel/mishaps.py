"""All that happens to hardware, firmware and drivers behind the agent's back."""

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel.pci import PciFunction
from subfunction_simulator.kernel.schedule import Kind
from subfunction_simulator.kernel.slot import plug, unplug
from subfunction_simulator.kernel.topology import Topology
from subfunction_simulator.kernel.users import Users
from subfunction_simulator.kernel.work import Work


class Mishaps(Users):
    """Verbs that act now, from any thread, and wait for nobody: what a device's user holds up comes when it closes."""

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
        """Delete a sub-function's port, as somebody with `devlink port del` does."""
        with self.lock:
            port = self.sub_function(handle, number).port
            if port is not None:
                port.instance.delete_port(port)

    def lose_function(self, handle: Handle, number: int) -> None:
        """Let the firmware lose a sub-function: its device goes, its port says `inactive`, and nobody announces it."""
        with self.lock:
            self.sub_function(handle, number).vanish()

    def crash_driver(self, handle: Handle) -> Work:
        """Let a parent's driver start anew, as after a fatal error or a suspend: every sub-function is lost."""
        with self.lock:
            function = self._function(handle.device)
            return self.machine.pci.unbind(function).after(lambda: self.machine.pci.probe(function))

    def set_eswitch_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """Change an e-switch mode (`devlink dev eswitch set`); legacy ends every sub-function."""
        with self.lock:
            self.nic(handle).set_eswitch_mode(mode)

    # Cards and drivers.

    def remove_parent(self, handle: Handle) -> Work:
        """Take a card out (`echo 1 > /sys/bus/pci/devices/.../remove`)."""
        with self.lock:
            return unplug(self.machine, self._function(handle.device).parent)

    def rescan(self) -> None:
        """Find the cards that were taken out (`echo 1 > /sys/bus/pci/rescan`)."""
        with self.lock:
            for parent in self.topology.parents:
                if self.machine.pci.find(parent.bdf) is None:
                    plug(self.machine, parent)

    def unbind_function(self, name: str) -> Work:
        """Take the driver off a sub-function (`echo mlx5_core.sf.4 > .../mlx5_core.sf/unbind`)."""
        with self.lock:
            device = self.machine.auxiliary.find(name)
            return Work(over=True) if device is None else self.machine.auxiliary.unbind(device)

    def bind_function(self, name: str) -> None:
        """Bind it again."""
        with self.lock:
            device = self.machine.auxiliary.find(name)
            if device is not None and device.bound is None:
                self.machine.auxiliary.probe(device)

    def unbind_pci(self, address: str) -> Work:
        """Take the driver off a PCI function, physical or virtual."""
        with self.lock:
            return self.machine.pci.unbind(self._function(address))

    def probe_pci(self, address: str) -> Work:
        """Let a PCI function find its driver again."""
        with self.lock:
            return self.machine.pci.probe(self._function(address))

    def load_module(self, name: str) -> None:
        """Load a module (`modprobe`)."""
        with self.lock:
            self.modules.load(name)

    def unload_module(self, name: str) -> None:
        """Unload a module (`modprobe -r`).

        Raises:
            OSError: EBUSY, since somebody has one of its devices open.
        """
        with self.lock:
            self.modules.unload(name)

    def delete_vdpa(self, name: str) -> Work:
        """Delete a vDPA device (`vdpa dev del`)."""
        with self.lock:
            device = self.machine.vdpa.bus.find(name)
            if device is None:
                raise LookupError(f"no vDPA device {name}")
            return self.machine.vdpa.delete(device)

    def unbind_vdpa(self, name: str) -> Work:
        """Take the driver off a vDPA device."""
        with self.lock:
            device = self.machine.vdpa.bus.find(name)
            if device is None:
                raise LookupError(f"no vDPA device {name}")
            return self.machine.vdpa.bus.unbind(device)

    def delete_mediated(self, uuid: str) -> Work:
        """Remove a mediated device."""
        with self.lock:
            device = self.machine.mediated.bus.find(uuid)
            if device is None:
                raise LookupError(f"no mediated device {uuid}")
            return self.machine.mediated.remove(device)

    def _function(self, address: str) -> PciFunction:
        function = self.machine.pci.find(address)
        if function is None:
            raise LookupError(f"no PCI function {address}")
        return function

    # Everything.

    def deafen(self, *, deaf: bool = True) -> None:
        """Lose notifications without a word, until heard again."""
        with self.lock:
            self.machine.announcer.deaf = deaf

    def overrun(self) -> None:
        """Let every listener have lost notifications (ENOBUFS)."""
        with self.lock:
            self.machine.announcer.overrun()

    def release_all(self) -> None:
        """Let everything that waits go on: the hangs are over, and so are the users of devices."""
        with self.lock:
            self.faults.release_all()
            self.machine.nodes.close_all()
            self.lock.notify_all()

    def reboot(self, topology: Topology | None = None) -> None:
        """Start anew: no sub-functions, another boot id, every socket of before ended, every user of a device gone."""
        with self.lock:
            self.topology = topology or self.topology
            self.release_all()
            self.machine.nodes.clear()
            self.schedule.clear()
            self.machine.announcer.end()
            for name in self.tree.names():
                self.tree.bury(name)
            self._boot()
