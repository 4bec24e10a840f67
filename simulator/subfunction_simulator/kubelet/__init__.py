"""The stand-in kubelet is true to 1.36 where a device plugin can tell the difference.

Here live the kubelet, its Node, its pods and their workers, and the room of its device manager.
It may import the embedded API server's client, and the ground (`subfunction`).
It follows Kubernetes 1.36.2: the order of calls, what survives a restart, the checkpoint, and a known race.
A newcomer begins with `node.py`, then `kubelet.py`.
"""
