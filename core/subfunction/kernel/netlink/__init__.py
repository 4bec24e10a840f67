"""Netlink: sockets, framing, attributes, and requests of generic netlink families.

`transport.py` opens sockets (to the kernel or to a simulated one), `framing.py` splits datagrams, `codec.py` encodes
and decodes by a schema, `request.py` sends a request and waits for its replies, `genetlink.py` resolves families. Only
`codec.py` may import pyroute2.
It imports `kernel/uapi` and `subfunction.errors`; `devlink_schema.py` also imports `kernel/port.py`.
Begin with `genetlink.py`.
"""
