"""An Event of the API, before it is posted."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line in `kubectl describe`; `warning` is what a person should look at."""

    reason: str
    message: str
    warning: bool = False
