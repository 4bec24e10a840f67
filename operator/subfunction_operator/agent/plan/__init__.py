"""Decides which steps come next. Pure: no I/O, no clock, no client.

`planner.py` dispatches; `identity.py` settles the number and port, `configure.py` brings a port to ready, `delete.py`
removes everything again. `port_ownership.py` decides whether a port is ours, `resource_name.py` whether a resource name
is free.
It imports `flavours`, `offer` and `model`.
Begin with `planner.py`, whose docstring is a map.
"""
