"""The SubFunctionNode as the API server has it: found, made, owned by the Node, its status replaced."""

import dataclasses
from typing import Any, Final

import msgspec

from subfunction.api import GROUP, VERSION
from subfunction.api_node import (
    NODE_PLURAL,
    NodeMetadata,
    NodeStatus,
    OwnerReference,
    SubFunctionNode,
    manifest,
)
from subfunction.errors import ApiRefused, NodeNotFound
from subfunction_operator.apiserver import ApiServer

_COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}"


@dataclasses.dataclass(frozen=True, slots=True)
class NodeClient:
    """One node's object, at one API server. Each verb is one request."""

    server: ApiServer

    async def owner(self) -> OwnerReference:
        """Read the Node whose object it is (`kubectl get node NAME`).

        Raises:
            NodeNotFound: there is no such Node.
            ApiRefused: we may not read it.
        """
        name = self.server.node
        found = await self._get(f"/api/v1/nodes/{name}")
        if found is None:
            hint = "`--node-name` is the name that `kubectl get nodes` prints."
            raise NodeNotFound(f"the cluster has no Node {name}", status=404, hint=hint)
        return OwnerReference.of_node(name, str(found["metadata"]["uid"]))

    async def find(self) -> SubFunctionNode | None:
        """Read the object (`kubectl get sfnode NAME`); None only where the server answered that there is none."""
        found = await self._get(f"{_COLLECTION}/{self.server.node}")
        return None if found is None else _known(found)

    async def make(self, owner: OwnerReference) -> SubFunctionNode:
        """Make the object, still without a status.

        Raises:
            ApiConflict: somebody was faster.
            ApiRefused: the CRD is not installed, or we may not make one.
        """
        return _known(await self.server.request("POST", _COLLECTION, manifest(owner)))

    async def give_to(self, found: SubFunctionNode, owner: OwnerReference) -> SubFunctionNode:
        """Let the Node of now own the object: the garbage collector ends with a Node what that Node owned."""
        return await self._patched(found, "/metadata/ownerReferences", [msgspec.to_builtins(owner)])

    async def write(self, found: SubFunctionNode, status: NodeStatus) -> SubFunctionNode:
        """Replace the status; we are its only writer, so the object need not be the newest, but must be the same."""
        return await self._patched(found, "/status", msgspec.to_builtins(status), "/status")

    async def _patched(self, found: SubFunctionNode, path: str, value: Any, below: str = "") -> SubFunctionNode:
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": found.metadata.uid},
            {"op": "add", "path": path, "value": value},
        ]
        where = f"{_COLLECTION}/{self.server.node}{below}"
        return _known(await self.server.request("PATCH", where, patch, "application/json-patch+json"))

    async def _get(self, path: str) -> Any:
        try:
            return await self.server.request("GET", path)
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise


def _known(body: Any) -> SubFunctionNode:
    try:
        return SubFunctionNode.of(body)
    except msgspec.ValidationError:
        # Another version's words, or a person's: the object is ours, and what we do not understand we write anew.
        return SubFunctionNode(metadata=msgspec.convert(body["metadata"], NodeMetadata))
