"""Reconciles SubFunctionPools: which SubFunctions each node should have, and in which order they change.

`reconciler.py` runs, `planner.py` plans one node, `rollout.py` orders all nodes within maxUnavailable, `status.py`
builds the pool's status. All but `reconciler.py` is pure.
It imports `model`, `api` and `cluster.py`.
Begin with `reconciler.py`.
"""
