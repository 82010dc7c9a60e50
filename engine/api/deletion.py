"""What a delete does: at once, after a grace period, or when the finalizers are gone.

Pure: the object, the options and the time in; a decision out. It follows `rest.BeforeDelete` and
`Store.updateForGracefulDeletionAndFinalizers` of k8s.io/apiserver, and podStrategy.CheckGracefulDelete. A pod on a node, deleted
with 30 s of grace and then by its kubelet with 0, goes through these revisions: 2011 MODIFIED (deletionTimestamp, grace
30), 2012 MODIFIED (grace 0), 2013 DELETED.
"""

from __future__ import annotations

from typing import Final

import attrs

from engine.api.refusals import conflict
from engine.api.request import Preconditions, Propagation
from engine.api.shape import with_metadata
from engine.api.swap import Decision, Step
from engine.objects.base import Time
from engine.objects.core import Namespace
from engine.objects.meta import KubeObject, ObjectMeta
from engine.objects.pod import Pod
from engine.objects.scheme import Resource

ORPHAN_FINALIZER: Final = "orphan"
FOREGROUND_FINALIZER: Final = "foregroundDeletion"
_FINISHED: Final = ("Succeeded", "Failed")
_US: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Options:
    """The options of one delete."""

    preconditions: Preconditions = Preconditions()  # noqa: RUF009 -- frozen, and so safely shared
    propagation: Propagation | None = None
    grace_period_seconds: int | None = None


def check_preconditions(
    metadata: ObjectMeta, revision: int, resource: Resource, preconditions: Preconditions
) -> None:
    """Raise Conflict when the object is not the one meant."""
    uid, version = preconditions.uid, preconditions.resource_version
    if uid is not None and uid != metadata.uid:
        raise conflict(
            resource,
            metadata.name,
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.uid}). "
            "The object might have been deleted and then recreated",
        )
    if version is not None and version != str(revision):
        raise conflict(
            resource,
            metadata.name,
            f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({revision}). The object might have been modified",
        )


def decide(obj: KubeObject, resource: Resource, options: Options, now: Time) -> Decision:
    """What a delete does to `obj`; preconditions have been checked."""
    if isinstance(obj, Namespace):
        decision = _decide_namespace(obj, now)
        if decision is not None:
            return decision
    graceful: ObjectMeta | None = None
    if isinstance(obj, Pod):
        step, graceful = _grace(obj, options.grace_period_seconds, now)
        if step is Step.KEEP:
            return Decision(Step.KEEP, obj)
    metadata = graceful or obj.metadata
    finalizers = collector_finalizers(metadata.finalizers, resource, options.propagation)
    if finalizers != metadata.finalizers:
        metadata = attrs.evolve(metadata, finalizers=finalizers)
    if graceful is not None:
        if finalizers or metadata.deletion_grace_period_seconds:
            return Decision(Step.WRITE, with_metadata(obj, metadata))
        return Decision(Step.WRITE_THEN_REMOVE, with_metadata(obj, metadata))
    if not finalizers:
        return Decision(Step.REMOVE, obj)
    return Decision(Step.WRITE, with_metadata(obj, _marked(metadata, now)))


def _decide_namespace(namespace: Namespace, now: Time) -> Decision | None:
    """A namespace is first only marked; its controller empties it (namespace REST.Delete)."""
    if namespace.metadata.deletion_timestamp is None:
        return Decision(
            Step.WRITE,
            attrs.evolve(
                namespace,
                metadata=attrs.evolve(namespace.metadata, deletion_timestamp=now),
                status=attrs.evolve(namespace.status, phase="Terminating"),
            ),
        )
    if namespace.spec.finalizers:
        return Decision(Step.KEEP, namespace)
    return None


def _grace(pod: Pod, requested: int | None, now: Time) -> tuple[Step, ObjectMeta | None]:
    """The metadata after the graceful part of a pod's deletion; None when grace is over."""
    metadata = pod.metadata
    if requested is not None and requested < 0:
        requested = 1
    if metadata.deletion_timestamp is None:
        period = requested
        if period is None:
            period = pod.spec.termination_grace_period_seconds or 0
        if not pod.spec.node_name or pod.status.phase in _FINISHED:
            period = 0
        elif period < 0:
            period = 1
        return Step.WRITE, attrs.evolve(
            metadata,
            deletion_timestamp=Time(now + period * _US),
            deletion_grace_period_seconds=period,
            generation=_next_generation(metadata),
        )
    current = metadata.deletion_grace_period_seconds
    if not current:
        return Step.REMOVE, None
    if requested is None or requested >= current:
        return Step.KEEP, None
    deadline = Time(metadata.deletion_timestamp + (requested - current) * _US)
    if deadline < now:
        # An already passed deadline would read as a period of no length: 0 has a meaning of its own.
        deadline, requested = now, min(requested, 1)
    return Step.WRITE, attrs.evolve(
        metadata, deletion_timestamp=deadline, deletion_grace_period_seconds=requested
    )


def _marked(metadata: ObjectMeta, now: Time) -> ObjectMeta:
    """Marked for deletion, waiting for finalizers only (`markAsDeleting`)."""
    deadline = metadata.deletion_timestamp
    if deadline is not None and deadline <= now and metadata.deletion_grace_period_seconds == 0:
        return metadata
    return attrs.evolve(
        metadata,
        deletion_timestamp=now if deadline is None or deadline > now else deadline,
        deletion_grace_period_seconds=0,
        generation=_next_generation(metadata) if deadline is None else metadata.generation,
    )


def _next_generation(metadata: ObjectMeta) -> int:
    return metadata.generation + 1 if metadata.generation > 0 else 0


def collector_finalizers(
    finalizers: tuple[str, ...], resource: Resource, propagation: Propagation | None
) -> tuple[str, ...]:
    """The finalizers with those of the garbage collector as the propagation asks for."""
    if not resource.garbage_collected:
        return finalizers
    kept = tuple(f for f in finalizers if f not in (ORPHAN_FINALIZER, FOREGROUND_FINALIZER))
    if propagation is None:
        if len(kept) < len(finalizers):
            return finalizers
        propagation = Propagation(resource.default_propagation)
    if propagation is Propagation.ORPHAN:
        kept += (ORPHAN_FINALIZER,)
    elif propagation is Propagation.FOREGROUND:
        kept += (FOREGROUND_FINALIZER,)
    # The same finalizers in another order are no change.
    return finalizers if sorted(kept) == sorted(finalizers) else kept


def finished(obj: KubeObject) -> bool:
    """Whether an update leaves nothing to wait for, and so removes the object."""
    metadata = obj.metadata
    if metadata.deletion_timestamp is None or metadata.finalizers:
        return False
    if isinstance(obj, Namespace) and obj.spec.finalizers:
        return False
    return not metadata.deletion_grace_period_seconds
