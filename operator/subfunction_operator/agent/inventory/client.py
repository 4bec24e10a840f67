"""The agent's requests for its SubFunctionNode: read, create, set the owner, replace the status."""

import dataclasses
from typing import Any, Final

import msgspec

from subfunction.api.node import NODE_PLURAL, NodeMetadata, NodeStatus, OwnerReference, SubFunctionNode, build_manifest
from subfunction.api.subfunction import GROUP, VERSION
from subfunction.errors import NodeNotFound
from subfunction_operator.agent.api.client import SubFunctionClient
from subfunction_operator.kube.rest import JSON_PATCH, build_patch, ignore_not_found

_COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}"


@dataclasses.dataclass(frozen=True, slots=True)
class InventoryClient:
    """Requests for one node's object; each method is one request."""

    client: SubFunctionClient

    async def read_owner(self) -> OwnerReference:
        """Return a reference to the Node that owns the object (`kubectl get node NAME`).

        Raises:
            NodeNotFound: there is no such Node.
            ApiRefused: our role may not read it.
        """
        name = self.client.node
        found = await ignore_not_found(self.client.request("GET", f"/api/v1/nodes/{name}"))
        if found is None:
            hint = "`--node-name` is the name that `kubectl get nodes` prints."
            raise NodeNotFound(f"the cluster has no Node {name}", status=404, hint=hint)
        return OwnerReference.of_node(name, str(found["metadata"]["uid"]))

    async def get(self) -> SubFunctionNode | None:
        """Return the object (`kubectl get sfnode NAME`), None only where the server answered 404."""
        found = await ignore_not_found(self.client.request("GET", f"{_COLLECTION}/{self.client.node}"))
        return None if found is None else _decode(found)

    async def create(self, owner: OwnerReference) -> SubFunctionNode:
        """Create the object, still without a status.

        Raises:
            ApiConflict: it exists already.
            ApiRefused: the CRD is not installed, or our role may not create one.
        """
        return _decode(await self.client.request("POST", _COLLECTION, build_manifest(owner)))

    async def set_owner(self, found: SubFunctionNode, owner: OwnerReference) -> SubFunctionNode:
        """Set the present Node as owner: the garbage collector deletes the object of a Node that is deleted."""
        return await self._patch(found, "/metadata/ownerReferences", [msgspec.to_builtins(owner)])

    async def update_status(self, found: SubFunctionNode, status: NodeStatus) -> SubFunctionNode:
        """Replace the status; we are its only writer, so that only the uid must match, not the version."""
        return await self._patch(found, "/status", msgspec.to_builtins(status), "/status")

    async def _patch(self, found: SubFunctionNode, path: str, value: Any, below: str = "") -> SubFunctionNode:
        patch = build_patch(found.metadata.uid, path, value)
        return _decode(
            await self.client.request("PATCH", f"{_COLLECTION}/{self.client.node}{below}", patch, JSON_PATCH)
        )


def _decode(body: Any) -> SubFunctionNode:
    try:
        return SubFunctionNode.of(body)
    except msgspec.ValidationError:
        # Written by another version, or by a person: the object is ours, so that a status we cannot decode is replaced.
        return SubFunctionNode(metadata=msgspec.convert(body["metadata"], NodeMetadata))
