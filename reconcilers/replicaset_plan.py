"""What a ReplicaSet does next: how many pods to make, which to delete, and what its status says.

Pure: the shell (`replicaset.py`) carries it out, for ReplicaSets and, seen as ReplicaSets, for
ReplicationControllers (controllers.md 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from engine import (
    Condition,
    KubeObject,
    ObjectMeta,
    Pod,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetStatus,
    Time,
    condition_of,
    controller_ref,
    is_ready,
    replaced,
    without_condition,
)
from reconcilers.replicaset_ranking import ready_since, victims

REPLICA_FAILURE: Final = "ReplicaFailure"
_US: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Observed:
    """One ReplicaSet and what belongs to it, at one moment."""

    replica_set: ReplicaSet
    pods: tuple[Pod, ...]
    """Its active pods."""
    related: tuple[Pod, ...] = ()
    """The pods of all ReplicaSets with the same controller; wanted only when there are too many
    pods.
    """
    expectations_fulfilled: bool = True
    now_us: int
    burst: int
    """Most pods made or deleted by one sync (BurstReplicas)."""
    modern: bool = True
    """Rank victims as Kubernetes 1.22 and later does."""


@attrs.frozen(kw_only=True)
class CreatePods:
    """Make that many pods."""

    count: int


@attrs.frozen(kw_only=True)
class DeletePods:
    """Delete these pods."""

    pods: tuple[Pod, ...]


Action: TypeAlias = CreatePods | DeletePods


def desired(replica_set: ReplicaSet) -> int:
    """`spec.replicas`, 1 when it is absent."""
    replicas = replica_set.spec.replicas
    return 1 if replicas is None else replicas


def plan(observed: Observed) -> tuple[Action, ...]:
    """At most one action: the difference between the pods there are and the pods there should be.

    None while expectations are outstanding, for the pods seen may not be the pods there are, and
    none for a ReplicaSet that is being deleted, whose pods are the garbage collector's.
    """
    replica_set = observed.replica_set
    leaving = replica_set.metadata.deletion_timestamp is not None
    if leaving or not observed.expectations_fulfilled:
        return ()
    surplus = len(observed.pods) - desired(replica_set)
    if surplus < 0:
        return (CreatePods(count=min(-surplus, observed.burst)),)
    if surplus > 0:
        chosen = victims(
            observed.pods,
            observed.related,
            min(surplus, observed.burst),
            observed.now_us,
            modern=observed.modern,
        )
        return (DeletePods(pods=tuple(chosen)),)
    return ()


def batches(count: int) -> list[int]:
    """The sizes of slow start: 1, 2, 4, ... until `count` are made (controllers.md 1.6).

    A create that must fail (quota, a broken webhook) thus fails once or twice, not 500 times.
    """
    sizes: list[int] = []
    size = 1
    while count > 0:
        sizes.append(min(size, count))
        count -= sizes[-1]
        size *= 2
    return sizes


def pod_of(owner: KubeObject, template: PodTemplateSpec) -> Pod:
    """A new pod of `owner`, which the API server will name `<owner>-xxxxx`."""
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{owner.metadata.name}-",
            namespace=owner.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=(controller_ref(owner),),
        ),
        spec=template.spec,
    )


def available_at(pod: Pod, min_ready_seconds: int) -> int | None:
    """When, in Unix microseconds, a pod is available if it stays ready; None when it is not ready.

    0 is for ever: without a minimum, ready is available.
    """
    if not is_ready(pod):
        return None
    if min_ready_seconds == 0:
        return 0
    since = ready_since(pod)
    return None if since is None else since + min_ready_seconds * _US


def status_of(observed: Observed, failure: str = "") -> ReplicaSetStatus:
    """The status to write; `failure` is the message of the error that stopped the action."""
    replica_set = observed.replica_set
    template_labels = replica_set.spec.template.metadata.labels
    min_ready = replica_set.spec.min_ready_seconds
    labeled = ready = available = 0
    for pod in observed.pods:  # one pass: this is done for every change of every pod
        labels = pod.metadata.labels
        labeled += labels is template_labels or _carries(labels, template_labels)
        if is_ready(pod):
            ready += 1
            since = available_at(pod, min_ready) if min_ready else 0
            available += since is not None and since <= observed.now_us
    return replaced(
        replica_set.status,
        replicas=len(observed.pods),
        fully_labeled_replicas=labeled,
        ready_replicas=ready,
        available_replicas=available,
        observed_generation=replica_set.metadata.generation,
        conditions=_conditions(observed, failure),
    )


def next_check(observed: Observed) -> float | None:
    """Seconds until the first ready pod becomes available; None when there is none to wait for."""
    min_ready = observed.replica_set.spec.min_ready_seconds
    if min_ready == 0:  # ready is available
        return None
    times = [available_at(pod, min_ready) for pod in observed.pods]
    waiting = [time - observed.now_us for time in times if time is not None]
    return min((wait / _US for wait in waiting if wait > 0), default=None)


def _carries(own: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(own.get(key) == value for key, value in labels.items())


def _conditions(observed: Observed, failure: str) -> tuple[Condition, ...]:
    """ReplicaFailure while the action fails, with the reason it first failed for."""
    conditions = observed.replica_set.status.conditions
    present = condition_of(conditions, REPLICA_FAILURE)
    if failure and present is None:
        missing = len(observed.pods) < desired(observed.replica_set)
        condition = Condition(
            type=REPLICA_FAILURE,
            status="True",
            last_transition_time=Time.of(observed.now_us),
            reason="FailedCreate" if missing else "FailedDelete",
            message=failure,
        )
        return (*conditions, condition)
    if not failure and present is not None:
        return without_condition(conditions, REPLICA_FAILURE)
    return conditions
