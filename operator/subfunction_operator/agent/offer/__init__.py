"""Publishes a ready device for allocation and withdraws it again, with its CDI and device-info files.

`publish.py` and `withdraw.py` plan, `cdi.py` and `deviceinfo.py` render the two files, `artifacts.py` adds the steps
that write them, and `artifact_store.py` reads and writes them. All but `artifact_store.py` is pure. It imports `model`.
Begin with `publish.py`.
"""
