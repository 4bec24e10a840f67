"""The interfaces of the Linux kernel: devlink, netlink, sysfs. It knows nothing of Kubernetes.

It has one module for each object of the kernel (`port.py`, `netdev.py`, `rdma.py`) and the packages `netlink`
(messages and sockets), `monitor` (notifications), `bus` (devices of each bus) and `uapi` (numbers of the uapi
headers). `error_table.py` turns errno and extended ack into a typed error. It imports `subfunction.errors` and
nothing else.
Begin with `devlink.py`; `netlink/genetlink.py` shows how a request is sent.
"""
