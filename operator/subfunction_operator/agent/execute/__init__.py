"""Applies one step: a request to the kernel, or a file written or removed.

`executor.py` maps each step to its call, `kernel.py` has the netlink clients of one thread, `metrics.py` measures.
It imports `offer/artifact_store.py`, `model` and the kernel layer.
Begin with `executor.py`.
"""
