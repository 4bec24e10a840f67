"""What the kubelet speaks: its device plugin API, its PodResources API, and the checkpoint it leaves on disk."""
