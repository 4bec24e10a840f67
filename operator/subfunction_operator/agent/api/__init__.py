"""Reads and writes SubFunction objects at the API server.

`watch.py` runs kopf's watch, whose events end in the cache (`cache.py`); `status.py` builds a status from an
observation and `writer.py` writes it. `relist.py` lists anew, `client.py` has one method for each request.
It imports `model`, `flavours` (the bus of each) and `kube`.
Begin with `status.py`.
"""
