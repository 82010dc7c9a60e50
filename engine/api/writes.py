"""Create, update, status update and delete: each a chain of pure steps around one compare-and-swap.

create   default -> admit -> name, uid, system fields -> validate -> write, if the name is free
update   default -> [system fields carried over -> admit -> validate -> write, if nothing changed meanwhile]   [] repeated
delete   [preconditions -> finalizers, grace -> write or remove]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

import attrs

from engine.api.admission import Admission
from engine.api.cacheview import CacheView
from engine.api.defaulting import Defaulting
from engine.api.deletion import Options, check_preconditions, decide, finished
from engine.api.errors import AlreadyExists, ApiError, BadRequest, Conflict, FieldError, NotFound
from engine.api.fields import required
from engine.api.names import Names, NewName
from engine.api.refusals import MODIFIED, already_exists, conflict, invalid
from engine.api.request import Request
from engine.api.shape import with_metadata
from engine.api.strategy import (
    Rules,
    prepare_create,
    prepare_status_update,
    prepare_update,
)
from engine.api.swap import Decision, Step, Swap
from engine.api.validation import Validation
from engine.objects.base import Time
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.sim.clock import Clock
from store import maker

T = TypeVar("T", bound=KubeObject)

_decision: Final = maker(Decision)

NAME_ATTEMPTS: Final = 8
"""Generated names tried before giving up (RetryGenerateName, on from Kubernetes 1.32)."""


def body_of(request: Request) -> KubeObject:
    """The request's object, checked to be of the request's kind. Raises BadRequest."""
    obj, resource = request.object, request.resource
    if obj is None:
        raise BadRequest("the request has no object")
    if obj.kind != resource.kind:
        raise BadRequest(
            f'{obj.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"no kind {obj.kind} is registered for {resource.plural}"
        )
    if obj.api_version != resource.api_version:
        raise BadRequest(
            f"the API version in the data ({obj.api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    return obj


def in_namespace(obj: T, request: Request) -> T:
    """The object with the request's namespace. Raises BadRequest when it names another, or there is none."""
    given, asked = obj.metadata.namespace, request.namespace
    if not request.resource.namespaced:
        return obj
    if given and asked and given != asked:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not (given or asked):
        raise BadRequest("an empty namespace may not be set during creation")
    if given:
        return obj
    return with_metadata(obj, attrs.evolve(obj.metadata, namespace=asked))


@attrs.frozen(kw_only=True)
class Writer:
    """The writing verbs. Every method is a checkpoint and raises ApiError."""

    swap: Swap
    clock: Clock
    names: Names
    rules: Rules
    defaulting: Defaulting
    admission: Admission
    validation: Validation

    # -- create ------------------------------------------------------------------------------------

    async def create(self, request: Request) -> KubeObject:
        """Create an object. Raises AlreadyExists, Invalid, Forbidden, NotFound (its namespace), BadRequest."""
        resource = request.resource
        obj = in_namespace(body_of(request), request)
        metadata = obj.metadata
        if metadata.resource_version not in ("", "0"):
            raise ApiError("resourceVersion should not be set on objects to be created")
        if not metadata.name and not metadata.generate_name:
            fault = required("metadata.name", "name or generateName is required")
            raise invalid(resource.group_kind, "", [fault])
        obj = await self._admitted(self.defaulting.default(obj), resource)
        lease = await self.swap.lease(resource)
        return await self._insert(obj, resource, lease)

    async def _admitted(self, obj: KubeObject, resource: Resource) -> KubeObject:
        feed = self.swap.feed
        try:
            return self.admission.create(obj, resource, CacheView(feed.cache))
        except ApiError:
            if feed.current:
                raise
            # What is missing may have been written a moment ago: ask a fresh cache.
            cache = await feed.reach(feed.store.head)
            return self.admission.create(obj, resource, CacheView(cache))

    async def _insert(self, obj: KubeObject, resource: Resource, lease: int) -> KubeObject:
        namespace = obj.metadata.namespace
        generated = not obj.metadata.name
        now = Time.of(self.clock.unix_us())
        cache = self.swap.feed.cache
        for _ in range(NAME_ATTEMPTS if generated else 1):
            name = self._name(obj, resource, namespace, generated=generated)
            new = prepare_create(obj, resource, self.rules, namespace=namespace, name=name, now=now)
            faults = self.validation.create(new, resource)
            if faults:
                raise invalid(resource.group_kind, name.name, faults)
            key = resource.storage_key(namespace, name.name)
            outcome = await self.swap.storage.create(key, new, lease=lease)
            if outcome.revision:
                return cache.written(key, new, outcome.revision)
        error = already_exists(resource, name.name, generated=generated)
        holder = outcome.current
        if holder is not None and holder.value.metadata.deletion_timestamp is not None:
            error = AlreadyExists(f"object is being deleted: {error.message}")
        raise error

    def _name(
        self, obj: KubeObject, resource: Resource, namespace: str, *, generated: bool
    ) -> NewName:
        if generated:
            return self.names.generate(resource, namespace, obj.metadata)
        key = resource.storage_key(namespace, obj.metadata.name)
        return self.names.given(resource, key, self.clock.now_us())

    # -- update ------------------------------------------------------------------------------------

    async def update(self, request: Request) -> KubeObject:
        """Replace an object; with a resourceVersion, only the one of that version.

        Raises NotFound, Conflict, Invalid, BadRequest.
        """
        resource = request.resource
        obj = self.defaulting.default(self._named(request))

        def replace(old: KubeObject, revision: int) -> Decision:
            _check_version(obj, old, revision, resource)
            return self.replacement(obj, old, resource)

        metadata = obj.metadata
        try:
            return await self.swap.change(resource, metadata.namespace, metadata.name, replace)
        except NotFound:
            if not resource.create_on_update:
                raise
        if metadata.resource_version not in ("", "0"):
            raise conflict(resource, metadata.name, MODIFIED)
        return await self.create(attrs.evolve(request, object=obj))

    async def update_status(self, request: Request) -> KubeObject:
        """Replace an object's status, and of its metadata what may change with it. Raises as `update`."""
        resource = request.resource
        obj = self._named(request)

        def replace(old: KubeObject, revision: int) -> Decision:
            _check_version(obj, old, revision, resource)
            return self.status_replacement(obj, old, resource)

        return await self.swap.change(resource, obj.metadata.namespace, obj.metadata.name, replace)

    def _named(self, request: Request) -> KubeObject:
        obj = in_namespace(body_of(request), request)
        if not obj.metadata.name:
            obj = with_metadata(obj, attrs.evolve(obj.metadata, name=request.name))
        if request.name and obj.metadata.name != request.name:
            raise BadRequest(
                f"the name of the object ({obj.metadata.name}) does not match the name on the URL "
                f"({request.name})"
            )
        return obj

    def replacement(self, obj: KubeObject, old: KubeObject, resource: Resource) -> Decision:
        """What a write of `obj`, defaults filled in, does to `old`. Raises Invalid, Forbidden."""
        new = prepare_update(obj, old, resource, self.rules)
        if new == old:
            return Decision(Step.KEEP, old)
        self.admission.update(new, resource, CacheView(self.swap.feed.cache))
        return _checked(new, old, resource, self.validation.update)

    def status_replacement(self, obj: KubeObject, old: KubeObject, resource: Resource) -> Decision:
        """What a write of the status of `obj` does to `old`. Raises Invalid."""
        new = prepare_status_update(obj, old, resource)
        if new == old:
            return Decision(Step.KEEP, old)
        return _checked(new, old, resource, self.validation.update_status)

    # -- delete ------------------------------------------------------------------------------------

    async def delete(self, request: Request) -> KubeObject:
        """Delete an object, or mark it for deletion; returns it as it is left, or was. Raises NotFound, Conflict, Forbidden."""
        resource = request.resource
        self.admission.delete(request.name, resource)
        options = Options(
            preconditions=request.preconditions,
            propagation=request.propagation,
            grace_period_seconds=request.grace_period_seconds,
        )
        now = Time.of(self.clock.unix_us())

        def remove(old: KubeObject, revision: int) -> Decision:
            check_preconditions(old.metadata, revision, resource, options.preconditions)
            return decide(old, resource, options, now)

        return await self.swap.change(resource, request.namespace, request.name, remove)


_Validate: TypeAlias = Callable[[KubeObject, KubeObject, Resource], list[FieldError]]

_VERSION_MISSING: Final = FieldError(
    path="metadata.resourceVersion",
    reason="FieldValueInvalid",
    detail="Invalid value: 0x0: must be specified for an update",
)


def _checked(new: KubeObject, old: KubeObject, resource: Resource, validate: _Validate) -> Decision:
    """Write `new`, or remove it when nothing keeps it any more. Raises Invalid."""
    faults = validate(new, old, resource)
    if faults:
        raise invalid(resource.group_kind, new.metadata.name, faults)
    return _decision(Step.REMOVE if finished(new) else Step.WRITE, new)


def _check_version(obj: KubeObject, old: KubeObject, revision: int, resource: Resource) -> None:
    """Raise Conflict unless `obj` was made from this very state of `old`, or from none in particular."""
    metadata = obj.metadata
    version = metadata.resource_version
    if version in ("", "0"):
        if not resource.unconditional_update:
            raise invalid(resource.group_kind, metadata.name, [_VERSION_MISSING])
    elif version != str(revision):
        if not version.isdigit():
            raise ApiError(f'strconv.ParseUint: parsing "{version}": invalid syntax')
        raise conflict(resource, metadata.name, MODIFIED)
    if metadata.uid and metadata.uid != old.metadata.uid:
        raise uid_conflict(resource, metadata.namespace, metadata.name, metadata.uid, old)


def uid_conflict(
    resource: Resource, namespace: str, name: str, uid: str, old: KubeObject
) -> Conflict:
    """The object is another one of the same name."""
    key = resource.storage_key(namespace, name)
    return conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.metadata.uid}",
    )
