"""Metadata that all kinds share: ObjectMeta, owner references, conditions, selectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, NewType, Protocol, runtime_checkable

import attrs

from engine.objects.base import EMPTY, ApiType, Time
from engine.objects.key import Key, make_key

Uid = NewType("Uid", str)
"""Identity of one life of an object; never reused."""


@attrs.frozen(kw_only=True, repr=False)
class OwnerReference(ApiType):
    """Names the owner of an object; with `controller` set, the one that manages it."""

    api_version: str
    kind: str
    name: str
    uid: Uid
    controller: bool | None = None
    block_owner_deletion: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class ObjectMeta(ApiType):
    """`metadata` of every object (Kubernetes API conventions)."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: Uid = Uid("")
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @cached_property
    def key(self) -> Key:
        """Namespace and name: the one object by which every cache that holds this one has it."""
        return make_key((self.namespace, self.name))

    @cached_property
    def controller(self) -> OwnerReference | None:
        """The owner reference with `controller: true`, if there is one; looked up once."""
        for reference in self.owner_references:
            if reference.controller:
                return reference
        return None


@attrs.frozen(kw_only=True, repr=False)
class Condition(ApiType):
    """One entry of `status.conditions`; `status` is "True", "False" or "Unknown".

    `last_update_time` is Deployment's, `last_heartbeat_time` Node's, `last_probe_time` Pod's.
    """

    type: str
    status: str
    observed_generation: int | None = None
    last_probe_time: Time | None = None
    last_heartbeat_time: Time | None = None
    last_update_time: Time | None = None
    last_transition_time: Time | None = None
    reason: str = ""
    message: str = ""


def condition_of(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    for condition in conditions:
        if condition.type == type_:
            return condition
    return None


@attrs.frozen(kw_only=True, repr=False)
class LabelSelectorRequirement(ApiType):
    """`operator` is In, NotIn, Exists or DoesNotExist (node selectors add Gt and Lt)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class LabelSelector(ApiType):
    """The structured label selector; an empty one matches everything, a missing one nothing."""

    match_labels: Mapping[str, str] = EMPTY
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


@attrs.frozen(kw_only=True, repr=False)
class LocalObjectReference(ApiType):
    """The name of an object in the same namespace."""

    name: str = ""


@attrs.frozen(kw_only=True, repr=False)
class ObjectReference(ApiType):
    """Names any object (`involvedObject` of Events, `target` of bindings)."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: Uid = Uid("")
    resource_version: str = ""
    field_path: str = ""


@runtime_checkable
class KubeObject(Protocol):
    """What the API serves: an object with kind, apiVersion and metadata."""

    @property
    def api_version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def metadata(self) -> ObjectMeta: ...


@attrs.frozen(kw_only=True, repr=False)
class TypedObject(ApiType):
    """Base of the top-level kinds that have a class of their own."""

    api_version: ClassVar[str]
    kind: ClassVar[str]

    metadata: ObjectMeta = ObjectMeta()


def set_condition(
    conditions: tuple[Condition, ...], condition: Condition, now: Time
) -> tuple[Condition, ...]:
    """The conditions with this one in the place of the one of its type, or at the end.

    `last_transition_time` is kept while the status stays the same, and else is `now`, unless the condition brings its own.
    Where nothing changes, the same tuple comes back, so that "is there anything to write" is one comparison by identity.
    """
    for index, old in enumerate(conditions):
        if old.type != condition.type:
            continue
        if old.status == condition.status:
            new = attrs.evolve(condition, last_transition_time=old.last_transition_time)
        else:
            new = attrs.evolve(
                condition, last_transition_time=condition.last_transition_time or now
            )
        if new == old:
            return conditions
        return (*conditions[:index], new, *conditions[index + 1 :])
    transition = condition.last_transition_time or now
    return (*conditions, attrs.evolve(condition, last_transition_time=transition))


def without_condition(conditions: tuple[Condition, ...], type_: str) -> tuple[Condition, ...]:
    """The conditions without the one of that type."""
    if condition_of(conditions, type_) is None:
        return conditions
    return tuple(condition for condition in conditions if condition.type != type_)


def controller_ref(owner: KubeObject) -> OwnerReference:
    """The reference that makes `owner` the controller of what carries it (`metav1.NewControllerRef`)."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def is_controlled_by(obj: KubeObject, owner: KubeObject) -> bool:
    """Whether `owner`, in this life of it, is the controller of the object."""
    reference = obj.metadata.controller
    return reference is not None and reference.uid == owner.metadata.uid


def object_reference(obj: KubeObject) -> ObjectReference:
    """A reference to the object, as Events carry it in `involvedObject`."""
    return ObjectReference(
        api_version=obj.api_version,
        kind=obj.kind,
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        resource_version=obj.metadata.resource_version,
    )
