"""The library that agent, controller, device plugin and simulator share.

It has the API's types (`api`), the files that agent and device plugin share (`state`), the kernel's interfaces
(`kernel`), the kubelet's (`kubelet`), settings, log, metrics and probes of a process (`process`), and the one tree of
errors (`errors.py`). It imports none of the programs.
Begin with `errors.py`, then `api/subfunction.py` and `state/records.py`.
"""
