"""Says what a kernel's release (`uname -r`) tells of its devlink."""

import re


def filters_lists(release: str) -> bool:
    """Return whether a kernel of that release filters the lists of ports by their instance, as Devlink is to be told.

    Linux 6.5 and later do; earlier ones go through all instances (net/devlink/port.c).
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is None or (int(found[1]), int(found[2])) >= (6, 5)
