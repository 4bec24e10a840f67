"""Binds and unbinds drivers by the attributes of a bus in sysfs.

Each verb is one write, and may block until the process that has the device open closes it: run it in a thread of its
own (`blocking_calls.py`). `driver_override` is never read here: a reader takes the device's lock, and would wait for an
unbind that has it. Beware that the link `driver` disappears before the driver's remove() has returned.
"""

from subfunction.kernel.sysfs import Sysfs


def override(sysfs: Sysfs, bus: str, device: str, driver: str | None) -> None:
    """Let only this driver match the device, or with None any driver again (`echo vhost_vdpa > .../driver_override`).

    Raises:
        Gone: there is no such device.
        NotPermitted, KernelError: see sysfs.py.
    """
    sysfs.write(f"bus/{bus}/devices/{device}/driver_override", f"{driver or ''}\n")


def unbind(sysfs: Sysfs, bus: str, device: str, driver: str) -> None:
    """Unbind the device from its driver (`echo sf0123456789ab > /sys/bus/vdpa/drivers/vhost_vdpa/unbind`).

    Raises:
        Gone: there is no such driver, or it is not bound to the device.
        NotPermitted, KernelError: see sysfs.py.
    """
    sysfs.write(f"bus/{bus}/drivers/{driver}/unbind", device)


def bind(sysfs: Sysfs, bus: str, device: str, driver: str) -> None:
    """Bind the device to this driver alone (`echo mlx5_core.sf.4 > /sys/bus/auxiliary/drivers/mlx5_core.sf/bind`).

    It returns once the driver's probe has ended.

    Raises:
        Gone: there is no such driver or device, or the driver is not for it.
        NotPermitted: see sysfs.py.
        KernelError: the driver's probe failed, or the device has a driver (EBUSY).
    """
    sysfs.write(f"bus/{bus}/drivers/{driver}/bind", device)


def probe(sysfs: Sysfs, bus: str, device: str) -> None:
    """Probe the device with the drivers that match (`echo sf0123456789ab > /sys/bus/vdpa/drivers_probe`).

    It is no error if none matches: read the link `driver` afterwards.

    Raises:
        Gone: there is no such device.
        NotPermitted: see sysfs.py.
        KernelError: the driver's probe failed.
    """
    sysfs.write(f"bus/{bus}/drivers_probe", device)


def list_drivers(sysfs: Sysfs, bus: str) -> frozenset[str]:
    """List the drivers that are loaded for a bus (`ls /sys/bus/vdpa/drivers`)."""
    return frozenset(sysfs.names(f"bus/{bus}/drivers"))
