"""What the controller writes to the API server.

`writer.py` has one method for each request and refuses to write without the Lease; `executor.py` carries out a pool's
plan, several requests at a time.
It imports `model` and `kube`.
Begin with `writer.py`.
"""
