"""Turns events of the kernel, and changes of files, into keys in the work queue.

`sources.py` receives the events, `index.py` finds the sub-function of each, `enqueue.py` adds its key with a delay.
It imports `model`, `kube/workqueue.py` and the kernel's monitors.
Begin with `sources.py`.
"""
