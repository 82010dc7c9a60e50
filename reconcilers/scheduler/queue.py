"""The scheduling queue: which pod is tried next, and when one that failed is tried again.

A pending pod is in one of four places (internal/queue/scheduling_queue.go):

    active          tried next: highest priority first, then longest waiting
    backing off     failed not long ago; 1 s doubled to 10 s, then active
    unschedulable   failed; waits for an event that may help, or for the flush after 5 minutes
    gated           has scheduling gates; waits until they are removed

    add -> active -> pop (in flight) -> done                         bound
                                     -> failed -> unschedulable -> an event that may help -> backing off -> active
                                               -> backing off, if such an event came while it was in flight, or on an error

Which events may help a pod depends on the plugins that refused it (`INTEREST`, Kubernetes' queueing hints in coarse form; up to
1.31 every event helps every pod). Times are integer nanoseconds given by the caller; nothing here waits.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from engine import Settings, merge_causes
from reconcilers.scheduler.pod_info import PodInfo
from store import Cause

_NS: Final = 1_000_000_000
FLUSH_BACKOFF: Final = 1 * _NS
"""Period of flushBackoffQCompleted."""
FLUSH_UNSCHEDULABLE: Final = 30 * _NS
"""Period of flushUnschedulablePodsLeftover."""


class Where(enum.Enum):
    """The place of a pod in the queue."""

    ACTIVE = "active"
    BACKOFF = "backing off"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    IN_FLIGHT = "in flight"


class Event(enum.Enum):
    """What happened in the cluster that may make room."""

    NODE_ADDED = "node added"
    NODE_ALLOCATABLE = "node allocatable changed"
    NODE_LABELS = "node labels changed"
    NODE_TAINTS = "node taints or cordon changed"
    NODE_CONDITIONS = "node conditions changed"
    POD_ADDED = "assigned pod added"
    POD_UPDATED = "assigned pod changed"
    POD_DELETED = "assigned pod deleted"
    SERVICES = "services changed"


_TOPOLOGY: Final = ("PodTopologySpread", "InterPodAffinity")
_NODE_STATE: Final = ("NodeUnschedulable", "TaintToleration")
INTEREST: Final[dict[Event, tuple[str, ...] | None]] = {
    Event.NODE_ADDED: None,
    Event.NODE_ALLOCATABLE: ("NodeResourcesFit",),
    Event.NODE_LABELS: ("NodeAffinity", *_TOPOLOGY),
    Event.NODE_TAINTS: (*_NODE_STATE, "PodTopologySpread"),
    Event.NODE_CONDITIONS: (),
    Event.POD_ADDED: _TOPOLOGY,
    Event.POD_UPDATED: ("NodeResourcesFit", *_TOPOLOGY),
    Event.POD_DELETED: ("NodeResourcesFit", "NodePorts", *_TOPOLOGY),
    Event.SERVICES: (),
}
"""Pods refused by which plugins an event may help (each plugin's EventsToRegister); None: all of them."""

Hint = Callable[[PodInfo], bool]
"""Whether an event may help this very pod; cheap, and may err towards yes."""


@attrs.define(eq=False)
class QueuedPod:
    """A pending pod and its history in the queue."""

    info: PodInfo
    where: Where
    since: int
    """When it came to its place, ns; of equal priority the earliest goes first."""
    attempts: int = 0
    refused_by: tuple[str, ...] = ()
    """The plugins that refused it in its last attempt; none after an error."""
    expiry: int = 0
    """End of its back-off, ns."""
    ticket: int = 0
    """Of its newest heap entry; older entries are void."""
    causes: tuple[Cause, ...] = ()
    """What made it be tried (again): revisions and timers."""
    helped: bool = False
    """An event that may help came while it was in flight."""

    def __repr__(self) -> str:
        return f"QueuedPod({self.info.key}, {self.where.value}, {self.attempts} attempts)"


@attrs.frozen(kw_only=True)
class QueueStatistics:
    """Pods in each place."""

    active: int
    backing_off: int
    unschedulable: int
    gated: int
    in_flight: int


_Heap = list[tuple[int, int, int, QueuedPod]]


@attrs.define(eq=False)
class SchedulingQueue:
    """See the module's text. Each move is O(log n); an event is O(pods that it may help)."""

    settings: Settings
    because: tuple[Cause, ...] = attrs.field(default=(), init=False)
    """What is behind the call being made, set by the caller; pods that it moves keep it."""
    start: int = 0
    """When the flushers began to tick, ns."""
    _pods: dict[str, QueuedPod] = attrs.field(factory=dict, init=False)
    _active: _Heap = attrs.field(factory=list, init=False)
    _backoff: _Heap = attrs.field(factory=list, init=False)
    _unschedulable: dict[tuple[str, ...], dict[str, QueuedPod]] = attrs.field(
        factory=dict, init=False
    )
    _in_flight: dict[str, QueuedPod] = attrs.field(factory=dict, init=False)
    _stays: _Heap = attrs.field(factory=list, init=False)
    """Unschedulable pods by when they may be flushed."""
    _ticket: int = attrs.field(default=0, init=False)

    # -- pods come, change and go --------------------------------------------------------------------

    def add(self, info: PodInfo, now: int) -> None:
        """A pending pod was seen; known ones are left where they are."""
        if info.uid not in self._pods:
            queued = self._pods[info.uid] = QueuedPod(info, Where.ACTIVE, now)
            self._enter(queued, now)

    def update(self, info: PodInfo, now: int, *, spec_changed: bool) -> None:
        """A pending pod has a newer state. A change other than of its status may help it."""
        queued = self._pods.get(info.uid)
        if queued is None:
            self.add(info, now)
            return
        queued.info = info
        if queued.where is Where.GATED:
            if not info.pod.spec.scheduling_gates:
                queued.since = now
                self._enter(queued, now)
        elif not spec_changed:
            return
        elif queued.where is Where.IN_FLIGHT:
            queued.helped = True
        elif queued.where is Where.UNSCHEDULABLE:
            self._leave(queued)
            self._requeue(queued, now)
        elif queued.where is Where.BACKOFF and not self.settings.at_least("1.22"):
            self._leave(queued)
            self._activate(queued)

    def remove(self, uid: str) -> bool:
        """The pod is gone, or bound; whether it was here."""
        queued = self._pods.pop(uid, None)
        if queued is None:
            return False
        self._leave(queued)
        return True

    # -- attempts ------------------------------------------------------------------------------------

    def pop(self, now: int) -> QueuedPod | None:
        """Take the next pod to try; it is in flight until `done` or `failed`."""
        queued = self._top(self._active, Where.ACTIVE)
        if queued is None and self.settings.at_least("1.33"):
            # With nothing else to do a pod need not wait out its back-off, unless an error caused it (KEP-5142).
            queued = self._first_backing_off()
        if queued is None:
            return None
        self._leave(queued)
        queued.where, queued.since, queued.helped = Where.IN_FLIGHT, now, False
        queued.attempts += 1
        self._in_flight[queued.info.uid] = queued
        return queued

    def done(self, uid: str) -> None:
        """The pod in flight is bound, or needs no scheduling any more."""
        self.remove(uid)

    def failed(self, uid: str, refused_by: tuple[str, ...], now: int) -> None:
        """The attempt failed: `refused_by` plugins, or (none) by an error. Does nothing for a pod that is gone."""
        queued = self._in_flight.get(uid)
        if queued is None:
            return
        self._leave(queued)
        queued.causes = ()
        queued.refused_by, queued.since = tuple(sorted(refused_by)), now
        queued.expiry = now + self.backoff(queued.attempts)
        if queued.helped or not refused_by:
            self._back_off(queued)
            return
        queued.where = Where.UNSCHEDULABLE
        self._unschedulable.setdefault(queued.refused_by, {})[uid] = queued
        stay = round(self.settings.pod_max_in_unschedulable * _NS)
        self._push(self._stays, queued, now + stay, 0)

    def retry(self, uid: str, now: int) -> None:
        """Do not let the pod wait for an event."""
        queued = self._pods.get(uid)
        if queued is not None and queued.where is Where.UNSCHEDULABLE:
            self._leave(queued)
            self._requeue(queued, now)

    def backoff(self, attempts: int) -> int:
        """Length of the back-off after so many attempts, ns."""
        settings = self.settings
        initial, most = (
            round(settings.pod_initial_backoff * _NS),
            round(settings.pod_max_backoff * _NS),
        )
        return min(initial << min(attempts - 1, 62), most) if attempts > 0 else 0

    # -- events and timers ---------------------------------------------------------------------------

    def move(self, event: Event, now: int, hint: Hint | None = None) -> int:
        """Something happened: try again the pods it may help. How many moved."""
        interested = INTEREST[event] if self.settings.at_least("1.32") else None
        helped: list[QueuedPod] = []
        for plugins, pods in self._unschedulable.items():
            if interested is None or any(plugin in interested for plugin in plugins):
                helped.extend(q for q in pods.values() if hint is None or hint(q.info))
        for queued in self._in_flight.values():
            # What will refuse it is not known yet: any event may turn out to help.
            queued.helped = queued.helped or hint is None or hint(queued.info)
        for queued in helped:
            self._leave(queued)
            self._requeue(queued, now)
        return len(helped)

    def flush(self, now: int) -> int:
        """Move on the pods whose time has come, as the two periodic flushers do; how many."""
        moved = 0
        tick = self._last_tick(now, FLUSH_BACKOFF)
        while self._backoff:
            due, _, ticket, queued = self._backoff[0]
            if ticket != queued.ticket:
                heapq.heappop(self._backoff)
            elif due <= tick:
                self._leave(queued)
                self._activate(queued)
                moved += 1
            else:
                break
        tick = self._last_tick(now, FLUSH_UNSCHEDULABLE)
        while self._stays:
            due, _, ticket, queued = self._stays[0]
            if ticket != queued.ticket:
                heapq.heappop(self._stays)
            elif due < tick:
                self._leave(queued)
                self._requeue(queued, now)
                moved += 1
            else:
                break
        return moved

    def next_flush(self) -> int | None:
        """When `flush` has something to do next, ns; None when nothing waits for time."""
        times: list[int] = []
        for heap, period, later in (
            (self._backoff, FLUSH_BACKOFF, 0),
            (self._stays, FLUSH_UNSCHEDULABLE, 1),
        ):
            while heap and heap[0][2] != heap[0][3].ticket:
                heapq.heappop(heap)
            if heap:
                due = heap[0][0] + later - self.start
                times.append(self.start + -(-due // period) * period)
        return min(times) if times else None

    def _last_tick(self, now: int, period: int) -> int:
        return self.start + (now - self.start) // period * period

    # -- places --------------------------------------------------------------------------------------

    def _enter(self, queued: QueuedPod, now: int) -> None:
        if queued.info.pod.spec.scheduling_gates and self.settings.at_least("1.27"):
            queued.where = Where.GATED
            queued.since = now
        else:
            self._activate(queued)

    def _requeue(self, queued: QueuedPod, now: int) -> None:
        """To the back-off if it lasts still, else to the active part."""
        if queued.expiry > now:
            self._back_off(queued)
        else:
            self._activate(queued)

    def _activate(self, queued: QueuedPod) -> None:
        queued.where = Where.ACTIVE
        queued.causes = merge_causes(queued.causes, self.because)
        self._push(self._active, queued, -queued.info.priority, queued.since)

    def _back_off(self, queued: QueuedPod) -> None:
        queued.where = Where.BACKOFF
        queued.causes = merge_causes(queued.causes, self.because)
        self._push(self._backoff, queued, queued.expiry, -queued.info.priority)

    def _push(self, heap: _Heap, queued: QueuedPod, first: int, second: int) -> None:
        self._ticket += 1
        queued.ticket = self._ticket
        heapq.heappush(heap, (first, second, self._ticket, queued))

    def _leave(self, queued: QueuedPod) -> None:
        """Take the pod out of its place; its heap entries become void."""
        queued.ticket = 0
        uid = queued.info.uid
        if queued.where is Where.IN_FLIGHT:
            del self._in_flight[uid]
        elif queued.where is Where.UNSCHEDULABLE:
            alike = self._unschedulable[queued.refused_by]
            del alike[uid]
            if not alike:
                del self._unschedulable[queued.refused_by]

    def _top(self, heap: _Heap, where: Where) -> QueuedPod | None:
        while heap:
            _, _, ticket, queued = heap[0]
            if ticket == queued.ticket and queued.where is where:
                return queued
            heapq.heappop(heap)
        return None

    def _first_backing_off(self) -> QueuedPod | None:
        """The pod whose back-off ends first, of those that were refused; errors wait out theirs."""
        queued = self._top(self._backoff, Where.BACKOFF)
        if queued is None or queued.refused_by:
            return queued
        backing_off = (q for q in self._pods.values() if q.where is Where.BACKOFF and q.refused_by)
        return min(backing_off, key=lambda q: (q.expiry, -q.info.priority, q.ticket), default=None)

    # -- looking in ----------------------------------------------------------------------------------

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def __iter__(self) -> Iterator[QueuedPod]:
        return iter(self._pods.values())

    def get(self, uid: str) -> QueuedPod | None:
        return self._pods.get(uid)

    def statistics(self) -> QueueStatistics:
        counts = dict.fromkeys(Where, 0)
        for queued in self._pods.values():
            counts[queued.where] += 1
        return QueueStatistics(
            active=counts[Where.ACTIVE],
            backing_off=counts[Where.BACKOFF],
            unschedulable=counts[Where.UNSCHEDULABLE],
            gated=counts[Where.GATED],
            in_flight=counts[Where.IN_FLIGHT],
        )

    def check(self) -> None:
        """Assert that each pod stands in its place once, and nowhere else."""
        live = {
            Where.ACTIVE: [q for _, _, ticket, q in self._active if ticket == q.ticket],
            Where.BACKOFF: [q for _, _, ticket, q in self._backoff if ticket == q.ticket],
            Where.UNSCHEDULABLE: [q for _, _, ticket, q in self._stays if ticket == q.ticket],
            Where.IN_FLIGHT: list(self._in_flight.values()),
        }
        for where, found in live.items():
            expected = [q.info.uid for q in self._pods.values() if q.where is where]
            assert sorted(expected) == sorted(q.info.uid for q in found), f"{where.value}: {found}"
        for plugins, pods in self._unschedulable.items():
            assert pods, f"nobody left of {plugins}"
            for uid, queued in pods.items():
                assert queued.where is Where.UNSCHEDULABLE
                assert (queued.info.uid, queued.refused_by) == (uid, plugins)
        kept = sum(map(len, self._unschedulable.values()))
        assert kept == len(live[Where.UNSCHEDULABLE])
