"""The scale subresource shows each kind that has it as the same small object (autoscaling/v1), as autoscalers want."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from subfunction_simulator.apiserver.objects import JsonObject, dig
from subfunction_simulator.apiserver.status import FieldError, RefusedError

SUBRESOURCE: Final = "scale"
KIND: Final = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_SHOWN: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Scale:
    """A kind says where it keeps what its scale shows (`subresources.scale` of a CRD)."""

    wanted: tuple[str, ...]
    counted: tuple[str, ...]
    selector: tuple[str, ...] | None = None

    @classmethod
    def read(cls, written: JsonObject | None) -> "Scale | None":
        """Read where a CRD's version says that its scale is; None where it has no scale."""
        if written is None:
            return None
        path = written.get("labelSelectorPath")
        return cls(
            _steps(written["specReplicasPath"]), _steps(written["statusReplicasPath"]), _steps(path) if path else None
        )

    def of(self, obj: JsonObject) -> JsonObject:
        """Give the scale of an object."""
        status: JsonObject = {"replicas": dig(obj, self.counted) or 0}
        if self.selector is not None and (text := dig(obj, self.selector)):
            status["selector"] = text
        return {
            "kind": KIND["kind"],
            "apiVersion": f"{KIND['group']}/{KIND['version']}",
            "metadata": {name: obj["metadata"][name] for name in _SHOWN if name in obj["metadata"]},
            "spec": {"replicas": dig(obj, self.wanted) or 0},
            "status": status,
        }

    def convert_change(self, change: Callable[[JsonObject], JsonObject]) -> Callable[[JsonObject], JsonObject]:
        """Turn a change of a scale into a change of its object, which raises RefusedError (422) below zero."""

        def change_object(obj: JsonObject) -> JsonObject:
            scale = change(self.of(obj))
            replicas = dig(scale, ("spec", "replicas")) or 0
            if not isinstance(replicas, int) or replicas < 0:
                error = FieldError("FieldValueInvalid", "spec.replicas", "must be greater than or equal to 0", replicas)
                raise RefusedError.invalid(KIND["group"], KIND["kind"], obj["metadata"]["name"], [error])
            given = {
                name: scale["metadata"][name] for name in ("uid", "resourceVersion") if scale["metadata"].get(name)
            }
            return {**_put(obj, self.wanted, replicas), "metadata": {**obj["metadata"], **given}}

        return change_object


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(".").split("."))


def _put(obj: JsonObject, path: tuple[str, ...], value: Any) -> JsonObject:
    name, *rest = path
    return {**obj, name: _put(obj.get(name) or {}, tuple(rest), value) if rest else value}
