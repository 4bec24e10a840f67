"""Plans rate, MTU, netdev and representor: what can be set while the function is active or a pod has it. Pure.

A netdev comes back from a pod late, down, under another name, with the pod's MTU and address. Its record is
`returning`, and so not allocatable, until MAC, MTU and (if no other netdev has it) the name are as recorded.
"""

import msgspec

from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Representor
from subfunction.errors import BridgeNotFound, UnsupportedField
from subfunction.kernel.address import Mac
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.state.claims import FunctionClaim
from subfunction.state.records import Health, LinkState, State
from subfunction_operator.agent.flavours.flavour import PortContext
from subfunction_operator.agent.model.decision import Steps
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.steps import SetLink, SetRate, Step, StoreRecord

_BITS = 8


def rate_steps(context: PortContext) -> Steps | None:
    """Return the steps that set or remove the rate limit; None if the rate is as the spec asks.

    Raises:
        UnsupportedField: the driver cannot limit a rate, or not to this value.
    """
    asked, leaf = context.wanted.spec.rate, context.seen.rate
    wanted = (asked.share_bits_per_second, asked.max_bits_per_second)
    if wanted == (None, None) and not context.claim.rated:
        return None
    where = f"{context.port.handle}/{context.port.index}"
    if leaf is None:
        if wanted == (None, None):
            return None
        raise UnsupportedField(f"the driver of {where} cannot limit a sub-function's rate", hint="Leave spec.rate out.")
    for name, bits in zip(("shareBitsPerSecond", "maxBitsPerSecond"), wanted, strict=True):
        _require_multiple(f"spec.rate.{name}", bits, context.driver.rate_unit)
    share, maximum = ((bits or 0) // _BITS for bits in wanted)
    if (leaf.share, leaf.maximum) == (share, maximum):
        return None
    # The record comes first: a limit that is no longer asked for is removed only where we know that it was ours.
    claim = msgspec.structs.replace(context.claim, rated=True)
    note = () if context.claim.rated else (StoreRecord(msgspec.structs.replace(context.record, claim=claim)),)
    change = SetRate(
        context.port.handle,
        context.port.index,
        share if share != leaf.share else None,
        maximum if maximum != leaf.maximum else None,
    )
    return Steps((*note, change))


def _require_multiple(field: str, bits: int | None, unit: int) -> None:
    if bits is not None and bits % unit:
        below = bits - bits % unit
        near = f"{below} or {below + unit}" if below else str(unit)
        raise UnsupportedField(f"{field} is {bits}, and the NIC counts in steps of {unit} bit/s", hint=f"Take {near}.")


def link_steps(context: PortContext) -> tuple[tuple[Step, ...], str]:
    """Return the steps that change netdev and representor, and in words what must wait until a pod ends.

    Raises:
        BridgeNotFound: the representor's bridge does not exist.
    """
    seen, mtu = context.seen, context.wanted.spec.mtu
    steps: list[Step] = []
    pending = ""
    if seen.netdev is not None and mtu is not None and seen.netdev.mtu != mtu:
        steps.append(SetLink(seen.netdev, LinkSettings(mtu=mtu)))
    if seen.netdev_away and mtu is not None and context.record.link is not None and context.record.link.mtu != mtu:
        pending = f"its MTU can change when its netdev is back; {seen.why_in_use}"
    return (*steps, *representor_steps(context.wanted.spec.representor, seen)), pending


def restore_netdev_steps(context: PortContext) -> Steps | None:
    """Return the steps that restore a netdev's MAC, MTU and name after a pod had it; None if all are as recorded."""
    record, netdev = context.record, context.seen.netdev
    if not record.lent or netdev is None or record.link is None:
        return None
    settings = _differences(record.link, netdev, keeps_name=context.seen.name_taken)
    if settings == LinkSettings():
        return None
    steps = []
    if record.state is not State.RETURNING:
        health = Health(reason=Reason.RETURNING, message="its netdev came back from a pod and is made what it was")
        steps.append(StoreRecord(record.with_state(State.RETURNING, health)))
    return Steps((*steps, SetLink(netdev, settings)))


def _differences(recorded: LinkState, netdev: Netdev, *, keeps_name: bool) -> LinkSettings:
    mac = Mac.parse(recorded.mac_address) if recorded.mac_address else None
    return LinkSettings(
        # If another netdev has the name by now, this one keeps the name it came back with.
        name=recorded.name if recorded.name != netdev.name and not keeps_name else None,
        mac=mac if mac != netdev.mac else None,
        mtu=recorded.mtu if recorded.mtu != netdev.mtu else None,
    )


def representor_steps(asked: Representor, seen: Observation) -> tuple[Step, ...]:
    """Return the step that changes the representor; if the spec names no bridge, its bridge is left alone.

    Raises:
        BridgeNotFound: this node does not have the bridge that the spec names.
    """
    representor, bridge = seen.representor, seen.bridge
    if representor is None:
        return ()
    if asked.bridge is not None and bridge is None:
        raise _missing_bridge(asked.bridge, representor.name, seen.no_bridge)
    up = asked.admin_state == "up"
    settings = LinkSettings(
        mtu=asked.mtu if asked.mtu not in {None, representor.mtu} else None,
        up=up if up != representor.up else None,
        master=bridge.ifindex if bridge is not None and representor.master != bridge.name else None,
    )
    return () if settings.empty else (SetLink(representor, settings),)


def _missing_bridge(name: str, representor: str, kind: str | None) -> BridgeNotFound:
    """Return the error for a bridge that is not there; `kind` is that of the link that has its name, None for none."""
    if kind is None:
        return BridgeNotFound(
            f"this node has no bridge {name} for the representor {representor}",
            hint=f"Make it with `ip link add {name} type bridge`, or leave spec.representor.bridge out.",
        )
    if kind == "openvswitch":
        return BridgeNotFound(
            f"{name} is an interface of Open vSwitch and no bridge, so the representor {representor} cannot join it",
            hint="Leave spec.representor.bridge out, and add the representor to the switch: `ovs-vsctl add-port"
            f" $(ovs-vsctl iface-to-br {name}) {representor}`.",
        )
    what = f"a link of kind {kind}" if kind else "the netdev of a device"
    return BridgeNotFound(
        f"{name} is {what} and no bridge, so the representor {representor} cannot join it",
        hint=f"See `ip -d link show {name}`; name a bridge, or leave spec.representor.bridge out.",
    )


def restore_representor_steps(previous: FunctionClaim, seen: Observation) -> tuple[Step, ...]:
    """Return the step that restores a virtual function's representor: its state, its MTU and its bridge."""
    representor = seen.representor
    if representor is None:
        return ()
    up, mtu, master = previous.representor_up, previous.representor_mtu, previous.representor_master
    former = seen.former_bridge.ifindex if seen.former_bridge is not None else 0
    settings = LinkSettings(
        mtu=mtu if mtu not in {None, representor.mtu} else None,
        up=up if up not in {None, representor.up} else None,
        master=former if master not in {None, representor.master or ""} else None,
    )
    return () if settings.empty else (SetLink(representor, settings, restoring=True),)
