"""Patches: read, patch as JSON, read the result back as an object, and write it like an update; tried again when another write came between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import attrs

from engine.api.apply import MergeError, last_applied, three_way, with_last_applied
from engine.api.errors import AlreadyExists, BadRequest, InternalError, Invalid, NotFound
from engine.api.jsonpatch import PatchError, PatchFormatError, apply_json_patch, merge
from engine.api.mergekeys import shape_of
from engine.api.refusals import MODIFIED, conflict, no_such_path
from engine.api.request import PatchType, Request
from engine.api.shape import decorated
from engine.api.subresources import check_scale, scale_of, scaled
from engine.api.swap import Decision
from engine.api.writes import Writer, uid_conflict
from engine.objects.base import Json
from engine.objects.binding import Scale
from engine.objects.faults import StructureError
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource, Scheme, UnknownKind

CREATE_ATTEMPTS = 5
"""How often apply goes between creating and patching when others create and delete the object."""

_Write: TypeAlias = Callable[[KubeObject, KubeObject, Resource], Decision]


def patched_json(current: dict[str, Json], request: Request) -> dict[str, Json]:
    """The object after a JSON or merge patch. Raises BadRequest, Invalid."""
    patch = request.patch
    if request.patch_type is not PatchType.JSON and not isinstance(patch, dict):
        raise BadRequest("error decoding patch: a merge patch of an object must be an object")
    try:
        if request.patch_type is PatchType.JSON:
            result = apply_json_patch(current, patch)
        else:
            result = merge(current, patch)
    except PatchFormatError as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    except PatchError as error:
        raise Invalid("the server rejected our request due to an error in our request") from error
    if not isinstance(result, dict):
        raise BadRequest("the patch leaves no object")
    return result


@attrs.frozen
class Patcher:
    """The patching verbs. Every method is a checkpoint and raises ApiError."""

    writer: Writer
    scheme: Scheme

    async def patch(self, request: Request) -> KubeObject:
        """Patch an object, or apply a manifest. Raises NotFound, Conflict, Invalid, BadRequest."""
        if request.patch_type is PatchType.APPLY:
            return await self._apply(request)
        return await self._change(request, self.writer.replacement)

    async def patch_status(self, request: Request) -> KubeObject:
        """Patch the status of an object. Raises as `patch`."""
        if not request.resource.status_subresource:
            raise no_such_path()
        return await self._change(request, self.writer.status_replacement)

    async def patch_scale(self, request: Request) -> KubeObject:
        """Patch the scale of an object; returns the scale. Raises as `patch`."""
        resource = request.resource
        if not resource.scale_subresource:
            raise no_such_path()

        def change(old: KubeObject, revision: int) -> Decision:
            before = self.scheme.to_dict(scale_of(old, revision))
            data = patched_json(before, request)
            scale = self._read(data, resource)
            if not isinstance(scale, Scale):
                raise BadRequest("the patch makes another kind of the Scale")
            check_scale(scale)
            if scale.metadata.resource_version not in ("", str(revision)):
                raise conflict(resource, request.name, MODIFIED)
            return self.writer.replacement(scaled(old, scale.spec.replicas), old, resource)

        obj = await self.writer.swap.change(resource, request.namespace, request.name, change)
        return scale_of(obj, int(obj.metadata.resource_version))

    async def _change(self, request: Request, write: _Write) -> KubeObject:
        resource = request.resource

        def change(old: KubeObject, revision: int) -> Decision:
            before = self.scheme.to_dict(decorated(old, revision))
            new = self._read(patched_json(before, request), resource)
            self._check_identity(new, old, revision, request)
            return write(self.writer.defaulting.default(new), old, resource)

        return await self.writer.swap.change(resource, request.namespace, request.name, change)

    def _read(self, data: Mapping[str, Json], resource: Resource) -> KubeObject:
        try:
            return self.scheme.from_dict(data)
        except StructureError as error:
            raise BadRequest(error.api_message) from error
        except UnknownKind as error:
            raise BadRequest(f"{resource.plural}: {error}") from error

    def _check_identity(
        self, new: KubeObject, old: KubeObject, revision: int, request: Request
    ) -> None:
        """A patch may not make another object of it."""
        resource, before, after = request.resource, old.metadata, new.metadata
        if new.kind != old.kind or new.api_version != old.api_version:
            raise BadRequest("the patch may not change apiVersion or kind")
        if after.name != before.name:
            raise BadRequest(
                f"the name of the object ({after.name}) does not match the name on the URL "
                f"({before.name})"
            )
        if after.namespace != before.namespace:
            raise BadRequest(
                f"the namespace of the object ({after.namespace}) does not match the namespace on the "
                f"request ({before.namespace})"
            )
        if after.resource_version not in ("", "0", str(revision)):
            raise conflict(resource, before.name, MODIFIED)
        if after.uid and after.uid != before.uid:
            raise uid_conflict(resource, before.namespace, before.name, after.uid, old)

    # -- apply -------------------------------------------------------------------------------------

    async def _apply(self, request: Request) -> KubeObject:
        manifest = _manifest(request)
        for _ in range(CREATE_ATTEMPTS):
            try:
                return await self._apply_to_live(request, manifest)
            except NotFound:
                pass
            obj = self._read(with_last_applied(manifest), request.resource)
            try:
                return await self.writer.create(attrs.evolve(request, object=obj))
            except AlreadyExists as error:
                last = error
        raise last

    async def _apply_to_live(self, request: Request, manifest: dict[str, Json]) -> KubeObject:
        resource = request.resource
        shape = shape_of(resource.group, resource.kind, custom=resource.custom)
        now = with_last_applied(manifest)

        def change(old: KubeObject, revision: int) -> Decision:
            live = self.scheme.to_dict(decorated(old, revision))
            try:
                data = three_way(last_applied(live), now, live, shape)
            except MergeError as error:
                raise InternalError(f"Internal error occurred: {error}") from error
            new = self._read(data, resource)
            self._check_identity(new, old, revision, request)
            return self.writer.replacement(self.writer.defaulting.default(new), old, resource)

        return await self.writer.swap.change(resource, request.namespace, request.name, change)


def _manifest(request: Request) -> dict[str, Json]:
    """The manifest of an apply, checked to name the object. Raises BadRequest."""
    patch, resource = request.patch, request.resource
    if not isinstance(patch, dict):
        raise BadRequest("the body of an apply must be an object")
    given = (patch.get("apiVersion"), patch.get("kind"))
    if given != (resource.api_version, resource.kind):
        raise BadRequest(
            f"Incorrect version specified in apply patch. Specified patch version: {given[0]}, "
            f"expected: {resource.api_version}"
        )
    metadata = patch.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise BadRequest("metadata.name is required")
    if resource.namespaced and not metadata.get("namespace"):
        metadata = {**metadata, "namespace": request.namespace}
    # What a live object was read back with is no wish.
    kept = {k: v for k, v in metadata.items() if k not in _SERVER_FIELDS}
    return cast(
        "dict[str, Json]", {**{k: v for k, v in patch.items() if k != "status"}, "metadata": kept}
    )


_SERVER_FIELDS = (
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
"""Metadata that only the server writes."""
