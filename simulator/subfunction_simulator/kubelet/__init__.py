"""A stand-in for the kubelet's device manager, true to 1.36 where a device plugin can tell the difference.

Written after `pkg/kubelet/cm/devicemanager` of Kubernetes 1.36.2: the order of calls, what each message replaces, what
survives a restart, when the checkpoint is written and when it is not, and a known race.
"""
