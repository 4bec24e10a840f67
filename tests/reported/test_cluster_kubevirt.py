"""What KubeVirt looks for in the environment of a pod whose devices another program's plugin gave (`hostDevices`)."""

import pytest

from subfunction.state.claims import Claim, MediatedDeviceClaim, VirtualFunctionClaim
from subfunction.state.records import Record, State
from subfunction_deviceplugin.allocate_response import build_response

CARD = "pci/0000:03:00.0"
RESOURCE = "subfunction.dev/vfio"
UUIDS = ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000")


def function(index: int) -> Record:
    address = f"0000:03:00.{index + 2}"
    return record(address, VirtualFunctionClaim(parent=CARD, index=index, address=address, driver="vfio-pci"))


def mediated(uuid: str) -> Record:
    return record(uuid, MediatedDeviceClaim(parent=CARD, type="mlx5_core-local", uuid=uuid))


def record(device: str, claim: Claim) -> Record:
    return Record(
        uid=f"uid-{device}",
        name=device,
        boot_id="b",
        state=State.READY,
        claim=claim,
        resource=RESOURCE,
        device_id=device,
    )


@pytest.mark.parametrize(
    ("records", "variable", "value"),
    [
        ([function(0)], "PCI_RESOURCE_SUBFUNCTION_DEV_VFIO", "0000:03:00.2"),
        ([function(1), function(0)], "PCI_RESOURCE_SUBFUNCTION_DEV_VFIO", "0000:03:00.2,0000:03:00.3"),
        ([mediated(UUIDS[0])], "MDEV_PCI_RESOURCE_SUBFUNCTION_DEV_VFIO", UUIDS[0]),
        ([mediated(each) for each in reversed(UUIDS)], "MDEV_PCI_RESOURCE_SUBFUNCTION_DEV_VFIO", ",".join(UUIDS)),
    ],
    ids=["a virtual function", "two virtual functions", "a mediated device", "two mediated devices"],
)
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: no variable has the name by which KubeVirt finds a host device"
)
def test_a_virtual_machine_finds_its_host_devices(records: list[Record], variable: str, value: str) -> None:
    assert build_response(RESOURCE, records).envs.get(variable) == value
