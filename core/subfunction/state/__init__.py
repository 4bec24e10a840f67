"""The files on a node that agent and device plugin share, and how they are written.

Records (written by the agent), the allocation ledger (written by the plugin) and resource names are typed; `store.py`
reads and writes a folder of them, `atomic_file.py` writes one file whole or not at all, `inotify.py` reports changes.
It imports `subfunction.api`, `subfunction.errors` and `kernel/address.py`.
Begin with `records.py`.
"""
