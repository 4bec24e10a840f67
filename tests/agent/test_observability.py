"""What the agent tells of itself by HTTP and in its log: on the simulated kernel, before an API server."""

import asyncio
import functools
import json
import signal
import time
from typing import Any

import pytest

from rig.cluster import Cluster
from rig.scrape import ANYWHERE, Scraper
from rig.waiting import eventually
from subfunction.kernel.address import Handle
from subfunction_operator.kube.request_metrics import request_verb

PARENT, OTHER_PARENT = Handle.parse("pci/0000:03:00.0"), Handle.parse("pci/0000:82:00.0")
ABSENT = {"device": "pci/0000:ff:00.0"}
LIST = "the first LIST of this node's SubFunctions"
LOOK = "the first look at the kernel"


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


async def started(node: Cluster, caplog: pytest.LogCaptureFixture, **changes: Any) -> Scraper:
    node.start_agent(listen=ANYWHERE, **changes)
    return await asyncio.to_thread(Scraper.of, caplog.records)


async def until_ready(scraper: Scraper) -> None:
    await eventually(lambda: scraper.get("/readyz").status == 200, "it is ready")


async def until_value(scraper: Scraper, wanted: float, name: str, **labels: str) -> None:
    await eventually(lambda: scraper.value(name, **labels) == wanted, f"{name}{labels} is {wanted}")


async def test_it_is_ready_after_its_first_list_and_look_and_stays_so_while_the_api_server_is_away(
    node: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    node.server.stop()
    scraper = await started(node, caplog, relist=0.2)
    await eventually(lambda: "Cannot connect" in scraper.get("/readyz").text, "it says why there is no list")
    unready = scraper.get("/readyz")
    assert unready.status == 503
    assert unready.text.startswith(f"not ready: {LIST}: GET /version: ")
    assert unready.text.endswith(f"; {LOOK}\n")
    assert scraper.get("/livez")[:2] == (200, "live\n")
    node.server.start()
    await until_ready(scraper)
    missed = scraper.value("subfunction_api_requests_total", code="none")
    node.server.stop()
    await eventually(lambda: scraper.value("subfunction_api_requests_total", code="none") > missed, "it misses it")
    assert scraper.get("/readyz")[:2] == (200, "ready\n")
    assert scraper.value("subfunction_errors_total", reason="ApiUnavailable") > 0


async def test_it_is_not_ready_while_the_kernel_does_not_answer_its_first_look(
    node: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with node.kernel.faults.hang(PARENT), node.kernel.faults.hang(OTHER_PARENT):
        scraper = await started(node, caplog, kernel_deadline=0.2, survey_interval=0.05)
        await eventually(lambda: f"survey {PARENT}" in scraper.get("/readyz").text, "it says what it waits for")
        assert scraper.get("/readyz").text.startswith(f"not ready: {LOOK}: ")
        assert scraper.get("/livez").status == 200  # a restart would not help
    # It tries again when the kernel can have come back, or says something.
    assert scraper.value("subfunction_errors_total", reason="KernelBusy") > 0


async def test_a_life_is_told_in_figures_that_name_no_object(node: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    scraper = await started(node, caplog)
    made = await node.apply("a-certain-name")
    await node.until_ready("a-certain-name")
    await node.apply("wrong", parent=ABSENT)
    await until_value(scraper, 1, "subfunction_subfunctions", flavour="mlx5", phase="Ready")
    await until_value(scraper, 1, "subfunction_subfunctions", flavour="mlx5", phase="Failed")
    await until_value(scraper, 1, "subfunction_subfunctions_not_ready", reason="ParentNotFound")
    assert scraper.value("subfunction_errors_total", reason="ParentNotFound") > 0
    for operation in ("create_port", "activate", "store_record", "write_finalizer", "write_status", "write_event"):
        assert scraper.value("subfunction_operation_seconds_count", operation=operation, flavour="mlx5") > 0, operation
    assert scraper.value("subfunction_operation_seconds_sum", operation="create_port") > 0
    for asked, code in (("list", "200"), ("watch", "200"), ("patch", "200"), ("get", "200"), ("create", "201")):
        assert scraper.value("subfunction_api_requests_total", verb=asked, code=code) > 0, (asked, code)
    assert abs(scraper.value("subfunction_relist_timestamp_seconds") - time.time()) < 60
    await until_value(scraper, 1, "subfunction_backlog", state="later")  # `wrong` is tried again
    assert scraper.value("subfunction_build_info", program="agent") == 1
    assert scraper.value("process_resident_memory_bytes") > 1e7
    told = scraper.get("/metrics").text
    for private in ("a-certain-name", made.uid, "worker-1", "0000:03:00.0"):
        assert private not in told
    await node.delete("a-certain-name")
    await node.until_gone("a-certain-name")
    await until_value(scraper, 0, "subfunction_subfunctions", phase="Ready")
    assert scraper.value("subfunction_operation_seconds_count", operation="delete_port") == 1


async def test_a_watch_that_ended_is_counted(node: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    scraper = await started(node, caplog)
    await until_ready(scraper)
    await node.until(lambda: bool(node.server.asked("watch")), "a watch")
    assert scraper.value("subfunction_watch_restarts_total") == 0
    traffic = node.server.api.traffic
    node.server.call(functools.partial(traffic.fail_watches, 500, "subfunctions"))
    await until_value(scraper, 1, "subfunction_watch_restarts_total")


async def test_it_answers_while_its_own_loop_stands_still(node: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    scraper = await started(node, caplog)
    await until_ready(scraper)
    # These block the loop that the agent runs in: it is this test's own.
    assert scraper.get("/livez").status == 200
    assert scraper.get("/metrics").status == 200
    first = scraper.value("subfunction_heartbeat_age_seconds", loop="main")
    assert scraper.value("subfunction_heartbeat_age_seconds", loop="main") > first
    assert {each.labels["loop"] for each in scraper.samples() if "heartbeat" in each.name} == {"main", "watch"}


async def test_as_a_program_it_says_where_it_listens_and_its_log_is_json_that_names_node_and_object(
    node: Cluster,
) -> None:
    log = node.root / "log"
    with log.open("wb") as file:
        command = node.command(listen="[::1]:0", log_format="json", log_level="debug")
        process = await asyncio.create_subprocess_exec(*command, stdout=file, stderr=file)
    await node.apply("blue", parent=ABSENT)
    await eventually(lambda: "ParentNotFound" in log.read_text(), "it speaks of the object", within=30)
    found = Scraper.named_in(log.read_text().splitlines())
    assert found is not None
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0, log.read_text()
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["node"] for line in told} == {"worker-1"}
    [start] = [line["message"] for line in told if line["message"].startswith("subfunction-operator agent ")]
    assert " listen=[::1]:0 " in start
    assert f" sysfs={node.root / 'kernel' / 'sys'} " in start
    steps = [line for line in told if "the parent pci/0000:ff:00.0 is not on this node" in line["message"]]
    assert {line["object"] for line in steps} == {"blue"}


@pytest.mark.parametrize(("listen", "said"), [("9341", "'9341' is no address to listen on"), (None, "already in use")])
async def test_where_it_cannot_listen_it_ends_with_a_sentence(node: Cluster, listen: str | None, said: str) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        command = node.command(listen=listen or f"127.0.0.1:{port}")
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, complaint = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert said in complaint.decode()
    assert b"Traceback" not in complaint


@pytest.mark.parametrize(
    ("method", "path", "watching", "wanted"),
    [
        ("GET", "/apis/subfunction.dev/v1alpha1/subfunctions", False, "list"),
        ("GET", "/apis/subfunction.dev/v1alpha1/subfunctions", True, "watch"),
        ("GET", "/apis/subfunction.dev/v1alpha1/subfunctions/blue", False, "get"),
        ("GET", "/api/v1/nodes/worker-1", False, "get"),
        ("GET", "/api/v1/namespaces/default/events", False, "list"),
        ("GET", "/apis/subfunction.dev/v1alpha1", False, "get"),
        ("GET", "/version", False, "get"),
        ("POST", "/api/v1/namespaces/default/events", False, "create"),
        ("PATCH", "/apis/subfunction.dev/v1alpha1/subfunctions/blue/status", False, "patch"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/x/leases/y", False, "update"),
        ("DELETE", "/apis/subfunction.dev/v1alpha1/subfunctions/blue", False, "delete"),
    ],
)
def test_a_request_is_called_what_a_role_calls_it(method: str, path: str, watching: bool, wanted: str) -> None:  # noqa: FBT001
    assert request_verb(method, path, watching=watching) == wanted
