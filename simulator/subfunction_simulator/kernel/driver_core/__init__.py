"""The driver core shows devices, drivers and buses in sysfs.

Here live the tree of sysfs, the device nodes below `dev/`, buses, and work that waits for users of a device.
It may import `netlink`.
A removal is pending work (`pending_work.py`): what follows from it is asked for with `then`.
A newcomer begins with `bus.py`.
"""
