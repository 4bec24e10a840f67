"""Finds what an active sub-function waits for before it attaches.

A driver may handle the events of its functions in a few queues, by the function's id modulo the number of queues
(mlx5_core: eight, sf/vhca_event.c, Linux 6.12). A function whose removal waits for an open device then keeps every
eighth function waiting. A port's index ends in that id.
"""

from subfunction.kernel.bus.auxiliary import BUS
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction_operator.agent.flavours.drivers import profile_of
from subfunction_operator.agent.observe.number_cache import ParentNumbers


def find_queue_blocker(sysfs: Sysfs, function: PciFunction, port: Port, numbers: ParentNumbers) -> str:
    """Return in words which sub-function's removal `port` waits for; empty where there is none."""
    queues = profile_of(function.driver).event_queues
    if not queues:
        return ""
    names = dict(numbers.recorded.values())
    for each in numbers.ports:
        if _is_leaving(each) and each.index % queues == port.index % queues:
            name = names.get(each.number or 0)
            return f"waits for sub-function {each.number}" + ("," if name is None else f", the SubFunction {name},")
    # Only "may": a function whose port is deleted has no index to compare.
    known = {each.function.instance.device for each in numbers.ports if each.function and each.function.instance}
    left = next((name for name in _leaving_devices(sysfs, function) if name not in known), None)
    return f"may wait for {left}, whose port is deleted and" if left else ""


def _is_leaving(port: Port) -> bool:
    return port.function is not None and port.function.attached and not port.function.active


def _leaving_devices(sysfs: Sysfs, function: PciFunction) -> list[str]:
    """List the devices that have left their bus while their driver is not unbound: the directory is removed last."""
    names = (name for name in sysfs.names(function.path) if name.startswith(f"{function.driver}.sf."))
    return [name for name in names if sysfs.resolve(f"bus/{BUS}/devices/{name}") is None]
