"""What a record claims, where the test knows it to be a sub-function's port."""

from subfunction.state.claims import PortClaim
from subfunction.state.records import Record


def port_claim(record: Record) -> PortClaim:
    assert isinstance(record.claim, PortClaim)
    return record.claim
