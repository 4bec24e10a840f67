"""A client needs the API server's address, and a token that says who it is."""

import base64
import dataclasses
import ssl
from typing import Any, Self

import yaml

from subfunction.errors import SubFunctionError
from subfunction_simulator.kubelet.settings import KubeletSettings


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """An access has an API server's URL, without a slash at its end, and a bearer token."""

    url: str
    token: str | None = None
    authority: str | None = None
    """The certificates to trust it by, as PEM text; None: those of this machine."""

    def tls(self) -> ssl.SSLContext | bool:
        """Say how its certificate is checked, where it has one."""
        return ssl.create_default_context(cadata=self.authority) if self.url.startswith("https:") else True

    @classmethod
    def of(cls, settings: KubeletSettings) -> Self:
        """Take what the settings name.

        Raises:
            SubFunctionError: they name nothing, or a kubeconfig that cannot be used.
        """
        if settings.kubeconfig is None:
            if settings.server is None:
                raise SubFunctionError("no API server is named", hint="Give --server URL or --kubeconfig FILE.")
            return cls(settings.server.rstrip("/"), settings.token)
        try:
            config = yaml.safe_load(settings.kubeconfig.read_text(encoding="utf-8"))
            context = _find_named(config, "contexts", config["current-context"])["context"]
            cluster = _find_named(config, "clusters", context["cluster"])["cluster"]
            user = _find_named(config, "users", context["user"])["user"] or {}
            data = cluster.get("certificate-authority-data")
            authority = base64.b64decode(data).decode() if data else None
            return cls(cluster["server"].rstrip("/"), user.get("token"), authority)
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration) as error:
            raise SubFunctionError(
                f"{settings.kubeconfig} is no kubeconfig to use: {error!r}",
                hint="The API server of `subfunction-simulator apiserver --kubeconfig FILE` writes one.",
            ) from error


def _find_named(config: Any, kind: str, name: str) -> Any:
    return next(each for each in config[kind] if each["name"] == name)
