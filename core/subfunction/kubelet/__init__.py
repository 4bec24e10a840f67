"""The kubelet's interfaces: device plugin API, plugin registration, PodResources API, and the checkpoint on disk."""
