"""The devices of each bus: auxiliary, PCI, vDPA, VFIO and mediated devices.

Each module reads one bus in sysfs (vDPA also by netlink); `driver_binding.py` binds and unbinds drivers on any of
them, `character_device.py` reads device numbers.
It imports `sysfs.py`, `address.py`, `netdev.py`, `error_table.py`, `netlink` and `uapi`, all of `kernel`.
Begin with `auxiliary.py`.
"""
