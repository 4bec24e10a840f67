"""The kubelet's probe on a port that others reach too: it is answered, however many of them keep silent."""

import contextlib
import socket

import pytest

from rig.scrape import Answer, Scraper
from subfunction.process.http_server import Address, Listener
from subfunction.process.metrics import PluginMetrics
from subfunction.process.probes import Probes


def probed_beside(silent: int) -> Answer | OSError:
    """What the kubelet hears while so many have connected and say nothing."""
    with (
        Listener(Address.parse("127.0.0.1:0"), PluginMetrics(), Probes(tuple)) as listener,
        contextlib.ExitStack() as connections,
    ):
        for _ in range(silent):
            connections.enter_context(socket.create_connection(("127.0.0.1", listener.port), timeout=2))
        try:
            return Scraper(listener.port).get("/livez")
        except OSError as error:  # sent back by the one or the other way to break off
            return error


@pytest.mark.parametrize(
    "silent",
    [
        60,
        pytest.param(
            64,
            marks=pytest.mark.xfail(
                strict=True,
                raises=AssertionError,
                reason="issue H: 64 silent connections are all that it takes, and the kubelet's probe is closed too",
            ),
        ),
        pytest.param(
            200,
            marks=pytest.mark.xfail(
                strict=True,
                raises=AssertionError,
                reason="issue H: who connects first keeps the kubelet's probe out",
            ),
        ),
    ],
)
def test_the_kubelets_probe_is_answered_while_others_keep_silent(silent: int) -> None:
    heard = probed_beside(silent)
    assert isinstance(heard, Answer), heard
    assert heard.status == 200
