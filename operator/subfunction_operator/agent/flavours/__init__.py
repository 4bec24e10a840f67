"""Holds what differs between flavours (mlx5, ice, virtio, vfio) and between kernel drivers. Pure.

`flavour.py` is the protocol that a flavour implements, `drivers.py` has one profile for each kernel driver,
`registry.py` lists the flavours. `auxiliary.py` and `virtio.py` implement the protocol; `virtual_function.py` and
`mediated_device.py` plan flavour `vfio`, which makes no sub-function. `docs/adding-a-driver.md` says what a new vendor
needs.
It imports `offer` and `model`.
Begin with `flavour.py`, then `auxiliary.py`.
"""
