"""Moves records that cannot be read aside, and stores the node's resource names, which outlive a reboot.

It imports `api` (cache and writer), `model` and `subfunction.state`.
Begin with `quarantine.py`.
"""
