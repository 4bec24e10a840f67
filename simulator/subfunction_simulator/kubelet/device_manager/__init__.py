"""The device manager takes plugins, allocates their devices and remembers who holds them.

Here live the table of devices, registration, the plugin watcher, calls to plugins, checkpoint and PodResources.
It may import the kubelet's `pods`, and the gRPC stubs of the ground (`subfunction.kubelet`).
It follows `pkg/kubelet/cm/devicemanager` of Kubernetes 1.36.2.
A newcomer begins with `devices.py`, then `plugins.py`.
"""
