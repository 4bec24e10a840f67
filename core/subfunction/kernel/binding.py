"""Which driver has a device: the bus's attributes by which root says so.

Each verb is one write, and may wait until whoever has the device open closes it: it belongs in a thread of its own.
`driver_override` is never read here: its reader takes the device's lock, which an unbind that waits keeps, and would
wait with it. Beware that the link `driver` disappears before the driver's remove() has returned.
"""

from subfunction.kernel.sysfs import Sysfs


def override(sysfs: Sysfs, bus: str, device: str, driver: str | None) -> None:
    """Let only this driver match the device from now on, or any again (`echo vhost_vdpa > .../driver_override`).

    Raises:
        Gone: there is no such device.
        NotPermitted, KernelError: see sysfs.py.
    """
    sysfs.write(f"bus/{bus}/devices/{device}/driver_override", f"{driver or ''}\n")


def unbind(sysfs: Sysfs, bus: str, device: str, driver: str) -> None:
    """Take the device from the driver it has (`echo sf0123456789ab > /sys/bus/vdpa/drivers/vhost_vdpa/unbind`).

    Raises:
        Gone: there is no such driver, or it does not have the device.
        NotPermitted, KernelError: see sysfs.py.
    """
    sysfs.write(f"bus/{bus}/drivers/{driver}/unbind", device)


def probe(sysfs: Sysfs, bus: str, device: str) -> None:
    """Let the drivers that match try the device (`echo sf0123456789ab > /sys/bus/vdpa/drivers_probe`).

    That none matched is no error: look at the link `driver` afterwards.

    Raises:
        Gone: there is no such device.
        NotPermitted: see sysfs.py.
        KernelError: the driver's probe failed.
    """
    sysfs.write(f"bus/{bus}/drivers_probe", device)


def drivers(sysfs: Sysfs, bus: str) -> frozenset[str]:
    """List the drivers that are loaded for a bus (`ls /sys/bus/vdpa/drivers`)."""
    return frozenset(sysfs.names(f"bus/{bus}/drivers"))
