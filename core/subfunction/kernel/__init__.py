"""The one door to the kernel: netlink and sysfs, and nothing of Kubernetes."""
