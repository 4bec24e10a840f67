"""What the controller tells of itself by HTTP."""

import asyncio
import functools

import pytest

from fleet.fleet import Fleet
from rig.scrape import ANYWHERE, Scraper
from rig.waiting import eventually


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


async def started(fleet: Fleet, caplog: pytest.LogCaptureFixture, identity: str) -> Scraper:
    caplog.clear()
    fleet.start_controller(identity=identity, listen=ANYWHERE)
    return await asyncio.to_thread(Scraper.of, caplog.records)


async def test_who_has_the_lease_and_who_waits_for_it_are_both_ready_and_only_one_leads(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    one = await started(fleet, caplog, "one")
    await eventually(lambda: one.value("subfunction_leader") == 1, "it has the Lease")
    await eventually(lambda: one.get("/readyz")[:2] == (200, "ready\n"), "it has listed all")
    other = await started(fleet, caplog, "other")
    await eventually(lambda: other.value("subfunction_api_requests_total", verb="get") > 0, "it looks at the Lease")
    assert other.value("subfunction_leader") == 0
    assert other.get("/readyz")[:2] == (200, "ready\n")
    assert one.get("/livez")[:2] == (200, "live\n")
    for verb in ("list", "watch", "update"):
        asked = functools.partial(one.value, "subfunction_api_requests_total", verb=verb, code="200")
        await eventually(asked, f"it has asked to {verb}")
    assert other.value("subfunction_api_requests_total", verb="watch") == 0
    assert one.value("subfunction_build_info", program="controller") == 1


async def test_with_the_lease_it_is_not_ready_before_all_is_listed(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    traffic = fleet.server.api.traffic
    fleet.server.call(lambda: traffic.answer_next(1000, 503, verb="list", resource="nodes"))
    scraper = await started(fleet, caplog, "one")
    await eventually(lambda: scraper.value("subfunction_leader") == 1, "it has the Lease")
    await eventually(lambda: scraper.get("/readyz").status == 503, "it waits")
    assert scraper.get("/readyz").text == (
        "not ready: the first LIST of Nodes, SubFunctionNodes, SubFunctions and pools\n"
    )


async def test_one_that_fits_nowhere_is_counted_and_not_named(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    scraper = await started(fleet, caplog, "one")
    body = {
        "apiVersion": "subfunction.dev/v1alpha1",
        "kind": "SubFunction",
        "metadata": {"name": "a-certain-name"},
        "spec": {"flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}, "nodeSelector": {"nic": "no"}},
    }
    await fleet.request("POST", "/apis/subfunction.dev/v1alpha1/subfunctions", body)
    await eventually(lambda: scraper.value("subfunction_subfunctions_unplaced") == 1, "it is counted")
    assert "a-certain-name" not in scraper.get("/metrics").text
