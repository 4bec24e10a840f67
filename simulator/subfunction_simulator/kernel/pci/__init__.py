"""The PCI bus has functions, and hands them to user space.

Here live PCI functions, IOMMU groups, vfio, and mediated devices.
It may import `driver_core`, `faults` and `topology`, and what is below those.
The drivers of cards live in `cards`; those that hand a function to user space live here.
A newcomer begins with `function.py`.
"""
