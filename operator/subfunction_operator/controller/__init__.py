"""The controller of the cluster: pools, placement, and clean-up after deleted Nodes. It touches no kernel.

`controller.py` turns changes into keys of the work queue, `cluster.py` caches all objects, and `pools`, `placement` and
`node_gc.py` each reconcile one kind of key. `api` writes, `model` has the values.
It imports `kube` and `subfunction.api`, never the agent.
Begin with `main.py`, then `controller.py`.
"""
