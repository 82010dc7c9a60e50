"""The scheduler's shell: informers in, bindings and Events out, around the synchronous core.

One task takes decisions, one at a time. Bindings are carried out by a few workers meanwhile, so that the next decision does
not wait for the API; what they have not got round to is bounded, and decisions wait when it is full. A pod that fits
nowhere is dealt with before the next decision: victims are evicted, an Event is told, the condition is written if it
changed. A third task wakes the core when a back-off or an assumption ends.

If the answer to a binding is lost, the pod may or may not be bound. It stays assumed, and thus counted, until a fresh read
has told (test_scheduler_faults.py): giving the room away sooner could overcommit the node.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Final

import attrs
import trio

from engine import (
    ApiError,
    Change,
    Condition,
    Conflict,
    Key,
    Namespace,
    Node,
    NotFound,
    Pod,
    PodStatus,
    Reconciler,
    ReplicaSet,
    ReplicationController,
    Result,
    Service,
    Source,
    Time,
    Timeout,
    Watches,
    current_origin,
    set_condition,
    set_origin,
)
from reconcilers.scheduler.cache import CacheStatistics
from reconcilers.scheduler.core import SCHEDULER_NAME, Bind, Decision, Fail, SchedulerCore, Skip
from reconcilers.scheduler.pod_info import PodInfo
from reconcilers.scheduler.preemption import Preempted
from reconcilers.scheduler.queue import QueueStatistics
from store import Cause, Origin

BINDERS: Final = 16
"""Bindings carried out at the same time."""
MAX_UNBOUND: Final = 64
"""Decisions that may wait for a binder before the next one is taken."""
RETRY_SECONDS: Final = 1.0
"""Pause before asking again what became of a pod, when the API does not answer."""
MAX_TRIES: Final = 3
"""How often a status is written anew when the pod changed under it."""
_NS: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class SchedulerStatistics:
    """What waits where, and how many cycles there were since the start."""

    cycles: int
    unbound: int
    """Decisions that no binder has taken up yet."""
    queue: QueueStatistics
    cache: CacheStatistics


class Scheduler(Reconciler):
    """Gives pending pods a node. See the module's text."""

    name: ClassVar[str] = "scheduler"
    component: ClassVar[str] = SCHEDULER_NAME
    modern_events: ClassVar[bool] = True

    core: SchedulerCore
    _unbound: deque[tuple[Bind, Origin]]
    _binders: trio.lowlevel.ParkingLot
    _room: trio.lowlevel.ParkingLot
    _decide: trio.Event
    _timer: trio.Event
    _cycles: int
    _started: tuple[Cause, ...]

    @classmethod
    def actor(cls) -> str:
        return "scheduler"

    def sources(self) -> Sequence[Source]:
        """Only caches: the scheduler has a queue of its own."""
        unfinished = "status.phase!=Succeeded,status.phase!=Failed"
        return [
            Watches(Namespace, on_change=self._on_namespace),
            Watches(Service, on_change=self._on_service),
            Watches(ReplicaSet, on_change=self._on_owner),
            Watches(ReplicationController, on_change=self._on_owner),
            Watches(Node, on_change=self._on_node),
            Watches(Pod, on_change=self._on_pod, field_selector=unfinished),
        ]

    async def setup(self) -> None:
        self.core = SchedulerCore(self.settings, self.draws.integer, self.clock.now_ns())
        self._unbound = deque()
        self._binders = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._decide = trio.Event()
        self._timer = trio.Event()
        self._cycles = 0
        self._started = current_origin().causes

    async def reconcile(self, key: Key) -> Result:
        """Nothing is enqueued: decisions are taken by `loops`."""
        raise AssertionError(f"{key}: the scheduler has no keys")

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return [self.decide, self.watch_time, *([self.bind] * BINDERS)]

    def statistics(self) -> SchedulerStatistics:
        return SchedulerStatistics(
            cycles=self._cycles,
            unbound=len(self._unbound),
            queue=self.core.queue.statistics(),
            cache=self.core.cache.statistics(),
        )

    @property
    def idle(self) -> bool:
        """Nothing to decide and nothing to bind; pods that wait for time or for an event do not count."""
        queue = self.core.queue.statistics()
        return not (queue.active or queue.in_flight or self._unbound)

    # -- what it hears -----------------------------------------------------------------------------

    def _on_pod(self, change: Change[Pod]) -> None:
        self._hear()
        self.core.pod_changed(change.old, change.new, self.clock.now_ns())
        self._wake()

    def _on_node(self, change: Change[Node]) -> None:
        self._hear()
        self.core.node_changed(change.old, change.new, self.clock.now_ns())
        self._wake()

    def _on_service(self, change: Change[Service]) -> None:
        self._hear()
        metadata = change.object.metadata
        self.core.service_changed(
            metadata.namespace, metadata.name, change.new, self.clock.now_ns()
        )
        self._wake()

    def _on_owner(self, change: Change[ReplicaSet] | Change[ReplicationController]) -> None:
        owner = change.object
        metadata = owner.metadata
        self.core.workloads.set_owner(owner.kind, metadata.namespace, metadata.name, change.new)

    def _on_namespace(self, change: Change[Namespace]) -> None:
        labels = change.new.metadata.labels if change.new is not None else None
        self.core.cache.index.set_namespace(change.object.metadata.name, labels)

    def _hear(self) -> None:
        """What is being delivered is the cause of what the core will do about it."""
        self.core.because(*current_origin().causes)

    def _wake(self) -> None:
        self._decide.set()
        self._timer.set()

    # -- deciding ----------------------------------------------------------------------------------

    async def decide(self) -> None:
        """Take one decision after another, for ever."""
        while True:
            await self._gate()
            self._decide = trio.Event()
            decision = self.core.next(self.clock.now_ns())
            if decision is None:
                await self._decide.wait()
                continue
            self._put_in_force(decision)
            if isinstance(decision, Bind):
                self._unbound.append((decision, current_origin()))
                self._binders.unpark()
                while len(self._unbound) >= MAX_UNBOUND:
                    await self._room.park()
            elif isinstance(decision, Fail):
                await self._fail(decision)
                self._timer.set()
            elif decision.message:
                self._tell_failure(decision)

    def _put_in_force(self, decision: Decision) -> None:
        self._cycles += 1
        origin = current_origin()
        reconcile = f"{origin.actor}#{self._cycles}"
        set_origin(Origin(origin.actor, reconcile, decision.causes or self._started))

    async def watch_time(self) -> None:
        """Wake the core when something falls due, for ever."""
        while True:
            self._timer = trio.Event()
            due = self.core.wake_at()
            wait = math.inf if due is None else (due - self.clock.now_ns()) / _NS
            with trio.move_on_after(max(wait, 0.0)):
                await self._timer.wait()
                continue
            await self._gate()
            self.core.because(f"timer:{current_origin().actor}")
            self.core.tick(self.clock.now_ns())
            self._decide.set()

    # -- binding -----------------------------------------------------------------------------------

    async def bind(self) -> None:
        """Carry out bindings, one after another, for ever; several of these run side by side."""
        while True:
            while not self._unbound:
                await self._binders.park()
            decision, origin = self._unbound.popleft()
            self._room.unpark()
            set_origin(origin)
            await self._bind(decision)

    async def _bind(self, decision: Bind) -> None:
        pod, refused = decision.pod, ""
        try:
            await self.client.bind(pod.pod, decision.node)
        except Timeout as error:
            refused = "" if await self._is_bound(pod) else str(error)
        except ApiError as error:
            refused = str(error)
        now = self.clock.now_ns()
        if not refused:
            self.core.bound(pod.uid, now)
            message = f"Successfully assigned {pod.key} to {decision.node}"
            self.recorder.event(pod.pod, "Normal", "Scheduled", message)
            self._timer.set()
            return
        self.core.because(*current_origin().causes)
        if self.core.bind_failed(pod.uid, now):
            message = f"binding rejected: {refused}"
            self.recorder.event(pod.pod, "Warning", "FailedScheduling", message)
            await self._write_status(pod, "SchedulerError", message, None)
        self._wake()

    async def _is_bound(self, pod: PodInfo) -> bool:
        """Find out from the API itself; asks until it answers, while the pod stays assumed."""
        while True:
            try:
                found = await self.client.get(Pod, pod.name, pod.namespace)
            except NotFound:
                return False
            except ApiError:
                await trio.sleep(RETRY_SECONDS)
                continue
            return found.metadata.uid == pod.uid and bool(found.spec.node_name)

    # -- failing -----------------------------------------------------------------------------------

    async def _fail(self, decision: Fail) -> None:
        pod, nominated = decision.pod, decision.nominated
        if decision.preempted is not None and not await self._evict(pod, decision.preempted):
            self.core.preemption_failed(pod.uid, self.clock.now_ns())
            nominated = None
        self._tell_failure(decision)
        await self._write_status(pod, "Unschedulable", decision.message, nominated)

    def _tell_failure(self, decision: Fail | Skip) -> None:
        self.recorder.event(decision.pod.pod, "Warning", "FailedScheduling", decision.message)

    async def _evict(self, preemptor: PodInfo, preempted: Preempted) -> bool:
        """Delete the victims; False when the API refused one that is still there."""
        for victim in preempted.victims:
            try:
                if self.settings.at_least("1.26"):
                    await self._mark_disrupted(victim)
                await self.client.delete(
                    Pod, victim.name, victim.namespace, uid=victim.pod.metadata.uid
                )
            except (NotFound, Conflict):
                continue  # gone, or another pod of its name by now
            except ApiError:
                return False
            message = self.core.wording.preempted(preemptor.key, preemptor.uid, preempted.node)
            self.recorder.event(victim.pod, "Normal", "Preempted", message)
        for other in preempted.displaced:
            await self._change_status(
                other, lambda status: attrs.evolve(status, nominated_node_name="")
            )
        return True

    async def _mark_disrupted(self, victim: PodInfo) -> None:
        condition = Condition(
            type="DisruptionTarget",
            status="True",
            reason="PreemptionByScheduler",
            message=f"{SCHEDULER_NAME}: preempting to accommodate a higher priority pod",
            observed_generation=self._generation(victim.pod),
        )
        await self._change_status(victim, lambda status: self._with(status, condition))

    async def _write_status(
        self, pod: PodInfo, reason: str, message: str, nominated: str | None
    ) -> None:
        """PodScheduled=False, and the nomination if it changes. A refusal is left for the next attempt."""
        condition = Condition(
            type="PodScheduled",
            status="False",
            reason=reason,
            message=message,
            observed_generation=self._generation(pod.pod),
        )

        def change(status: PodStatus) -> PodStatus:
            if nominated is not None and nominated != status.nominated_node_name:
                status = attrs.evolve(status, nominated_node_name=nominated)
            return self._with(status, condition)

        try:
            await self._change_status(pod, change)
        except ApiError:
            return

    async def _change_status(self, pod: PodInfo, change: Callable[[PodStatus], PodStatus]) -> None:
        """Write the pod's status if `change` makes a difference, on its newest state. Raises ApiError."""
        known = self.informer(Pod).get(Key(pod.namespace, pod.name))
        for _ in range(MAX_TRIES):
            if known is None or known.metadata.uid != pod.uid:
                return
            if known.spec.node_name and not pod.pod.spec.node_name:
                return  # bound meanwhile: what there was to say is out of date
            status = change(known.status)
            if status == known.status:
                return
            try:
                await self.client.update_status(attrs.evolve(known, status=status))
            except NotFound:
                return
            except Conflict:
                known = await self._read(pod)
            else:
                return

    async def _read(self, pod: PodInfo) -> Pod | None:
        try:
            return await self.client.get(Pod, pod.name, pod.namespace)
        except NotFound:
            return None

    def _with(self, status: PodStatus, condition: Condition) -> PodStatus:
        now = Time.of(self.clock.unix_us())
        conditions = set_condition(status.conditions, condition, now)
        return (
            status
            if conditions is status.conditions
            else attrs.evolve(status, conditions=conditions)
        )

    def _generation(self, pod: Pod) -> int | None:
        """Conditions tell the generation they are about from 1.34 on (PodObservedGenerationTracking)."""
        return pod.metadata.generation or None if self.settings.at_least("1.34") else None
