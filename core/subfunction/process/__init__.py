"""The parts that every long-running program needs: settings, logging, metrics, probes, signals.

`http_server.py` serves `/metrics`, `/livez` and `/readyz`; `signals.py` runs jobs until SIGTERM; `session_sockets.py`
ends the connections of an HTTP client.
It imports `subfunction.errors` and `api/reasons.py`, nothing that speaks to the kernel or the API server.
Begin with `http_server.py`.
"""
