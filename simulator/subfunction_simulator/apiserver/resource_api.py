"""An HTTP request about objects becomes a verb, from its query and body, and an answer."""

import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from aiohttp import web

from subfunction_simulator.apiserver.answers.accept import Form, negotiate
from subfunction_simulator.apiserver.answers.page import Token, page
from subfunction_simulator.apiserver.kinds.place import Place
from subfunction_simulator.apiserver.kinds.scale import SUBRESOURCE, Scale
from subfunction_simulator.apiserver.media_types import APPLY_PATCH
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import FieldError, RefusedError
from subfunction_simulator.apiserver.storage.selector import Selection, select
from subfunction_simulator.apiserver.storage.store import Store
from subfunction_simulator.apiserver.storage.watch import LONGEST, CutError, Stream, WatchOptions
from subfunction_simulator.apiserver.traffic import Asked, Traffic
from subfunction_simulator.apiserver.writes.decoding import WriteOptions
from subfunction_simulator.apiserver.writes.patch import apply_patch, read_applied_config
from subfunction_simulator.apiserver.writes.registry import Preconditions, Registry

_TRUE: Final = frozenset({"1", "true", "True"})
_ITEM_VERBS: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS: Final = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


def verb_of(method: str, place: Place, query: Mapping[str, str]) -> str:
    """Name the verb of a request, as RBAC does; raises RefusedError (405) where the method is not served."""
    verb = (_ITEM_VERBS if place.name else _COLLECTION_VERBS).get(method)
    if verb == "list" and query.get("watch") in _TRUE:
        return "watch"
    resource = place.resource
    creates_nowhere = verb == "create" and resource.namespaced and place.namespace is None
    if verb is None or verb not in resource.verbs or creates_nowhere or (place.subresource and verb == "delete"):
        raise RefusedError.method_not_allowed()
    return verb


@dataclass(frozen=True, slots=True)
class ResourceApi:
    """The resource API answers the requests about objects."""

    store: Store
    registry: Registry
    traffic: Traffic
    bookmark_seconds: float

    async def answer(self, request: web.Request, place: Place) -> web.StreamResponse:
        """Answer a request about a place; raises RefusedError."""
        query = request.query
        verb = verb_of(request.method, place, query)
        asked = Asked(verb, place.resource.plural, place.subresource, place.name, dict(query))
        self.traffic.note(asked, request.headers.get("User-Agent", ""))
        form = negotiate(request.headers.get("Accept", ""), query.get("includeObject", ""))
        options = WriteOptions(query.get("fieldValidation") or "Warn", query.get("dryRun") == "All", _manager(request))
        resource, code = place.resource, 200
        if place.subresource == SUBRESOURCE and resource.scale:
            return _json(await self._scale(request, place, resource.scale, options), code, options.warnings)
        match verb:
            case "get":
                answer = form.one(resource, self.store.get(resource, place.key))
            case "list":
                answer = self._list(place, query, form)
            case "watch":
                return await self._watch(request, place, form)
            case "create":
                code, body = 201, await _object(request)
                answer = form.one(resource, self.registry.create(place, body, options))
            case "update":
                answer = form.one(resource, self.registry.replace(place, await _object(request), options))
            case "patch" if request.content_type == APPLY_PATCH:
                obj, is_new = await self._apply(request, place, options)
                answer, code = form.one(resource, obj), 201 if is_new else 200
            case "patch":
                change = partial(apply_patch, request.content_type, await request.read(), strategic=not resource.schema)
                answer = form.one(resource, self.registry.patch(place, change, options))
            case "delete":
                answer = await self._delete(request, place, options)
            case _:
                removed = self.registry.delete_all(resource, _selection(place, query), options)
                answer = form.many(resource, removed, {"resourceVersion": str(self.store.revision)})
        self.traffic.finish(asked)
        return _json(answer, code, options.warnings)

    async def _scale(self, request: web.Request, place: Place, scale: Scale, options: WriteOptions) -> JsonObject:
        whole = replace(place, subresource="")
        if request.method == "GET":
            return scale.of(self.store.get(whole.resource, whole.key))
        body = await request.read()
        if request.method == "PUT":
            wanted = await _object(request)
            return scale.of(self.registry.patch(whole, scale.convert_change(lambda _: wanted), options))
        change = partial(apply_patch, request.content_type, body, strategic=False)
        return scale.of(self.registry.patch(whole, scale.convert_change(change), options))

    def _list(self, place: Place, query: Mapping[str, str], form: Form) -> JsonObject:
        token = Token.read(query.get("continue", "")) or Token(self.store.revision)
        objects = self.store.collection(place.resource).list_selected(_selection(place, query), token.revision)
        part = page(objects, token, _integer(query, "limit") or 0)
        return form.many(place.resource, part.items, part.metadata)

    async def _apply(self, request: web.Request, place: Place, options: WriteOptions) -> tuple[JsonObject, bool]:
        if not request.query.get("fieldManager"):
            missing = FieldError("FieldValueRequired", "fieldManager", "is required for apply patch")
            raise RefusedError.invalid("meta.k8s.io", "PatchOptions", "", [missing])
        force = request.query.get("force") in _TRUE
        return self.registry.apply(place, read_applied_config(await request.read()), options, force=force)

    async def _delete(self, request: web.Request, place: Place, options: WriteOptions) -> JsonObject:
        body = await _object(request) if request.can_read_body else {}
        wanted = body.get("preconditions") or {}
        conditions = Preconditions(wanted.get("uid"), wanted.get("resourceVersion"))
        obj, is_gone = self.registry.delete(place, conditions, options)
        if not is_gone:
            return obj
        details = {"name": place.name, "kind": place.resource.plural, "uid": obj["metadata"]["uid"]}
        if place.resource.group:
            details["group"] = place.resource.group
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    async def _watch(self, request: web.Request, place: Place, form: Form) -> web.StreamResponse:
        query = request.query
        revision = _integer(query, "resourceVersion")
        wants_initial = query.get("sendInitialEvents") in _TRUE
        timeout = _integer(query, "timeoutSeconds")
        options = WatchOptions(
            revision=None if wants_initial or not revision else revision,
            bookmarks=query.get("allowWatchBookmarks") in _TRUE,
            announces_initial_end=wants_initial,
            timeout=float(timeout or LONGEST),
        )
        stream = Stream(self.store, place.resource, _selection(place, query), options)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self.traffic.streams.add(stream)
        try:
            await response.prepare(request)
            async with aclosing(stream.batches(self.bookmark_seconds)) as batches:
                async for batch in batches:
                    lines = (json.dumps(form.event(place.resource, event)) for event in batch)
                    await response.write("".join(f"{line}\n" for line in lines).encode())
        except CutError:
            if request.transport:
                request.transport.abort()
        finally:
            self.traffic.streams.discard(stream)
        return response


def _selection(place: Place, query: Mapping[str, str]) -> Selection:
    return select(place.resource, place.namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def _manager(request: web.Request) -> str:
    """Name the writer: as the query says, else what a client calls itself before the first `/`."""
    named = request.query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0]
    return named or "unknown"


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not text.isdecimal():
        # The real server parses with ParseInt: "600.0" is refused, whatever it means elsewhere.
        raise RefusedError.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})')
    return int(text)


async def _object(request: web.Request) -> JsonObject:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise RefusedError.bad_request(f"the object provided is unrecognized: it is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise RefusedError.bad_request("the object provided is unrecognized: couldn't get version/kind")
    return body


def _json(answer: JsonObject, code: int, warnings: list[str]) -> web.Response:
    response = web.json_response(answer, status=code)
    for warning in warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response
