"""What can be set while it runs, and while a pod has it: rate, MTU, representor. Pure."""

import msgspec

from subfunction.api import Representor
from subfunction.claims import FunctionClaim
from subfunction.errors import BridgeNotFound, UnsupportedField
from subfunction.kernel.link import LinkSettings
from subfunction_operator.decision import Steps
from subfunction_operator.kind import Case
from subfunction_operator.observation import Observation
from subfunction_operator.step import SetLink, SetRate, Step, StoreRecord

_BITS = 8


def limited(case: Case) -> Steps | None:
    """Limit its rate as asked, or no longer; None where that is so.

    Raises:
        UnsupportedField: the driver cannot, or not by such a step.
    """
    asked, leaf = case.wanted.spec.rate, case.seen.rate
    wanted = (asked.share_bits_per_second, asked.max_bits_per_second)
    if wanted == (None, None) and not case.claim.rated:
        return None
    where = f"{case.port.handle}/{case.port.index}"
    if leaf is None:
        if wanted == (None, None):
            return None
        raise UnsupportedField(f"the driver of {where} cannot limit a sub-function's rate", hint="Leave spec.rate out.")
    for name, bits in zip(("shareBitsPerSecond", "maxBitsPerSecond"), wanted, strict=True):
        _whole(f"spec.rate.{name}", bits, case.kind.rate_unit)
    share, maximum = ((bits or 0) // _BITS for bits in wanted)
    if (leaf.share, leaf.maximum) == (share, maximum):
        return None
    # Written first: a limit that is no longer asked for is taken off only where we know that it was ours.
    claim = msgspec.structs.replace(case.claim, rated=True)
    note = () if case.claim.rated else (StoreRecord(msgspec.structs.replace(case.record, claim=claim)),)
    change = SetRate(
        case.port.handle,
        case.port.index,
        share if share != leaf.share else None,
        maximum if maximum != leaf.maximum else None,
    )
    return Steps((*note, change))


def _whole(field: str, bits: int | None, unit: int) -> None:
    if bits is not None and bits % unit:
        below = bits - bits % unit
        near = f"{below} or {below + unit}" if below else str(unit)
        raise UnsupportedField(f"{field} is {bits}, and the NIC counts in steps of {unit} bit/s", hint=f"Take {near}.")


def tuned(case: Case) -> tuple[tuple[Step, ...], str]:
    """Give the changes of netdev and representor that are due, and what has to wait for a pod's end.

    Raises:
        BridgeNotFound: the representor's bridge is not there.
    """
    seen, mtu = case.seen, case.wanted.spec.mtu
    steps: list[Step] = []
    pending = ""
    if seen.netdev is not None and mtu is not None and seen.netdev.mtu != mtu:
        steps.append(SetLink(seen.netdev, LinkSettings(mtu=mtu)))
    if seen.away and mtu is not None and case.record.link is not None and case.record.link.mtu != mtu:
        pending = f"its MTU can change when its netdev is back; {seen.why_held}"
    return (*steps, *connected(case.wanted.spec.representor, seen)), pending


def connected(asked: Representor, seen: Observation) -> tuple[Step, ...]:
    """Give the change of the representor that is due; a bridge that is not asked for is nobody's business.

    Raises:
        BridgeNotFound: it should be in one that this node does not have.
    """
    representor, bridge = seen.representor, seen.bridge
    if representor is None:
        return ()
    if asked.bridge is not None and bridge is None:
        raise BridgeNotFound(
            f"this node has no bridge {asked.bridge} for the representor {representor.name}",
            hint=f"Make it with `ip link add {asked.bridge} type bridge`, or leave spec.representor.bridge out.",
        )
    up = asked.admin_state == "up"
    settings = LinkSettings(
        mtu=asked.mtu if asked.mtu not in {None, representor.mtu} else None,
        up=up if up != representor.up else None,
        master=bridge.ifindex if bridge is not None and representor.master != bridge.name else None,
    )
    return () if settings.empty else (SetLink(representor, settings),)


def disconnected(previous: FunctionClaim, seen: Observation) -> tuple[Step, ...]:
    """Leave a representor that stays behind as it was found, and in the bridge it was found in."""
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
