"""The kubelet's device plugin API v1beta1, from our own api.proto."""
