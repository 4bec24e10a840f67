"""Chooses a node for each SubFunction that names none.

`reconciler.py` runs, `scheduler.py` filters and scores nodes (pure), `status.py` builds the conditions of one that
fits nowhere (pure).
It imports `model`, `api` and `cluster.py`.
Begin with `scheduler.py`.
"""
