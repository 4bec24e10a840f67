"""How a client tells a quiet watch from a dead one. It takes a minute, so it stands first, and others run meanwhile."""

import kopf

from components.controlplane import ADMIN, ControlPlane
from rig.cluster import COLLECTION
from subfunction_operator.kube.credentials import Credentials, FixedToken
from subfunction_simulator.apiserver.client import Client

SUBFUNCTION = {
    "apiVersion": "subfunction.dev/v1alpha1",
    "kind": "SubFunction",
    "metadata": {"name": "blue"},
    "spec": {"nodeName": "n1", "flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}},
}


async def test_a_watch_hears_something_every_minute_so_that_a_longer_silence_is_a_fault(plane: ControlPlane) -> None:
    silence = kopf.OperatorSettings().watching.inactivity_timeout
    assert silence is not None
    async with Credentials(plane.url, FixedToken(ADMIN), plane.tls()).session() as session:
        client = Client(session, plane.url)
        listed = await client("GET", COLLECTION)
        query = {"resourceVersion": listed.metadata["resourceVersion"], "allowWatchBookmarks": "true"}
        async with client.watch(COLLECTION, **query) as events:
            # There are bookmarks only once something happened to the kind since the server, or its CRD, came up.
            await client("POST", COLLECTION, SUBFUNCTION)
            assert await events.take(1) == [("ADDED", "blue")]
            kind, _ = await events.next(silence)
    assert kind == "BOOKMARK"
