"""Checks what VFIO requires of a virtual function, and compares its settings with the spec. Pure."""

from typing import Final

from subfunction.api.subfunction import SubFunction
from subfunction.errors import GroupShared, UnsupportedField
from subfunction.kernel.address import Mac
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.kernel.port import Function, FunctionSettings
from subfunction.state.claims import FunctionClaim
from subfunction_operator.agent.model.observation import Observation

_HARMLESS: Final = frozenset({"pcieport", "pci-stub"})
"""Drivers that do no DMA, and so may share a group with VFIO (drivers/vfio/vfio_main.c, Linux 6.12)."""


def is_vfio(driver: str | None) -> bool:
    """Return whether a PCI driver is a VFIO driver."""
    return driver is not None and "vfio" in driver


def require_exclusive_group(seen: Observation, function: VirtualFunction) -> None:
    """Check that VFIO can take the whole IOMMU group of a function.

    Raises:
        UnsupportedField: there is no IOMMU, or its group exists only by `enable_unsafe_noiommu_mode`: a process with
            such a function can read all memory of the machine.
        GroupShared: other functions of its group are bound to drivers of the host.
    """
    unsafe = seen.vfio is not None and "noiommu-" in seen.vfio.group.name
    if function.group is None or unsafe:
        raise UnsupportedField(
            f"{function.address} is in no IOMMU group, and VFIO guards memory by one alone",
            hint="Boot with intel_iommu=on (or amd_iommu=on), and switch the IOMMU on in the firmware's setup.",
        )
    others = [
        f"{member.address} on {member.driver}"
        for member in seen.group
        if member.address != function.address
        and member.driver is not None
        and member.driver not in _HARMLESS
        and not is_vfio(member.driver)
    ]
    if others:
        raise GroupShared(
            f"IOMMU group {function.group} of {function.address} also has {', '.join(others)}",
            hint="Take a virtual function of a group of its own; a slot with ACS gives each one.",
        )


def changed_settings(wanted: SubFunction, seen: Observation, mac: Mac | None) -> FunctionSettings:
    """Return the settings of the function that differ from the spec; `mac` None leaves its address.

    Raises:
        UnsupportedField: the spec asks for a setting, and the function has no port or its driver does not offer it.
    """
    spec, capabilities = wanted.spec, wanted.spec.capabilities
    function = seen.port.function if seen.port else None
    asked = {
        "roce": capabilities.roce,
        "migratable": capabilities.migratable,
        "ipsecCrypto": capabilities.ipsec_crypto,
        "ipsecPacket": capabilities.ipsec_packet,
        "maxIOEventQueues": capabilities.max_io_event_queues,
    }
    if function is None:
        named = [f"spec.capabilities.{name}" for name, value in asked.items() if value is not None]
        named += ["spec.macAddress"] if spec.mac_address else []
        if named:
            raise UnsupportedField(
                f"{', '.join(named)} of a virtual function is set by its devlink port, and {seen.handle} has none",
                hint=f"Such ports are there in switchdev mode: see `devlink dev eswitch show {seen.handle}`.",
            )
        return FunctionSettings()
    shown = {
        "roce": function.roce,
        "migratable": function.migratable,
        "ipsecCrypto": function.ipsec_crypto,
        "ipsecPacket": function.ipsec_packet,
        "maxIOEventQueues": function.max_io_eqs,
    }
    unoffered = [f"spec.capabilities.{name}" for name in asked if asked[name] is not None and shown[name] is None]
    if unoffered:
        raise UnsupportedField(f"the driver of {seen.handle} offers no {' and '.join(unoffered)}", hint="Leave it out.")
    queues = capabilities.max_io_event_queues

    def differing(name: str) -> bool | None:
        value = asked[name]
        return bool(value) if value is not None and value != shown[name] else None

    return FunctionSettings(
        mac=mac if mac is not None and function.mac != mac else None,
        roce=differing("roce"),
        migratable=differing("migratable"),
        ipsec_crypto=differing("ipsecCrypto"),
        ipsec_packet=differing("ipsecPacket"),
        max_io_eqs=queues if queues is not None and queues != function.max_io_eqs else None,
    )


def snapshot_settings(seen: Observation) -> FunctionClaim:
    """Return the settings of a function and its representor, taken before the first change."""
    function = (seen.port.function if seen.port else None) or Function()
    representor = seen.representor
    return FunctionClaim(
        mac_address=str(function.mac) if function.mac else None,
        roce=function.roce,
        migratable=function.migratable,
        ipsec_crypto=function.ipsec_crypto,
        ipsec_packet=function.ipsec_packet,
        max_io_event_queues=function.max_io_eqs,
        representor_up=representor.up if representor else None,
        representor_mtu=representor.mtu if representor else None,
        representor_master=(representor.master or "") if representor else None,
    )


def settings_to_restore(seen: Observation, previous: FunctionClaim) -> FunctionSettings:
    """Return the settings that must change for a function to be as it was found."""
    now = snapshot_settings(seen)

    def differing(before: bool | None, after: bool | None) -> bool | None:  # noqa: FBT001  # the values are the matter
        return before if before is not None and after is not None and before != after else None

    queues, mac = previous.max_io_event_queues, previous.mac_address
    return FunctionSettings(
        mac=Mac.parse(mac) if mac and now.mac_address and mac != now.mac_address else None,
        roce=differing(previous.roce, now.roce),
        migratable=differing(previous.migratable, now.migratable),
        ipsec_crypto=differing(previous.ipsec_crypto, now.ipsec_crypto),
        ipsec_packet=differing(previous.ipsec_packet, now.ipsec_packet),
        max_io_eqs=queues if queues is not None and now.max_io_event_queues not in {None, queues} else None,
    )
