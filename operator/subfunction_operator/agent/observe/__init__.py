"""Reads what exists: ports, devices, netdevs, parents, and which pod uses a device. It changes nothing.

`observer.py` builds one Observation; each other module reads one part of it. `usage.py` asks the kubelet.
It imports `flavours` (which parameters matter), `offer` (files on disk), `model` and the kernel layer.
Begin with `observer.py`.
"""
