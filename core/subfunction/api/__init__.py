"""The API group `subfunction.dev/v1alpha1` as typed values, which mirror the CRDs in `crds/`.

It has the three kinds (`subfunction.py`, `node.py`, `pool.py`) and the reasons of conditions (`reasons.py`).
It imports no client, no kernel layer and nothing that does I/O.
Begin with `subfunction.py`.
"""
