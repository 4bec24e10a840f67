"""What an API server says of an object: asked by dry runs, so that nothing of it stays."""

from dataclasses import dataclass

from subfunction_simulator.apiserver.client import Answer, Client
from subfunction_simulator.apiserver.objects import JsonObject


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer: the object as it would be stored, or a refusal with its causes."""

    code: int
    body: JsonObject

    @property
    def accepted(self) -> bool:
        """Whether it would be stored; raises AssertionError for a refusal, so that its words are seen."""
        assert self.code in (200, 201), self.body
        return True

    @property
    def causes(self) -> list[tuple[str, str]]:
        """The field and the sentence of each cause of a refusal."""
        assert self.code == 422, (self.code, self.body)
        return [(cause["field"], cause["message"]) for cause in self.body["details"]["causes"]]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reason of each cause of a refusal."""
        assert self.code == 422, (self.code, self.body)
        return tuple(cause["reason"] for cause in self.body["details"]["causes"])

    def says(self, field: str, sentence: str) -> bool:
        """Whether a cause is at that field, and its sentence begins so (after the value that was wrong)."""
        return any(at == field and f": {sentence}" in said for at, said in self.causes)


class Judge:
    """Asks a server about objects of the project's kinds."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def created(self, obj: JsonObject) -> Judgement:
        """Judge the creation of an object."""
        return _judgement(await self._client("POST", _collection(obj), obj, dryRun="All"))

    async def changed(self, old: JsonObject, new: JsonObject) -> Judgement:
        """Judge the change of an object, status and all, to another but for its status."""
        made = await self._made(old)
        if "status" in old:
            made = await self._client("PUT", f"{_path(old)}/status", made.body | {"status": old["status"]})
        return await self._put(_path(old), made, new)

    async def reported(self, obj: JsonObject) -> Judgement:
        """Judge the status of an object."""
        return await self._put(f"{_path(obj)}/status", await self._made(obj), obj)

    async def _made(self, obj: JsonObject) -> Answer:
        made = await self._client("POST", _collection(obj), obj)
        assert made.code == 201, made.body
        return made

    async def _put(self, path: str, made: Answer, obj: JsonObject) -> Judgement:
        metadata = obj["metadata"] | {"resourceVersion": made.metadata["resourceVersion"]}
        try:
            return _judgement(await self._client("PUT", path, obj | {"metadata": metadata}, dryRun="All"))
        finally:
            await self._client("DELETE", path.removesuffix("/status"))


def _judgement(answer: Answer) -> Judgement:
    return Judgement(answer.code, answer.body)


def _collection(obj: JsonObject) -> str:
    return f"/apis/{obj['apiVersion']}/{obj['kind'].lower()}s"


def _path(obj: JsonObject) -> str:
    return f"{_collection(obj)}/{obj['metadata']['name']}"
