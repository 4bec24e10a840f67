"""One byte that is no UTF-8, in a file that either program reads: it is a file that cannot be read, and no more."""

from typing import Final

import pytest
from tests.deviceplugin.conftest import Node
from tests.reported.lives import agent_goes_on, plugin_goes_on

from rig.cluster import Cluster, is_ready, quiet
from subfunction.state.records import State

CHECKPOINT: Final = (
    b'{"Data":{"PodDeviceEntries":[{"PodUID":"p\xff","ContainerName":"app","ResourceName":"example.com/other",'
    b'"DeviceIDs":{"-1":["x"]},"AllocResp":""}]},"Checksum":1}'
)
ENTRY: Final = b'{"schema":1,"uid":"%s","resource":"\xff","deviceId":"d","at":1}'
NAMES: Final = b'{"schema":1,"uid":"resources","names":["subfunction.dev/\xff"]}'
LATER: Final = "subfunction.dev/later"
WHEN: Final = ("while it runs", "before it starts")


def spoil_checkpoint(node: Node | Cluster) -> None:
    (node.kubelet.folder / "kubelet_internal_checkpoint").write_bytes(CHECKPOINT)


def spoil_record(node: Node | Cluster, uid: str, name: str) -> None:
    records = node.agent.records if isinstance(node, Node) else node.records
    path = records.path / f"{uid}.json"
    whole = path.read_bytes()
    spoilt = whole.replace(f'"name": "{name}"'.encode(), b'"name": "\xff"')
    assert spoilt != whole
    path.write_bytes(spoilt)


def spoil_entry(node: Node | Cluster, uid: str) -> None:
    folder = (node.agent.ledger if isinstance(node, Node) else node.ledger).path
    folder.mkdir(exist_ok=True)
    (folder / f"{uid}.json").write_bytes(ENTRY % uid.encode())


def spoil_names(node: Node | Cluster) -> None:
    folder = (node.agent.resources if isinstance(node, Node) else node.resources).path
    folder.mkdir(exist_ok=True)
    (folder / "resources.json").write_bytes(NAMES)


def spoil(node: Node | Cluster, what: str, uid: str, name: str) -> None:
    match what:
        case "the checkpoint":
            spoil_checkpoint(node)
        case "a record":
            spoil_record(node, uid, name)
        case "an entry of the ledger":
            spoil_entry(node, uid)
        case _:
            spoil_names(node)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("what", ["the checkpoint", "a record", "an entry of the ledger", "the resource names"])
@pytest.mark.xfail(
    strict=True,
    raises=UnicodeDecodeError,
    reason="issue H: the device plugin ends by a byte that is no UTF-8, and again whenever it is started",
)
async def test_the_device_plugin_offers_on_beside_a_file_with_such_a_byte(
    plugin_node: Node, what: str, when: str
) -> None:
    node = plugin_node
    node.agent.device("blue", "mlx5_core.sf.4")
    await node.start_kubelet()
    if when == "while it runs":
        await node.start_plugin()
        await node.allocatable(1)
    spoil(node, what, "uid-blue", "blue")
    if when == "before it starts":
        await node.start_plugin()
    # What the byte stands in may be lost or in doubt; what comes later is listed.
    node.agent.device("green", "mlx5_core.sf.5", resource=LATER)
    await plugin_goes_on(node, until=lambda: node.kubelet.capacity().get(LATER) == 1)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            "the checkpoint",
            marks=pytest.mark.xfail(
                strict=True,
                raises=UnicodeDecodeError,
                reason="issue H: the agent ends by a byte of the kubelet's checkpoint that is no UTF-8",
            ),
        ),
        pytest.param(
            "a record",
            marks=pytest.mark.xfail(
                strict=True,
                raises=UnicodeDecodeError,
                reason="issue H: the agent ends by a byte of a record that is no UTF-8, and again when it is started",
            ),
        ),
        pytest.param(
            "an entry of the ledger",
            marks=pytest.mark.xfail(
                strict=True,
                raises=AssertionError,
                reason="issue H: a byte of the ledger that is no UTF-8 is told on the object as a fault of the agent",
            ),
        ),
        "the resource names",
    ],
)
async def test_the_agent_works_on_beside_a_file_with_such_a_byte(agent_node: Cluster, what: str, when: str) -> None:
    node = agent_node
    node.start_agent(resync=0.5)
    await node.apply()
    ready = await node.until_ready()
    await quiet(node, 0.3)
    if when == "before it starts":
        await node.stop_agent()
    spoil(node, what, ready.uid, "blue")
    if when == "before it starts":
        node.start_agent(resync=0.5)
    await agent_goes_on(node)
    await node.apply("green")
    await node.until_ready("green")
    found = {name: await node.get(name) for name in ("blue", "green")}
    unwell = {name: each.status.conditions for name, each in found.items() if each is not None and not is_ready(each)}
    assert unwell == {}
    await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "the record")
