"""Discovery tells what is served, as old clients ask (a request a group) and as newer ones (aggregated, KEP-3352)."""

from typing import Final

from subfunction_simulator.apiserver.kinds import scale
from subfunction_simulator.apiserver.kinds.catalogue import Catalogue
from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject

STATUS_VERBS = ["get", "patch", "update"]


MINOR: Final = 36
"""The Kubernetes 1 that this server behaves like."""


def version(minor: int = MINOR) -> JsonObject:
    """Give `/version`, as that of a minor release."""
    return {
        "major": "1",
        "minor": str(minor),
        "gitVersion": f"v1.{minor}.2+simulator",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "python",
        "platform": "linux/amd64",
    }


def core_versions() -> JsonObject:
    """Give `/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(catalogue: Catalogue) -> JsonObject:
    """Give `/apis`."""
    groups = [group(catalogue, name) for name in catalogue.groups()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(catalogue: Catalogue, name: str) -> JsonObject:
    """Give `/apis/GROUP`."""
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in catalogue.versions(name)]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(catalogue: Catalogue, group: str, version: str) -> JsonObject:
    """Give `/api/v1` and `/apis/GROUP/VERSION`."""
    resources: list[JsonObject] = []
    for resource in catalogue.within(group, version):
        entry: JsonObject = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        resources.append(entry)
        for name in resource.subresources:
            kind = scale.KIND if name == scale.SUBRESOURCE else {"kind": resource.kind}
            below = {"name": f"{resource.plural}/{name}", "singularName": "", "verbs": STATUS_VERBS}
            resources.append({**below, "namespaced": resource.namespaced, **kind})
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def aggregate(catalogue: Catalogue, groups: tuple[str, ...], form: str) -> JsonObject:
    """Give `/api` (the group "") and `/apis` for a client that asks for all in one; `form` is `v2` or `v2beta1`."""
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{form}",
        "metadata": {},
        "items": [_group_discovery(catalogue, name) for name in groups],
    }


def _group_discovery(catalogue: Catalogue, name: str) -> JsonObject:
    versions = [
        {
            "version": version,
            "freshness": "Current",
            "resources": [_resource_discovery(resource) for resource in catalogue.within(name, version)],
        }
        for version in catalogue.versions(name)
    ]
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}


def _resource_discovery(resource: Resource) -> JsonObject:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: JsonObject = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    kinds = {name: scale.KIND if name == scale.SUBRESOURCE else kind for name in resource.subresources}
    if kinds:
        entry["subresources"] = [
            {"subresource": name, "responseKind": of, "verbs": STATUS_VERBS} for name, of in kinds.items()
        ]
    return entry
