"""How objects are written: system fields, status and spec kept apart, generation.

Pure functions, one for each kind of write; after them comes validation. What a client may not write is carried over from the old
object, so that leaving it out is no error (`rest.BeforeCreate`, `rest.BeforeUpdate` and each kind's strategy in
kubernetes/pkg/registry).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar, cast

import attrs

from engine.api.names import NewName
from engine.api.shape import (
    keep_equal_parts,
    part_of,
    with_metadata,
    with_part,
    without_part,
)
from engine.objects.base import Time
from engine.objects.core import Namespace, NamespaceStatus
from engine.objects.meta import Condition, KubeObject, ObjectMeta
from engine.objects.pod import Pod, PodStatus
from engine.objects.pods import qos_class
from engine.objects.replacing import replaced
from engine.objects.scheme import Generation, Resource

T = TypeVar("T", bound=KubeObject)

NAMESPACE_FINALIZER: Final = "kubernetes"
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"

_GATED: Final = Condition(
    type="PodScheduled",
    status="False",
    reason="SchedulingGated",
    message="Scheduling is blocked due to non-empty scheduling gates",
)
"""What a pod with scheduling gates says from its creation on (applySchedulingGatedCondition of the pod strategy)."""


@attrs.frozen(kw_only=True)
class Rules:
    """What depends on the Kubernetes version."""

    pod_generation: bool
    """Pods have a generation (from 1.34 on)."""

    def generation_of(self, resource: Resource) -> Generation:
        """Which changes raise the generation of this kind."""
        if resource.kind == "Pod" and not resource.group and not self.pod_generation:
            return Generation.NONE
        return resource.generation


# -- create ----------------------------------------------------------------------------------------


def prepare_create(  # noqa: PLR0913 -- all that a new object takes from its server
    obj: T, resource: Resource, rules: Rules, *, namespace: str, name: NewName, now: Time
) -> T:
    """The object as it will be stored, validation permitting."""
    metadata = replaced(
        obj.metadata,
        name=name.name,
        namespace=namespace,
        uid=name.uid,
        resource_version="",
        creation_timestamp=now,
        deletion_timestamp=None,
        deletion_grace_period_seconds=None,
        generation=0 if rules.generation_of(resource) is Generation.NONE else 1,
    )
    obj = with_metadata(obj, metadata)
    if resource.status_subresource and not resource.keeps_status_on_create:
        obj = without_part(obj, "status")
    return _prepare_kind(obj)


def _prepare_kind(obj: T) -> T:
    if isinstance(obj, Pod):
        gated = (_GATED,) if obj.spec.scheduling_gates else ()
        status = PodStatus(phase="Pending", conditions=gated, qos_class=qos_class(obj.spec))
        return cast("T", replaced(obj, status=status))
    if isinstance(obj, Namespace):
        return cast("T", _prepare_namespace(obj))
    return obj


def _prepare_namespace(namespace: Namespace) -> Namespace:
    finalizers = namespace.spec.finalizers
    if NAMESPACE_FINALIZER not in finalizers:
        finalizers = (*finalizers, NAMESPACE_FINALIZER)
    metadata = namespace.metadata
    labels = {**metadata.labels, NAMESPACE_NAME_LABEL: metadata.name}
    return attrs.evolve(
        namespace,
        metadata=attrs.evolve(metadata, labels=labels),
        spec=attrs.evolve(namespace.spec, finalizers=finalizers),
        status=NamespaceStatus(phase="Active"),
    )


# -- update ----------------------------------------------------------------------------------------

_CLIENT_FIELDS: Final = (
    "labels",
    "annotations",
    "finalizers",
    "owner_references",
    "generate_name",
    "extra",
)
"""The metadata that an update may change."""


def merge_metadata(
    new: ObjectMeta, old: ObjectMeta, *, without: tuple[str, ...] = ()
) -> ObjectMeta:
    """The old metadata with what the client may change and did change; `old` itself when nothing did."""
    if (
        new.labels is old.labels
        and new.annotations is old.annotations
        and new.finalizers is old.finalizers
        and new.owner_references is old.owner_references
        and new.generate_name == old.generate_name
        and new.extra is old.extra
    ):
        return old  # as nearly always: who writes has started from what he read
    changed: dict[str, object] = {}
    for name in _CLIENT_FIELDS:
        value, before = getattr(new, name), getattr(old, name)
        if value is not before and value != before and name not in without:
            changed[name] = value
    return cast("ObjectMeta", _evolve_metadata(old, changed)) if changed else old


def _evolve_metadata(old: ObjectMeta, changed: Mapping[str, object]) -> object:
    return attrs.evolve(old, **changed)  # type: ignore[arg-type]  # names of _CLIENT_FIELDS


def prepare_update(new: T, old: T, resource: Resource, rules: Rules) -> T:
    """A write of everything but the status."""
    metadata = merge_metadata(new.metadata, old.metadata)
    new = with_metadata(new, metadata)
    if resource.status_subresource:
        new = with_part(new, "status", part_of(old, "status"))
    if isinstance(new, Namespace):
        # Finalizers of the spec change through the finalize subresource only.
        new = cast("T", attrs.evolve(new, spec=cast("Namespace", old).spec))
    new = keep_equal_parts(new, old)
    if _raises_generation(new, old, resource, rules.generation_of(resource)):
        metadata = attrs.evolve(new.metadata, generation=old.metadata.generation + 1)
        new = with_metadata(new, metadata)
    return new


def _raises_generation(
    new: KubeObject, old: KubeObject, resource: Resource, generation: Generation
) -> bool:
    if generation is Generation.NONE:
        return False
    if generation is Generation.ALL_BUT_METADATA_AND_STATUS:
        same = with_metadata(new, old.metadata)
        if resource.status_subresource:
            same = with_part(same, "status", part_of(old, "status"))
        return same != old
    before, after = part_of(old, "spec"), part_of(new, "spec")
    if before is not after and before != after:
        return True
    return (
        generation is Generation.SPEC_AND_ANNOTATIONS
        and new.metadata.annotations != old.metadata.annotations
    )


def prepare_status_update(new: T, old: T, resource: Resource) -> T:
    """A write of the status, and of the metadata as far as the kind takes it there (reference/api.md, 2.4)."""
    status = part_of(new, "status")
    before = part_of(old, "status")
    result = with_part(old, "status", before if status == before else status)
    if resource.custom:
        return result
    return with_metadata(
        result,
        merge_metadata(new.metadata, old.metadata, without=_KEPT_BY_STATUS.get(resource.kind, ())),
    )


_KEPT_BY_STATUS: Final[Mapping[str, tuple[str, ...]]] = {
    "Deployment": ("labels",),
    "Pod": ("owner_references",),
}
"""Metadata that a write of the status leaves alone."""
