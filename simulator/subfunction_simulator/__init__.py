"""A node without hardware: a simulated kernel, kubelet and API server, with state."""
