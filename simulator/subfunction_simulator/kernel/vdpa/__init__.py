"""vDPA has management devices, a bus, and two drivers for what is on it.

Here live the devices and the drivers `vhost_vdpa` and `virtio_vdpa`; the commands of the family live in `families`.
It may import `network` and what is below that.
A device is removed when its user closes it; until then `VdpaDevices.gate` is shut.
A newcomer begins with `vdpabus.py`.
"""
