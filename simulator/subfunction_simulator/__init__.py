"""The simulator stands in for a node with a SmartNIC: kernel, kubelet and API server, each with state."""
