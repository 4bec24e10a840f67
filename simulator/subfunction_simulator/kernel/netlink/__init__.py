"""Netlink's bytes, as the kernel reads and writes them.

Here live the numbers of the headers, the requests and replies on the wire, and the multicast groups.
It may import the ground (`subfunction`), and nothing else of the simulator.
A refusal (`wire.Refusal`) is raised anywhere above, and becomes an errno here.
A newcomer begins with `wire.py`.
"""
