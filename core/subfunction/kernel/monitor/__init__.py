"""The kernel's notifications: of devlink, of network links, and uevents.

Each module parses one kind of notification; `multicast.py` receives them and reports losses.
It imports `netlink`, `uapi`, `port.py` and `link.py` of `kernel`. Its one request is the look-up of devlink's group.
Begin with `multicast.py`.
"""
