"""Which pods go first when a ReplicaSet shrinks (controllers.md 4.1.6).

One comparison, its criteria in order; the first that tells two pods apart decides. The pods that
serve least go first: not assigned, not running, not ready, then those whose owner says they are
cheap, those that crowd a node, and the youngest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cmp_to_key, partial
from typing import Final

import attrs

from engine import Pod, Time, condition_of, is_active, is_ready

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation: pods with a lower cost are deleted first (beta since 1.22)."""

_PHASE_ORDER: Final[Mapping[str, int]] = {"Pending": 0, "Unknown": 1, "Running": 2}
_US_TO_NS: Final = 1_000


def ready_since(pod: Pod) -> Time | None:
    """When the pod turned ready; None when it is not, or does not say."""
    ready = condition_of(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return None
    return ready.last_transition_time


def deletion_cost(pod: Pod) -> int:
    """The pod's deletion cost; 0 when absent or not an int32 (the API refuses others)."""
    text = pod.metadata.annotations.get(DELETION_COST, "")
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if -(2**31) <= cost < 2**31 else 0


@attrs.frozen(kw_only=True)
class _Rank:
    """What is compared of one pod, worked out once."""

    pod: Pod
    assigned: bool
    phase: int
    ready: bool
    cost: int
    neighbours: int
    ready_since: Time | None
    restarts: int
    created: Time | None


def _rank(pod: Pod, neighbours: int, *, modern: bool) -> _Rank:
    statuses = pod.status.container_statuses
    return _Rank(
        pod=pod,
        assigned=bool(pod.spec.node_name),
        phase=_PHASE_ORDER.get(pod.status.phase, 0),
        ready=is_ready(pod),
        cost=deletion_cost(pod) if modern else 0,
        neighbours=neighbours,
        ready_since=ready_since(pod),
        restarts=max((status.restart_count for status in statuses), default=0),
        created=pod.metadata.creation_timestamp,
    )


def _age_bucket(since: Time, now_us: int) -> int:
    """The whole part of log2 of the age in nanoseconds; -1 for no age."""
    return ((now_us - since) * _US_TO_NS).bit_length() - 1 if now_us > since else -1


def _younger_first(
    one: Time | None, other: Time | None, uids: tuple[str, str], now_us: int, *, modern: bool
) -> int:
    """Compare two different times: the younger one first; since 1.22 by power of two of the age
    only, then by uid, so that a scale-down does not always take the same side of a rollout.
    """
    if one is None or other is None:
        return -1 if one is None else 1
    if not modern:
        return -1 if one > other else 1
    difference = _age_bucket(one, now_us) - _age_bucket(other, now_us)
    if difference:
        return difference
    return -1 if uids[0] < uids[1] else 1


def _compare(one: _Rank, other: _Rank, now_us: int, *, modern: bool) -> int:
    for first, second in (
        (one.assigned, other.assigned),
        (one.phase, other.phase),
        (one.ready, other.ready),
        (one.cost, other.cost),
        (other.neighbours, one.neighbours),
    ):
        if first != second:
            return -1 if first < second else 1
    uids = (one.pod.metadata.uid, other.pod.metadata.uid)
    if one.ready and one.ready_since != other.ready_since:
        return _younger_first(one.ready_since, other.ready_since, uids, now_us, modern=modern)
    if one.restarts != other.restarts:
        return -1 if one.restarts > other.restarts else 1
    if one.created != other.created:
        return _younger_first(one.created, other.created, uids, now_us, modern=modern)
    return 0


def pods_per_node(related: Iterable[Pod]) -> dict[str, int]:
    """How many active pods each node has among `related`; those without a node count under ""."""
    counts: dict[str, int] = {}
    for pod in related:
        if is_active(pod):
            node = pod.spec.node_name
            counts[node] = counts.get(node, 0) + 1
    return counts


def victims(
    pods: Sequence[Pod], related: Iterable[Pod], count: int, now_us: int, *, modern: bool
) -> list[Pod]:
    """The `count` pods to delete, first the one that goes first.

    `related` are the pods of all ReplicaSets with the same controller, these included. `modern` is
    Kubernetes 1.22 and later. Pods that compare equal keep the order given.
    """
    if count >= len(pods):
        return list(pods)
    crowd = pods_per_node(related)
    ranks = [_rank(pod, crowd.get(pod.spec.node_name, 0), modern=modern) for pod in pods]
    compare = partial(_compare, now_us=now_us, modern=modern)
    ranks.sort(key=cmp_to_key(compare))
    return [rank.pod for rank in ranks[:count]]
