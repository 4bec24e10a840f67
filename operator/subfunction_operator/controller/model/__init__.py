"""The controller's values: cached Nodes and SubFunctions, capacities, plans. Pure.

Each module decodes one kind from the server's bytes into the few fields that decisions need.
It imports `subfunction.api` alone.
Begin with `subfunction.py`.
"""
