"""Invariants of Deployments: how many pods there may be, and how many there must be."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final, cast

import attrs

from engine import Deployment, Fault, KubeObject, Pod, ReplicaSet, is_active, is_ready, key_of
from reconcilers import max_surge
from store import Event as LogEvent
from wavetank.invariants.deadlines import Disturbances
from wavetank.invariants.model import SECOND_NS
from wavetank.invariants.replicas import PodCounts, deployment_of
from wavetank.view import View

DEPLOYMENT: Final = "controller/deployment"
REPLICA_SET: Final = "controller/replicaset"

LENIENT_NS: Final = 600 * SECOND_NS
"""For so long what a controller did not do itself (a pod lost, a Deployment scaled) may be unknown to it, and excuses it."""
_NEWS_NS: Final = 5 * SECOND_NS
"""A pod that has been ready for less may still have been not ready to the one who chose it for deletion."""


@attrs.define
class WithinSurge:
    """A Deployment never has more pods than its replicas plus maxSurge; terminating pods do not count.

    After a change that lowers the bound the old one stays in force until the pods have come down to the new one. Likewise, what a ReplicaSet
    has above its size after it was made smaller does not count until it has come down, nor for ten minutes: the Deployment controller keeps the bound
    in sizes, and may let the new one grow before the pods of the old one are deleted, and while creations of its former size are on their way.
    """

    name: ClassVar[str] = "withinSurge"
    kinds: ClassVar = (Pod, ReplicaSet, Deployment)
    _ceilings: dict[str, int] = attrs.field(factory=dict)
    _live: PodCounts = attrs.field(factory=lambda: PodCounts(is_active))
    _shrunk_ns: dict[str, int] = attrs.field(factory=dict)
    """When the ReplicaSets, by uid, were made smaller that may not have come down yet."""

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        new = cast("KubeObject | None", event.value)
        obj = old if new is None else new
        if isinstance(obj, Pod):
            changed = self._live.observe(cast("Pod | None", old), cast("Pod | None", new), view)
        else:
            changed = old is None or new is None or _says_something(old, new)
        if not changed:
            return None
        if isinstance(obj, ReplicaSet):
            self._resized(cast("ReplicaSet | None", old), cast("ReplicaSet | None", new), view)
        deployment = deployment_of(obj, view)
        if deployment is None:
            return None
        if new is None and obj is deployment:
            self._ceilings.pop(deployment.metadata.uid, None)
            return None
        return self._judge(deployment, view)

    def _judge(self, deployment: Deployment, view: View) -> str | None:
        uid = deployment.metadata.uid
        replicas = 1 if deployment.spec.replicas is None else deployment.spec.replicas
        bound = replicas + max_surge(deployment)
        owned = view.state.controlled_by(uid)
        live = sum(self._counting(cast("ReplicaSet", each), view) for each in owned)
        ceiling = max(self._ceilings.get(uid, bound), bound)
        self._ceilings[uid] = bound if live <= bound else ceiling
        if live > ceiling:
            return f"Deployment {key_of(deployment)} has {live} pods, {ceiling} are allowed"
        return None

    def _resized(self, old: ReplicaSet | None, new: ReplicaSet | None, view: View) -> None:
        if new is None:
            uid = cast("ReplicaSet", old).metadata.uid
            self._live.forget(uid)
            self._shrunk_ns.pop(uid, None)
        elif old is not None and _size(new) < _size(old):
            self._shrunk_ns[new.metadata.uid] = view.state.time_ns

    def _counting(self, replica_set: ReplicaSet, view: View) -> int:
        """The pods of a ReplicaSet that count."""
        uid = replica_set.metadata.uid
        live = self._live.of(uid, view)
        shrunk = self._shrunk_ns.get(uid)
        if shrunk is None:
            return live
        if live > _size(replica_set):
            return _size(replica_set)
        if view.state.time_ns - shrunk >= LENIENT_NS:
            del self._shrunk_ns[uid]
        return live


def _size(replica_set: ReplicaSet) -> int:
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def _says_something(old: KubeObject, new: KubeObject) -> bool:
    """Whether a Deployment or ReplicaSet has another spec or another owner."""
    before, after = cast("Deployment", old), cast("Deployment", new)
    if before.spec is not after.spec and before.spec != after.spec:
        return True
    references = before.metadata.owner_references
    return (
        references is not after.metadata.owner_references
        and references != after.metadata.owner_references
    )


def _least_available(deployment: Deployment) -> int:
    """The replicas without maxUnavailable: a share of them is rounded down (25 % by default), and 1 when neither it nor a surge is allowed."""
    replicas = 1 if deployment.spec.replicas is None else deployment.spec.replicas
    strategy = deployment.spec.strategy
    rolling = strategy.rolling_update if strategy is not None else None
    value: int | str | None = "25%" if rolling is None else rolling.max_unavailable
    if isinstance(value, str):
        value = int(value.removesuffix("%")) * replicas // 100
    unavailable = value or 0
    if not unavailable and not max_surge(deployment):
        unavailable = 1
    return max(0, replicas - unavailable)


def _available(pod: Pod) -> bool:
    return is_ready(pod) and is_active(pod)


@attrs.define
class AboveMinAvailable:
    """A rolling update, by its own deletions, never leaves a Deployment with fewer available pods than replicas - maxUnavailable.

    Looked at when the ReplicaSet controller deletes a pod that is available. What others took (a crash, an eviction, a container
    that failed) is no fault of the update: each pod that ceased to be available otherwise counts as available for ten minutes, after which
    every controller knows of it. Deployments that were scaled, changed their strategy, or whose ReplicaSets somebody else sized are let be
    for as long, and so are all while the control plane is disturbed. Available is ready: minReadySeconds makes the rule milder, not wrong.
    """

    name: ClassVar[str] = "aboveMinAvailable"
    kinds: ClassVar = (Pod, ReplicaSet, Deployment, Fault)
    _available: PodCounts = attrs.field(factory=lambda: PodCounts(_available))
    _ready_ns: dict[str, int] = attrs.field(factory=dict)
    """Since when each pod that counts does, by uid."""
    _losses: dict[str, deque[int]] = attrs.field(factory=dict)
    """When a Deployment lost pods that nobody of its own deleted, by uid."""
    _touched_ns: dict[str, int] = attrs.field(factory=dict)
    """When a Deployment, by uid, was last changed in another way than an update."""
    _disturbances: Disturbances = attrs.field(factory=Disturbances)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        new = cast("KubeObject | None", event.value)
        obj = old if new is None else new
        if isinstance(obj, Pod):
            return self._pod(cast("Pod | None", old), cast("Pod | None", new), event, view)
        if isinstance(obj, ReplicaSet):
            self._replica_set(cast("ReplicaSet | None", old), obj, event, view)
        elif isinstance(obj, Deployment):
            self._deployment(cast("Deployment | None", old), obj, event)
        else:
            self._disturbances.observe(event, old)
        return None

    def _pod(self, old: Pod | None, new: Pod | None, event: LogEvent, view: View) -> str | None:
        if not self._available.observe(old, new, view):
            return None
        if old is None or not _available(old):
            self._ready_ns[cast("Pod", new).metadata.uid] = event.time_ns
        elif new is None or not _available(new):  # else it has another owner now
            return self._lost(old, new, event, view)
        return None

    def _lost(self, old: Pod, new: Pod | None, event: LogEvent, view: View) -> str | None:
        now = event.time_ns
        since = self._ready_ns.pop(old.metadata.uid, now)
        deployment = deployment_of(old, view)
        if deployment is None:
            return None
        leaves = new is None or new.metadata.deletion_timestamp is not None
        if not leaves or not event.origin.actor.startswith(REPLICA_SET):
            self._losses.setdefault(deployment.metadata.uid, deque()).append(now)
            return None
        if now - since < _NEWS_NS or self._disturbances.since(now - LENIENT_NS):
            return None
        return self._deleted(old, deployment, now, view)

    def _deleted(self, pod: Pod, deployment: Deployment, now: int, view: View) -> str | None:
        uid = deployment.metadata.uid
        strategy = deployment.spec.strategy
        rolling = strategy is None or strategy.type in ("", "RollingUpdate")
        touched = now - self._touched_ns.get(uid, -LENIENT_NS) < LENIENT_NS
        if not rolling or touched or deployment.metadata.deletion_timestamp is not None:
            return None
        losses = self._losses.get(uid, deque())
        while losses and losses[0] <= now - LENIENT_NS:
            losses.popleft()
        least = _least_available(deployment)
        left = self._available.of_deployment(deployment, view)
        if left + len(losses) >= least:
            return None
        return (
            f"the deletion of pod {key_of(pod)} left Deployment {key_of(deployment)} "
            f"with {left} available pods; its rolling update must leave {least}"
        )

    def _replica_set(
        self, old: ReplicaSet | None, obj: ReplicaSet, event: LogEvent, view: View
    ) -> None:
        if event.value is None:
            self._available.forget(obj.metadata.uid)
            return
        if old is None or not _says_something(old, obj):
            return
        if not event.origin.actor.startswith(DEPLOYMENT):
            deployment = deployment_of(obj, view)
            if deployment is not None:
                self._touched_ns[deployment.metadata.uid] = event.time_ns

    def _deployment(self, old: Deployment | None, obj: Deployment, event: LogEvent) -> None:
        uid = obj.metadata.uid
        if event.value is None:
            self._touched_ns.pop(uid, None)
            self._losses.pop(uid, None)
        elif old is not None and old.spec is not obj.spec:
            before, after = old.spec, obj.spec
            if (before.replicas, before.strategy) != (after.replicas, after.strategy):
                self._touched_ns[uid] = event.time_ns
