"""What service accounts asked of the real API server, in its own words: its audit log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

POLICY: Final = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
  - {level: None}
"""
"""Who is who and asked for what; and of the tests' own administrators nothing."""


@dataclass(frozen=True, slots=True)
class Audited:
    """One request, as the authorizer saw it, and how it was answered."""

    user: str
    verb: str
    group: str
    resource: str
    """With its subresource, as a role names it; empty where a path was asked for."""
    namespace: str
    name: str
    path: str
    code: int

    @classmethod
    def of(cls, event: Any) -> Self:
        """Read one line of the log."""
        about = event.get("objectRef") or {}
        parts = (about.get("resource"), about.get("subresource"))
        return cls(
            user=event["user"]["username"],
            verb=event["verb"],
            group=about.get("apiGroup", ""),
            resource="/".join(part for part in parts if part),
            namespace=about.get("namespace", ""),
            name=about.get("name", ""),
            path=event["requestURI"].partition("?")[0],
            code=event.get("responseStatus", {}).get("code", 0),
        )


def requests(log: Path, user: str) -> Iterator[Audited]:
    """What a user asked so far; a watch that is open is told of twice, at its begin and its end."""
    for line in log.read_text().splitlines() if log.exists() else ():
        if (audited := Audited.of(json.loads(line))).user == user:
            yield audited


@dataclass(frozen=True, slots=True)
class Account:
    """A service account whose requests are looked at, from some moment on."""

    log: Path
    user: str
    already: int

    @classmethod
    def of(cls, log: Path, namespace: str, name: str) -> Self:
        """Look at what it asks from now on."""
        user = f"system:serviceaccount:{namespace}:{name}"
        return cls(log, user, len(list(requests(log, user))))

    def asked(self) -> list[Audited]:
        """What it has asked since."""
        return list(requests(self.log, self.user))[self.already :]

    def refused(self) -> list[Audited]:
        """Of these, what it may not."""
        return [each for each in self.asked() if each.code in (401, 403)]

    def used(self) -> frozenset[tuple[str, str, str]]:
        """The rights that it needed: verb, API group, and resource with its subresource."""
        return frozenset((each.verb, each.group, each.resource) for each in self.asked() if each.resource)

    def paths(self) -> list[str]:
        """What it asked that is no resource, but for what every account may read by Kubernetes' own roles."""
        return [each.path for each in self.asked() if not each.resource and not each.path.startswith(_OPEN_TO_ALL)]


_OPEN_TO_ALL: Final = ("/api", "/apis", "/openapi", "/version")
