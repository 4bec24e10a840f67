"""What the device plugin tells of itself: by HTTP from a port of its own."""

import asyncio

import grpc
import pytest
from tests.deviceplugin.conftest import RESOURCE, Node

from rig.scrape import ANYWHERE, Scraper
from rig.waiting import eventually
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import DevicePluginStub
from subfunction.state.records import Health
from subfunction_simulator.kubelet.device_manager.plugincalls import StartFailed

ID = "mlx5_core.sf.4"


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


async def started(node: Node, caplog: pytest.LogCaptureFixture) -> Scraper:
    await node.start_plugin(listen=ANYWHERE)
    return await asyncio.to_thread(Scraper.of, caplog.records)


async def until_ready(scraper: Scraper) -> None:
    await eventually(lambda: scraper.get("/readyz")[:2] == (200, "ready\n"), "it is ready")


async def until_registered(scraper: Scraper, times: int) -> None:
    registered = "subfunction_registrations_total"
    await eventually(lambda: scraper.value(registered, resource=RESOURCE) == times, f"registered {times} times")


async def test_it_is_not_ready_until_the_kubelet_has_opened_its_list_and_again_after_a_restart(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.agent.device("a", ID)
    scraper = await started(node, caplog)
    await eventually(lambda: RESOURCE in scraper.get("/readyz").text, "it names the resource")
    unready = scraper.get("/readyz")
    assert unready.status == 503
    assert unready.text.startswith(f"not ready: {RESOURCE}: the kubelet has not opened its list")
    assert f"there is none in {node.sockets}" in unready.text
    assert scraper.get("/livez").status == 200
    await node.start_kubelet()
    await until_ready(scraper)
    assert scraper.value("subfunction_list_streams", resource=RESOURCE) == 1
    await until_registered(scraper, 1)
    await node.kubelet.stop()
    await eventually(lambda: scraper.get("/readyz").status == 503, "it says that the kubelet is gone")
    assert scraper.value("subfunction_list_streams", resource=RESOURCE) == 0
    await node.kubelet.start()
    await until_ready(scraper)
    await until_registered(scraper, 2)


async def test_with_nothing_to_offer_it_is_ready_once_it_has_looked(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    scraper = await started(node, caplog)
    await until_ready(scraper)


async def test_what_it_lists_hands_out_and_refuses_is_told_in_figures(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    record = node.agent.device("certain", ID)
    node.agent.device("other", "mlx5_core.sf.5", health=Health(reason="NotSwitchdev", message="legacy"))
    await node.start_kubelet()
    scraper = await started(node, caplog)
    await node.allocatable(1, of=2)
    assert scraper.value("subfunction_devices", resource=RESOURCE, health="Healthy") == 1
    assert scraper.value("subfunction_devices", resource=RESOURCE, health="Unhealthy") == 1
    assert scraper.value("subfunction_devices_unhealthy", reason="NotReady") == 1
    pod, _ = await node.run()
    assert scraper.value("subfunction_allocations_total", resource=RESOURCE) == 1
    [socket] = node.sockets.glob("subfunction-*.sock")
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=["none"])])
        with pytest.raises(grpc.aio.AioRpcError):
            await DevicePluginStub(channel).Allocate(request)
    assert scraper.value("subfunction_allocations_refused_total", reason="UnknownDevice") == 1
    assert scraper.value("subfunction_allocation_seconds_count") == 2
    node.agent.replug(ID)
    with pytest.raises(StartFailed):
        await node.kubelet.start_container(pod.uid, "app")
    assert scraper.value("subfunction_prestarts_refused_total", reason="StaleAllocation") == 1
    assert scraper.value("subfunction_build_info", program="device-plugin") == 1
    told = scraper.get("/metrics").text
    for private in (ID, record.uid, record.name, pod.name):
        assert private not in told
