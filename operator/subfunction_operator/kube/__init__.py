"""The API server's client: what client-go is in Go.

Requests (`rest.py`), credentials with their session, log-ins of a kubeconfig (by the official client), the informer
with its store, the work queue with its back-off, leader election and Events. It knows no flavour, kernel or pool.
It imports `subfunction` and nothing else of the operator.
Begin with `rest.py`, then `workqueue.py` and `informer.py`.
"""
