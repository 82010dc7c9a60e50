"""The subresources that are not a plain write of the object: scale, binding, finalize."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeVar, cast

import attrs

from engine.api.deletion import finished
from engine.api.errors import BadRequest
from engine.api.fields import invalid as invalid_value
from engine.api.fields import not_supported, required
from engine.api.refusals import MODIFIED, conflict, invalid, no_such_path
from engine.api.request import Request
from engine.api.shape import part_of, with_part
from engine.api.swap import Decision, Step
from engine.api.writes import Writer, uid_conflict
from engine.objects.apps import Deployment, ReplicaSet, ReplicationController
from engine.objects.base import Time
from engine.objects.binding import Binding, Scale, ScaleSpec, ScaleStatus
from engine.objects.core import Namespace
from engine.objects.meta import Condition, KubeObject, ObjectMeta
from engine.objects.pod import Pod, PodStatus
from engine.objects.replacing import replaced
from engine.objects.scheme import Resource
from engine.objects.selectors import selector_of
from engine.settings import Settings

T = TypeVar("T")

SCALE_KIND: Final = "Scale.autoscaling"
_MISSING_REPLICAS: Final = 'the spec replicas field ".spec.replicas" does not exist'


# -- scale -----------------------------------------------------------------------------------------


def scale_of(obj: KubeObject, revision: int) -> Scale:
    """The scale that an object shows. Raises NotFound for a kind that has none."""
    metadata = obj.metadata
    return Scale(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=str(revision),
            creation_timestamp=metadata.creation_timestamp,
        ),
        spec=ScaleSpec(replicas=_number(part_of(obj, "spec"), "replicas")),
        status=ScaleStatus(
            replicas=_number(part_of(obj, "status"), "replicas"), selector=_selector_text(obj)
        ),
    )


def _number(part: object, name: str) -> int:
    value = part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)
    return value if isinstance(value, int) else 0


def _selector_text(obj: KubeObject) -> str:
    if isinstance(obj, (Deployment, ReplicaSet, ReplicationController)):
        return str(selector_of(obj.spec.selector))
    return ""


def scaled(obj: KubeObject, replicas: int) -> KubeObject:
    """`obj` with that many replicas."""
    spec = part_of(obj, "spec")
    if isinstance(spec, Mapping):
        return with_part(obj, "spec", {**spec, "replicas": replicas})
    if spec is None:
        return with_part(obj, "spec", {"replicas": replicas})
    evolve = cast("Callable[..., object]", attrs.evolve)
    return with_part(obj, "spec", evolve(spec, replicas=replicas))


def check_scale(scale: Scale) -> None:
    """Raise Invalid for a number of replicas that cannot be."""
    if scale.spec.replicas < 0:
        fault = invalid_value(
            "spec.replicas", scale.spec.replicas, "must be greater than or equal to 0"
        )
        raise invalid(SCALE_KIND, scale.metadata.name, [fault])


async def update_scale(writer: Writer, request: Request) -> KubeObject:
    """Set the replicas of an object through its scale; returns the scale. Raises as an update, and NotFound for kinds without one."""
    scale = request.object
    if not isinstance(scale, Scale):
        raise BadRequest(f"the object of a scale request must be a Scale, not {scale!r:.80}")
    resource = request.resource
    if not resource.scale_subresource:
        raise no_such_path()
    check_scale(scale)
    version, uid = scale.metadata.resource_version, scale.metadata.uid

    def replace(old: KubeObject, revision: int) -> Decision:
        if version not in ("", "0", str(revision)):
            raise conflict(resource, request.name, MODIFIED)
        if uid and uid != old.metadata.uid:
            raise uid_conflict(resource, request.namespace, request.name, uid, old)
        return writer.replacement(scaled(old, scale.spec.replicas), old, resource)

    obj = await writer.swap.change(resource, request.namespace, request.name, replace)
    return scale_of(obj, int(obj.metadata.resource_version))


# -- binding ---------------------------------------------------------------------------------------


async def bind(writer: Writer, request: Request, settings: Settings) -> KubeObject:
    """Put a pod on a node (BindingREST.Create). Raises Conflict when it is bound, being deleted, or another of the name."""
    binding, resource = request.object, request.resource
    if not isinstance(binding, Binding):
        raise BadRequest(f"the object of a binding request must be a Binding, not {binding!r:.80}")
    if resource.kind != "Pod" or resource.group:
        raise no_such_path()
    name = request.name or binding.metadata.name
    namespace = request.namespace or binding.metadata.namespace
    _check_binding(binding, name)
    now = Time.of(writer.clock.unix_us())
    observes = settings.at_least("1.34")

    def assign(old: KubeObject, revision: int) -> Decision:
        pod = cast("Pod", old)
        metadata = binding.metadata
        if metadata.uid and metadata.uid != pod.metadata.uid:
            raise uid_conflict(resource, namespace, name, metadata.uid, pod)
        if metadata.resource_version not in ("", "0", str(revision)):
            raise conflict(resource, name, MODIFIED)
        _check_assignable(pod, resource)
        return Decision(Step.WRITE, _assigned(pod, binding, now, observes=observes))

    await writer.swap.change(resource, namespace, name, assign)
    return binding


def _check_binding(binding: Binding, name: str) -> None:
    faults = []
    if binding.target.kind not in ("", "Node"):
        faults.append(not_supported("target.kind", binding.target.kind, ("Node", "<empty>")))
    if not binding.target.name:
        faults.append(required("target.name"))
    if faults:
        raise invalid("Binding", name, faults)


def _check_assignable(pod: Pod, resource: Resource) -> None:
    name = pod.metadata.name
    why = ""
    if pod.metadata.deletion_timestamp is not None:
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif pod.spec.node_name:
        why = f'pod {name} is already assigned to node "{pod.spec.node_name}"'
    elif pod.spec.scheduling_gates:
        why = f"pod {name} has non-empty .spec.schedulingGates"
    if why:
        raise conflict(resource, name, why, subresource="binding")


def _assigned(pod: Pod, binding: Binding, now: Time, *, observes: bool) -> Pod:
    metadata = pod.metadata
    if binding.metadata.annotations:
        annotations = {**metadata.annotations, **binding.metadata.annotations}
        metadata = attrs.evolve(metadata, annotations=annotations)
    return replaced(
        pod,
        metadata=metadata,
        spec=replaced(pod.spec, node_name=binding.target.name),
        status=_scheduled(pod.status, now, (metadata.generation or None) if observes else None),
    )


def _scheduled(status: PodStatus, now: Time, generation: int | None) -> PodStatus:
    """The status with PodScheduled true (podutil.UpdatePodCondition)."""
    condition = _scheduled_since(now, generation)
    conditions = list(status.conditions)
    for position, before in enumerate(conditions):
        if before.type == condition.type:
            if before.status == "True":
                since = before.last_transition_time
                condition = attrs.evolve(condition, last_transition_time=since)
            conditions[position] = condition
            return replaced(status, conditions=tuple(conditions))
    return replaced(status, conditions=(*conditions, condition))


@lru_cache(maxsize=1024, typed=True)
def _scheduled_since(now: Time, generation: int | None) -> Condition:
    """One object for all pods that are bound in the same second."""
    return Condition(
        type="PodScheduled",
        status="True",
        last_transition_time=now,
        observed_generation=generation,
    )


# -- finalize --------------------------------------------------------------------------------------


async def finalize(writer: Writer, request: Request) -> KubeObject:
    """Replace the finalizers of a namespace's spec; the last one gone removes a deleted namespace. Raises Conflict, NotFound."""
    given, resource = request.object, request.resource
    if not isinstance(given, Namespace):
        raise no_such_path()
    version, uid = given.metadata.resource_version, given.metadata.uid

    def replace(old: KubeObject, revision: int) -> Decision:
        namespace = cast("Namespace", old)
        if version not in ("", "0", str(revision)):
            raise conflict(resource, request.name, MODIFIED)
        if uid and uid != old.metadata.uid:
            raise uid_conflict(resource, "", request.name, uid, old)
        if given.spec.finalizers == namespace.spec.finalizers:
            return Decision(Step.KEEP, namespace)
        new = attrs.evolve(
            namespace,
            spec=attrs.evolve(namespace.spec, finalizers=given.spec.finalizers),
        )
        return Decision(Step.REMOVE if finished(new) else Step.WRITE, new)

    return await writer.swap.change(resource, "", request.name or given.metadata.name, replace)
