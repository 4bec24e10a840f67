"""devlink has instances, ports and rates, as the core of devlink keeps them.

Here live the state of instances and ports and its encoding; the commands that ask for it live in `families`.
It may import `network` and what is below that.
A port knows its sub-function as a protocol (`port_function.py`), which `cards` fills in.
A newcomer begins with `instance.py`.
"""
