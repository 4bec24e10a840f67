"""The device plugin: it offers the devices of the agent's records to the kubelet, and keeps the allocation ledger.

`main.py` keeps one endpoint for each resource name; `endpoint.py` registers it, `servicer.py` answers the kubelet's
calls, `health.py` decides which devices are Healthy, `allocator.py` writes the ledger. It has no credentials and no
capability.
It imports `subfunction`, never the operator.
Begin with `main.py`, then `servicer.py`.
"""
