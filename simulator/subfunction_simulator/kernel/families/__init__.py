"""A netlink family has commands, and answers requests for them.

Here live `nlctrl`, `devlink`, `vdpa`, and rtnetlink's messages about links.
It may import `cards` and what is below that.
An answer is a list of bodies; `kernel.py` puts headers and acknowledgements around them.
A newcomer begins with `devlink.py`.
"""
