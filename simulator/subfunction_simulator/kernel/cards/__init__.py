"""A card's drivers make devlink instances, ports, sub-functions and netdevs of its functions.

Here live physical functions, sub-functions, their drivers, and what mlx5 and ice do each in its way.
It may import `hardware` and what is below that.
Where the drivers differ, `driver_traits.py` says how.
A newcomer begins with `nic.py`, then `subfunction.py` and `driver.py`.
"""
