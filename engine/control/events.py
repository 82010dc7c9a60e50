"""The event recorder: Kubernetes Events, aggregated as client-go does before they are sent.

`EventCorrelator` decides, without waiting: an Event said before is counted up, many similar ones are combined
into one, and an object that says too much is cut short. `EventRecorder` sends what it decided, from a task of its own,
with the origin that was in force when the event was told.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

import attrs
import trio

from engine.api.cause import acting, current_origin
from engine.api.errors import ApiError, NotFound
from engine.control.client import Client
from engine.objects.base import MicroTime, Time
from engine.objects.core import Event, EventSource
from engine.objects.meta import KubeObject, ObjectMeta, ObjectReference
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import Origin

AGGREGATE_AFTER: Final = 10
"""Distinct messages of one reason before they are combined (client-go defaultAggregateMaxEvents)."""
AGGREGATE_INTERVAL: Final = 600.0
"""Seconds for which similar events count together (defaultAggregateIntervalInSeconds)."""
SPAM_BURST: Final = 25
SPAM_REFILL: Final = 300.0
"""An object may say 25 things at once, then one per 300 seconds (defaultSpamBurst, defaultSpamQPS)."""
CACHE_SIZE: Final = 4096
"""Entries remembered per stage (maxLruCacheEntries)."""
QUEUE_SIZE: Final = 1000
"""Events waiting to be sent; more are dropped (maxQueuedEvents)."""

_NS: Final = 1_000_000_000

K = TypeVar("K")
V = TypeVar("V")


class EventType(enum.Enum):
    """Whether an Event tells of trouble."""

    NORMAL = "Normal"
    WARNING = "Warning"


@attrs.frozen
class Remark:
    """What a process has to say about an object, before correlation."""

    involved: ObjectReference
    type: str
    reason: str
    message: str


@attrs.frozen
class Verdict:
    """What to send: a new Event under `name`, or one more count of it."""

    name: str
    remark: Remark
    count: int
    first_ns: int
    last_ns: int


class _Lru(Generic[K, V]):
    """The newest CACHE_SIZE entries."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > CACHE_SIZE:
            self._entries.popitem(last=False)


@attrs.define
class _Similar:
    messages: dict[str, None]
    last_ns: int


@attrs.define
class _Known:
    name: str
    count: int
    first_ns: int


_About = tuple[str, str, str, str, str]


@attrs.define(eq=False)
class EventCorrelator:
    """Filters the remarks of one source, in client-go's order: combine, count, cut.

    >>> # ten pods created by one ReplicaSet give ten Events; from then on one, "(combined from similar events): ..."
    """

    source: str
    _similar: _Lru[_About, _Similar] = attrs.field(factory=_Lru, init=False)
    _known: _Lru[tuple[_About, str], _Known] = attrs.field(factory=_Lru, init=False)
    _tokens: _Lru[tuple[str, str], tuple[float, int]] = attrs.field(factory=_Lru, init=False)
    _sent: int = attrs.field(default=0, init=False)

    def correlate(self, remark: Remark, now: int) -> Verdict | None:
        """What to send for `remark` at `now` (ns); None when the object has said too much."""
        involved = remark.involved
        about = (involved.kind, involved.namespace, involved.name, remark.type, remark.reason)
        combined = self._combine(about, remark.message, now)
        if combined:
            remark = attrs.evolve(
                remark, message=f"(combined from similar events): {remark.message}"
            )
        key = (about, "" if combined else remark.message)
        known = self._known.get(key)
        if known is None:
            self._sent += 1
            known = _Known(f"{involved.name}.{self._sent}", 0, now)
        known = _Known(known.name, known.count + 1, known.first_ns)
        self._known.put(key, known)
        if not self._allowed((involved.kind, f"{involved.namespace}/{involved.name}"), now):
            return None
        return Verdict(known.name, remark, known.count, known.first_ns, now)

    def _combine(self, about: _About, message: str, now: int) -> bool:
        similar = self._similar.get(about)
        if similar is None or now - similar.last_ns > AGGREGATE_INTERVAL * _NS:
            similar = _Similar({}, now)
        similar.messages[message] = None
        similar.last_ns = now
        self._similar.put(about, similar)
        if len(similar.messages) < AGGREGATE_AFTER:
            return False
        similar.messages.pop(next(iter(similar.messages)))
        return True

    def _allowed(self, source: tuple[str, str], now: int) -> bool:
        tokens, since = self._tokens.get(source) or (float(SPAM_BURST), now)
        tokens = min(float(SPAM_BURST), tokens + (now - since) / (SPAM_REFILL * _NS))
        allowed = tokens >= 1.0
        self._tokens.put(source, (tokens - 1.0 if allowed else tokens, now))
        return allowed


def reference_to(obj: KubeObject) -> ObjectReference:
    """The `involvedObject` that names `obj`."""
    metadata = obj.metadata
    return ObjectReference(
        api_version=obj.api_version,
        kind=obj.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


@attrs.frozen(kw_only=True)
class RecorderStatistics:
    """Events told by the process, sent to the server, and dropped on the way."""

    told: int
    sent: int
    dropped: int


@attrs.define(eq=False, kw_only=True)
class EventRecorder:
    """Tells Events about objects in the name of one component; `run` sends them.

    `component` is `source.component` (e.g. `deployment-controller`), `host` the node of a kubelet. With `modern`
    the Event is written in events.k8s.io style, as the scheduler does: no source, `reportingComponent` instead.
    """

    client: Client
    clock: Clock
    draws: Draws
    component: str
    host: str = ""
    modern: bool = False
    _correlator: EventCorrelator = attrs.field(init=False)
    _queue: deque[tuple[Verdict, Origin]] = attrs.field(factory=deque, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sending: bool = attrs.field(default=False, init=False)
    _events: _Lru[str, Event] = attrs.field(factory=_Lru, init=False)
    _told: int = attrs.field(default=0, init=False)
    _sent: int = attrs.field(default=0, init=False)
    _dropped: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._correlator = EventCorrelator(self.component)

    def event(
        self, obj: KubeObject | ObjectReference, type_: str, reason: str, message: str
    ) -> None:
        """Tell an Event; never waits. `type_` is "Normal" or "Warning"."""
        involved = obj if isinstance(obj, ObjectReference) else reference_to(obj)
        self._told += 1
        verdict = self._correlator.correlate(
            Remark(involved, EventType(type_).value, reason, message), self.clock.now_ns()
        )
        if verdict is None or len(self._queue) >= QUEUE_SIZE:
            self._dropped += 1
            return
        self._queue.append((verdict, current_origin()))
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return not self._queue and not self._sending

    def statistics(self) -> RecorderStatistics:
        return RecorderStatistics(told=self._told, sent=self._sent, dropped=self._dropped)

    async def run(self) -> None:
        """Send what is told, in order, until cancelled. An Event the server refuses is dropped, as in client-go."""
        while True:
            while self._queue:
                self._sending = True
                verdict, origin = self._queue.popleft()
                try:
                    with acting(origin):
                        await self._send(verdict)
                    self._sent += 1
                except ApiError:
                    self._dropped += 1
                finally:
                    self._sending = False
            self._wake = trio.Event()
            await self._wake.wait()

    async def _send(self, verdict: Verdict) -> None:
        known = self._events.get(verdict.name)
        if known is not None:
            last = Time.of(self._unix_us(verdict.last_ns))
            try:
                stored = await self.client.update(
                    attrs.evolve(
                        known,
                        metadata=attrs.evolve(known.metadata, resource_version=""),
                        count=verdict.count,
                        last_timestamp=last,
                        message=verdict.remark.message,
                    )
                )
                self._events.put(verdict.name, stored)
                return
            except NotFound:
                pass  # expired: told anew
        self._events.put(verdict.name, await self.client.create(self._event_of(verdict)))

    def _unix_us(self, now: int) -> int:
        return self.clock.unix_us() - (self.clock.now_ns() - now) // 1000

    def _event_of(self, verdict: Verdict) -> Event:
        remark = verdict.remark
        involved = remark.involved
        # The time is in it (client-go's names are times) since a component started again counts from 1 again.
        unique = self.draws.uid(
            "event", self.component, self.host, involved.uid, verdict.name, verdict.first_ns
        )
        metadata = ObjectMeta(
            name=f"{involved.name}.{unique.replace('-', '')[:16]}",
            namespace=involved.namespace or "default",
        )
        first, last = self._unix_us(verdict.first_ns), self._unix_us(verdict.last_ns)
        if self.modern:
            return Event(
                metadata=metadata,
                involved_object=involved,
                reason=remark.reason,
                message=remark.message,
                type=remark.type,
                event_time=MicroTime.of(first),
                action="Binding" if remark.reason == "Scheduled" else "Scheduling",
                reporting_component=self.component,
                reporting_instance=self.component,
            )
        return Event(
            metadata=metadata,
            involved_object=involved,
            reason=remark.reason,
            message=remark.message,
            source=EventSource(component=self.component, host=self.host),
            first_timestamp=Time.of(first),
            last_timestamp=Time.of(last),
            count=verdict.count,
            type=remark.type,
            reporting_component=self.component,
            reporting_instance=self.host,
        )
