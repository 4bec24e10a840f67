"""Network devices and RDMA devices hang below the functions that have them.

Here live netdevs with names, addresses and namespaces, their messages of rtnetlink, and RDMA devices with their verbs.
It may import `driver_core` and what is below that.
A netdev knows its devlink port as something that shows it (`netdev.ShowingPort`).
A newcomer begins with `netdevs.py`.
"""
