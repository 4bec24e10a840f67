"""The embedded API server."""

from subfunction_simulator.apiserver.run import ServerSettings, serve
from subfunction_simulator.apiserver.server import AddressInUseError, ApiServer

__all__ = ["AddressInUseError", "ApiServer", "ServerSettings", "serve"]
