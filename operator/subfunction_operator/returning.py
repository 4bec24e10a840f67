"""A netdev that comes back from a pod: late, down, under another name, with the pod's MTU and address. Pure.

Its record is `returning`, and so offered to nobody, until MAC, MTU and, where it is still to be had, the name are as
recorded.
"""

from subfunction.kernel.address import Mac
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.reasons import Reason
from subfunction.records import Health, Link, State
from subfunction_operator.decision import Steps
from subfunction_operator.kind import Case
from subfunction_operator.step import SetLink, StoreRecord


def returning(case: Case) -> Steps | None:
    """Give what is to be done to a netdev that was away; None where it was not, or is as it was."""
    record, netdev = case.record, case.seen.netdev
    if not record.lent or netdev is None or record.link is None:
        return None
    settings = _differences(record.link, netdev, keeps_name=case.seen.name_taken)
    if settings == LinkSettings():
        return None
    steps = []
    if record.state is not State.RETURNING:
        health = Health(reason=Reason.RETURNING, message="its netdev came back from a pod and is made what it was")
        steps.append(StoreRecord(record.moved(State.RETURNING, health)))
    return Steps((*steps, SetLink(netdev, settings)))


def _differences(recorded: Link, netdev: Netdev, *, keeps_name: bool) -> LinkSettings:
    mac = Mac.parse(recorded.mac_address) if recorded.mac_address else None
    return LinkSettings(
        # Where somebody else has its name by now, it goes by the one it came back with.
        name=recorded.name if recorded.name != netdev.name and not keeps_name else None,
        mac=mac if mac != netdev.mac else None,
        mtu=recorded.mtu if recorded.mtu != netdev.mtu else None,
    )
