"""The agent of one node: it turns SubFunction objects into sub-functions of this node's NICs.

The packages, in the order in which an event passes them: `triggers` (an event becomes a key), `reconcile` (observe,
plan, execute for one key), `observe`, `plan` with `flavours` and `offer`, `execute`, `api` (status and Events), and
beside them `inventory` (the SubFunctionNode) and `state` (files). `model` has the values that pass between them. A
package imports only those below it (the contract in `pyproject.toml`), never the controller.
Begin with `main.py`, `agent.py`, `reconcile/reconciler.py` and `plan/planner.py`, in this order.
"""
