"""The embedded API server serves Kubernetes' API from one process, in memory.

Here live the HTTP server, the requests about objects, the seam for faults (`traffic.py`), a plain client, and rooms.
It may import the ground (`subfunction`), and nothing else of the simulator.
Rooms, from the bottom: kinds, storage, then writes beside answers; `pyproject.toml` has the order.
A newcomer begins with `server.py`, then `resource_api.py`.
"""

from subfunction_simulator.apiserver.run import ServerSettings, serve
from subfunction_simulator.apiserver.server import AddressInUseError, ApiServer

__all__ = ["AddressInUseError", "ApiServer", "ServerSettings", "serve"]
