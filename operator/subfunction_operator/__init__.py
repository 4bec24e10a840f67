"""The operator: the agent of a node, the controller of the cluster, and `check`.

`kube` is the client of the API server, `agent` and `controller` are two programs over it that never import each
other. `__main__.py` is the command line, `check.py` is `subfunction-operator check`; it and `kube/kubeconfig.py` alone
use the official client.
It imports `subfunction`, never the device plugin or the simulator.
Begin with `agent/main.py` or `controller/main.py`.
"""
