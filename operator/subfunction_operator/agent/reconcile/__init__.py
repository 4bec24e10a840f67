"""Runs observe -> plan -> execute for one sub-function, until it is settled, waits or fails.

`dispatcher.py` runs each parent's sub-functions in a thread of that parent; `reconciler.py` is the loop itself.
It imports `observe`, `plan`, `execute` and `model`.
Begin with `reconciler.py`.
"""
