"""The nodes and clusters on which the API server's client is tried: those of the agent's and the controller's tests."""

from tests.agent.conftest import node, pair
from tests.controller.conftest import api, api_server, fleet

__all__ = ["api", "api_server", "fleet", "node", "pair"]
