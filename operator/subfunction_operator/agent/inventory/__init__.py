"""Reports this node's parents, capacities and flavours in its SubFunctionNode.

`discovery.py` reads the node, `capabilities.py` judges which flavours each parent can make, `status.py` builds the
status, `reporter.py` keeps the object up to date through `client.py`.
It imports `observe/parents.py`, `flavours`, `model` and `kube`.
Begin with `reporter.py`.
"""
