"""The scheduler without its waiting: what it hears changes cache and queue, and `next` decides on one pod.

All of it is synchronous: one scheduling cycle is one call, so nothing can change between looking and deciding. What has to be
written to the API comes back as a `Decision`; the shell carries it out and reports back with `bound` or `bind_failed`. A pod
that was decided on counts on its node from that moment (cache.py), so two decisions never share the same room; and it
leaves the queue's active part, so it is never decided on twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import attrs

from engine import Node, Pod, Service, Settings
from reconcilers.scheduler.cache import Cache
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.nominations import Nominations
from reconcilers.scheduler.placement import Placed, Placement, Unplaced
from reconcilers.scheduler.pod_info import PodInfo, pod_info
from reconcilers.scheduler.preemption import NotPreempted, Preempted, Preemption
from reconcilers.scheduler.queue import Event, QueuedPod, SchedulingQueue
from reconcilers.scheduler.tables import LocalPlugins
from reconcilers.scheduler.wording import NO_NODES, Wording
from reconcilers.scheduler.workloads import Workloads
from store import Cause

SCHEDULER_NAME: Final = "default-scheduler"
TERMINAL: Final = ("Succeeded", "Failed")
"""Pods in these phases take no room and need none."""

LabelledPick: TypeAlias = Callable[[str, int, int], int]
"""Draws an index: label, number of the draw under that label, bound."""


@attrs.frozen
class Bind:
    """Bind the pod to the node; it counts there already."""

    pod: PodInfo
    node: str
    causes: tuple[Cause, ...]


@attrs.frozen(kw_only=True)
class Fail:
    """No node takes the pod: say so. `nominated` is the node it waits for from now on ("": none, None: as before)."""

    pod: PodInfo
    message: str
    nominated: str | None
    preempted: Preempted | None
    causes: tuple[Cause, ...]


@attrs.frozen
class Skip:
    """The pod needs no node any more; `message`, if any, is worth an Event."""

    pod: PodInfo
    message: str
    causes: tuple[Cause, ...]


Decision: TypeAlias = Bind | Fail | Skip


@attrs.define(eq=False)
class SchedulerCore:
    """See the module's text. `now` is nanoseconds since the start of the run everywhere."""

    settings: Settings
    pick: LabelledPick
    now: int = 0
    """When the scheduler started."""
    cache: Cache = attrs.field(init=False)
    queue: SchedulingQueue = attrs.field(init=False)
    nominations: Nominations = attrs.field(factory=Nominations, init=False)
    workloads: Workloads = attrs.field(factory=Workloads, init=False)
    placement: Placement = attrs.field(init=False)
    preemption: Preemption = attrs.field(init=False)
    wording: Wording = attrs.field(init=False)
    _local: LocalPlugins = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self.cache = Cache(settings.assumed_pod_ttl)
        self.queue = SchedulingQueue(settings, self.now)
        self.placement = Placement.of(
            self.cache, self.nominations, settings, self.workloads.selector
        )
        self.preemption = Preemption(self.cache, self.placement, self.nominations, settings)
        self.wording = Wording(settings)
        self._local = self.placement.local

    # -- what it hears -----------------------------------------------------------------------------

    def node_changed(self, old: Node | None, new: Node | None, now: int) -> None:
        """A node was added (no `old`), changed, or removed (no `new`)."""
        if new is None:
            assert old is not None
            self.cache.remove_node(old.metadata.name)
            return
        info = self.cache.set_node(new)
        for event in _node_events(old, new):
            self.queue.move(event, now, partial(self._could_take, info))

    def _could_take(self, node: NodeInfo, pod: PodInfo) -> bool:
        """Whether a changed node may have become fit for a pod that is unschedulable."""
        if not self.settings.at_least("1.32"):
            return True
        refused = self._local.filter(pod.shape, node)
        return refused is None or not refused.unresolvable

    def pod_changed(self, old: Pod | None, new: Pod | None, now: int) -> None:
        """A pod was added (no `old`), changed, or removed (no `new`)."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._pod_gone(old, now)
            old = None
        if new is None:
            return
        if new.status.phase in TERMINAL:
            self._pod_gone(new, now)
        elif new.spec.node_name:
            self._pod_bound(new, now)
        elif new.spec.scheduler_name in ("", SCHEDULER_NAME):
            self._pod_pending(old, new, now)

    def _pod_gone(self, pod: Pod, now: int) -> None:
        uid = pod.metadata.uid
        self.nominations.drop(uid)
        self.queue.remove(uid)
        if self.cache.remove(uid) is not None:
            self.queue.move(Event.POD_DELETED, now)

    def _pod_bound(self, pod: Pod, now: int) -> None:
        uid = pod.metadata.uid
        before = self.cache.pod(uid)
        confirmed = self.cache.is_assumed(uid)
        self.nominations.drop(uid)
        self.queue.remove(uid)
        self.cache.put(pod)
        after = self.cache.pod(uid)
        assert after is not None
        if before is None or confirmed:
            self.queue.move(Event.POD_ADDED, now, partial(_near, self.cache, after))
        elif before is not after:
            freed = before.shape.request != after.shape.request
            self.queue.move(
                Event.POD_UPDATED, now, None if freed else partial(_near, self.cache, after)
            )

    def _pod_pending(self, old: Pod | None, new: Pod, now: int) -> None:
        uid = new.metadata.uid
        if self.cache.pod(uid) is not None:
            return  # decided on already; what the API shows is older than the decision
        queued = self.queue.get(uid)
        info = queued.info if queued is not None and queued.info.absorb(new) else pod_info(new)
        if queued is None:
            self.queue.add(info, now)
        else:
            changed = old is None or _changed(old, new)
            self.queue.update(info, now, spec_changed=changed)
        if self.nominations.node_of(uid):
            self.nominations.set(info, self.nominations.node_of(uid))  # with the newer info
        before = old.status.nominated_node_name if old is not None else ""
        if new.status.nominated_node_name != before:
            self.nominations.set(info, new.status.nominated_node_name)

    def service_changed(self, namespace: str, name: str, service: Service | None, now: int) -> None:
        """A Service was added, changed, or (None) removed."""
        if self.workloads.set_service(namespace, name, service):
            self.queue.move(Event.SERVICES, now)

    # -- what it decides -----------------------------------------------------------------------------

    def next(self, now: int) -> Decision | None:
        """Decide on the pod whose turn it is; None when none is waiting."""
        queued = self.queue.pop(now)
        if queued is None:
            return None
        pod = queued.info
        if pod.terminating or self.cache.pod(pod.uid) is not None:
            self.queue.done(pod.uid)
            self.nominations.drop(pod.uid)
            message = f"skip schedule deleting pod: {pod.key}" if pod.terminating else ""
            return Skip(pod, message, queued.causes)
        result = self.placement.place(pod, self._picker("tie", queued))
        if isinstance(result, Placed):
            self.nominations.drop(pod.uid)
            self.cache.assume(pod, result.node.name)
            return Bind(pod, result.node.name, queued.causes)
        return self._fail(queued, result, now)

    def _picker(self, what: str, queued: QueuedPod) -> Callable[[int], int]:
        """Choices among equals, drawn under the pod's own name: other pods' choices do not shift with it."""
        return partial(self.pick, f"scheduler/{what}/{queued.info.key}", queued.attempts)

    def _fail(self, queued: QueuedPod, result: Unplaced, now: int) -> Fail:
        pod, rejections, causes = queued.info, result.rejections, queued.causes
        if not rejections:
            # Counts as an error in newer versions: tried again after a back-off, whatever happens.
            refused = () if self.settings.at_least("1.27") else ("NoNodes",)
            self.queue.failed(pod.uid, refused, now)
            return Fail(pod=pod, message=NO_NODES, nominated=None, preempted=None, causes=causes)
        outcome = self.preemption.preempt(pod, rejections, self._picker("preemption", queued))
        nominated: str | None = None
        preempted: Preempted | None = None
        suffix: str | None = None
        if isinstance(outcome, NotPreempted):
            suffix = outcome.message
            if not outcome.waits:
                nominated = ""
        else:
            preempted, nominated = outcome, outcome.node
            for other in outcome.displaced:
                self.nominations.drop(other.uid)
        if nominated is not None:
            self.nominations.set(pod, nominated)
        message = self.wording.unschedulable(len(rejections), rejections, suffix)
        plugins = tuple(dict.fromkeys(refused.plugin for refused in rejections))
        self.queue.failed(pod.uid, plugins, now)
        return Fail(
            pod=pod, message=message, nominated=nominated, preempted=preempted, causes=causes
        )

    def bound(self, uid: str, now: int) -> None:
        """The API accepted a binding."""
        self.queue.done(uid)
        # Newer versions keep the assumption until the pod is seen (durationToExpireAssumedPod = 0).
        if not self.settings.at_least("1.26"):
            self.cache.finish_binding(uid, now)

    def bind_failed(self, uid: str, now: int) -> bool:
        """The API refused a binding; whether the pod is still waiting and will be tried again."""
        if self.cache.is_assumed(uid):
            self.cache.forget(uid)
            if self.settings.at_least("1.22"):
                self.queue.move(Event.POD_DELETED, now)
        queued = self.queue.get(uid)
        if queued is None:
            return False
        self.queue.failed(uid, (), now)
        self.nominations.set(queued.info, queued.info.pod.status.nominated_node_name)
        return True

    def preemption_failed(self, uid: str, now: int) -> None:
        """The victims could not be evicted: the pod waits for no node, and is tried again after its back-off."""
        self.nominations.drop(uid)
        self.queue.retry(uid, now)

    def because(self, *causes: Cause) -> None:
        """What is behind the calls made from now on: pods that they move are tried for that reason."""
        self.queue.because = causes

    # -- time ----------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Do what is due."""
        self.queue.flush(now)
        for pod in self.cache.expire(now):
            self.queue.move(Event.POD_DELETED, now)
            self.queue.remove(pod.uid)

    def wake_at(self) -> int | None:
        """When `tick` has something to do next, ns."""
        times = [t for t in (self.queue.next_flush(), self.cache.next_expiry()) if t is not None]
        return min(times) if times else None

    def check(self) -> None:
        """Assert all invariants: the parts' own, and that no pod both waits and stands somewhere."""
        self.cache.check()
        self.queue.check()
        self.nominations.check()
        self.placement.tables.check()


def _node_events(old: Node | None, new: Node) -> list[Event]:
    """What of a node's change may help pods (eventhandlers.go, nodeSchedulingPropertiesChange)."""
    if old is None:
        return [Event.NODE_ADDED]
    events: list[Event] = []
    if old.spec.unschedulable and not new.spec.unschedulable:
        events.append(Event.NODE_TAINTS)
    if old.status.allocatable != new.status.allocatable:
        events.append(Event.NODE_ALLOCATABLE)
    if old.metadata.labels != new.metadata.labels:
        events.append(Event.NODE_LABELS)
    if old.spec.taints != new.spec.taints:
        events.append(Event.NODE_TAINTS)
    if [(c.type, c.status) for c in old.status.conditions] != [
        (c.type, c.status) for c in new.status.conditions
    ]:
        events.append(Event.NODE_CONDITIONS)
    return events


def _near(cache: Cache, arrived: PodInfo, waiting: PodInfo) -> bool:
    """Whether a pod that arrived may help one that waits for company, or for even spread."""
    if any(cache.index.means((term.conjunct,), arrived) for term in waiting.terms.affinity):
        return True
    return bool(waiting.pod.spec.topology_spread_constraints) and (
        arrived.namespace == waiting.namespace
    )


def _changed(old: Pod, new: Pod) -> bool:
    """Whether anything but the status changed."""
    before, after = old.metadata, new.metadata
    return (
        (old.spec is not new.spec and old.spec != new.spec)
        or before.labels != after.labels
        or before.annotations != after.annotations
        or before.owner_references != after.owner_references
        or before.deletion_timestamp != after.deletion_timestamp
        or before.finalizers != after.finalizers
    )
