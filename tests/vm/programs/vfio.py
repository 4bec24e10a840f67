"""Run inside the machine: open a VFIO device through its group, as QEMU and DPDK do, and say what it is.

The numbers are linux/vfio.h's. A container needs an IOMMU type before a device is given out.
"""

import argparse
import fcntl
import json
import os
import struct
import sys
import time

GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_STATUS, SET_CONTAINER = 15204, 15205, 15206, 15207, 15208
GROUP_DEVICE_FD, DEVICE_INFO, DEVICE_RESET = 15210, 15211, 15215
TYPE1 = 1
FLAG_RESET, FLAG_PCI = 1, 2
VIABLE = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("group")
    parser.add_argument("device")
    parser.add_argument("--hold", action="store_true", help="keep it open until killed")
    arguments = parser.parse_args()
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group = os.open(f"/dev/vfio/{arguments.group}", os.O_RDWR)
    status = bytearray(struct.pack("II", 8, 0))
    fcntl.ioctl(group, GROUP_STATUS, status)
    if not struct.unpack("II", status)[1] & VIABLE:
        sys.exit("the group is not viable: another of its devices is bound to another driver")
    fcntl.ioctl(group, SET_CONTAINER, struct.pack("i", container))
    fcntl.ioctl(container, SET_IOMMU, TYPE1)
    device = fcntl.ioctl(group, GROUP_DEVICE_FD, bytearray(arguments.device.encode() + b"\0"))
    info = bytearray(struct.pack("IIIII", 20, 0, 0, 0, 0))
    fcntl.ioctl(device, DEVICE_INFO, info)
    _, flags, regions, interrupts, _ = struct.unpack("IIIII", info)
    if flags & FLAG_RESET:
        fcntl.ioctl(device, DEVICE_RESET)
    sys.stdout.write(json.dumps({"pci": bool(flags & FLAG_PCI), "regions": regions, "interrupts": interrupts}) + "\n")
    if arguments.hold:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while True:
            time.sleep(1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
