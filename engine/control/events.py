"""The event recorder: tells Kubernetes Events in the name of a component.

`event` decides at once, without waiting, what becomes of a remark (`EventCorrelator`); a task of its own sends what was
decided, in order, with the origin that was in force when the event was told. An Event that the server refuses is dropped; while no
server answers, all wait (client-go `recordToSink`): 12 tries, 10 s apart, and then that Event is dropped.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

import attrs
import trio

from engine.api.cause import acting, current_origin
from engine.api.errors import ApiError, NotFound, Timeout, Unavailable
from engine.control.client import Client
from engine.control.correlator import EventCorrelator, Remark, Verdict
from engine.objects.base import MicroTime, Time
from engine.objects.core import Event, EventSource
from engine.objects.meta import KubeObject, ObjectMeta, ObjectReference
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import Origin, Wakeup

QUEUE_SIZE: Final = 1000
"""Events waiting to be sent; more are dropped (maxQueuedEvents)."""
MAX_TRIES: Final = 12
"""Tries to send one Event while no server answers (maxTriesPerEvent)."""
RETRY_SECONDS: Final = 10.0
"""Between two tries; the first time a drawn part of it (defaultSleepDuration)."""


class EventType(enum.Enum):
    """Whether an Event tells of trouble."""

    NORMAL = "Normal"
    WARNING = "Warning"


_TYPES: Final = tuple(each.value for each in EventType)


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
    _source: EventSource = attrs.field(init=False)
    _correlator: EventCorrelator = attrs.field(factory=EventCorrelator, init=False)
    _queue: deque[tuple[Verdict, Origin]] = attrs.field(factory=deque, init=False)
    _wake: Wakeup = attrs.field(factory=Wakeup, init=False)
    _sending: bool = attrs.field(default=False, init=False)
    _told: int = attrs.field(default=0, init=False)
    _sent: int = attrs.field(default=0, init=False)
    _dropped: int = attrs.field(default=0, init=False)
    _waits: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._source = EventSource(component=self.component, host=self.host)

    def event(
        self, obj: KubeObject | ObjectReference, type_: str, reason: str, message: str
    ) -> None:
        """Tell an Event; never waits. `type_` is "Normal" or "Warning". Raises ValueError for another type."""
        involved = obj if isinstance(obj, ObjectReference) else reference_to(obj)
        if type_ not in _TYPES:
            raise ValueError(f"an Event is of type {' or '.join(_TYPES)}, not {type_!r}")
        remark = Remark(involved, type_, reason, message)
        self._told += 1
        # One that finds the queue full was never said: it is not counted either.
        verdict = (
            self._correlator.correlate(remark, self.clock.now_ns())
            if len(self._queue) < QUEUE_SIZE
            else None
        )
        if verdict is None:
            self._dropped += 1
            return
        self._queue.append((verdict, current_origin()))
        self._wake.wake()

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return not self._queue and not self._sending

    def statistics(self) -> RecorderStatistics:
        return RecorderStatistics(told=self._told, sent=self._sent, dropped=self._dropped)

    async def run(self) -> None:
        """Send what is told, in order, until cancelled."""
        while True:
            while self._queue:
                self._sending = True
                verdict, origin = self._queue.popleft()
                try:
                    with acting(origin):
                        await self._deliver(verdict)
                finally:
                    self._sending = False
            await self._wake.wait()

    async def _deliver(self, verdict: Verdict) -> None:
        """Send one, and again while nobody answers."""
        for attempt in range(1, MAX_TRIES + 1):
            try:
                await self._send(verdict)
            except (Unavailable, Timeout):
                if attempt < MAX_TRIES:
                    await trio.sleep(self._retry_delay(attempt))
            except ApiError:
                break
            else:
                self._sent += 1
                return
        self._dropped += 1

    def _retry_delay(self, attempt: int) -> float:
        if attempt > 1:
            return RETRY_SECONDS
        self._waits += 1
        label = f"events/{self.component}/{self.host}/retry"
        return RETRY_SECONDS * self.draws.uniform(label, self._waits)

    async def _send(self, verdict: Verdict) -> None:
        told = verdict.told
        if verdict.count > 1 and told.involved is not None:
            try:
                # Whatever its newest revision is.
                await self.client.update(self._counted(verdict, told.involved, told.first_us))
            except NotFound:
                pass  # expired: told anew
            else:
                return
        involved, first_us = verdict.remark.involved, self._unix_us(verdict.first_ns)
        await self.client.create(self._event_of(verdict, involved, first_us))
        told.involved, told.first_us = involved, first_us

    def _counted(self, verdict: Verdict, involved: ObjectReference, first: int) -> Event:
        """The Event told again: with its count, in modern style too."""
        event = self._event_of(verdict, involved, first)
        if not self.modern:
            return event
        last = Time.of(self._unix_us(verdict.last_ns))
        return attrs.evolve(event, count=verdict.count, last_timestamp=last)

    def _unix_us(self, now: int) -> int:
        return self.clock.unix_us() - (self.clock.now_ns() - now) // 1000

    def _event_of(self, verdict: Verdict, involved: ObjectReference, first: int) -> Event:
        remark = verdict.remark
        # client-go names an Event by the time. Here what it says is in the name as well, and the number of Events
        # told before is not, so that one Event more or less renames no other.
        about, *said = verdict.key
        unique = self.draws.uid("event", self.component, self.host, *about, *said, verdict.first_ns)
        metadata = ObjectMeta(
            name=f"{involved.name}.{unique.replace('-', '')[:16]}",
            namespace=involved.namespace or "default",
        )
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
            source=self._source,
            first_timestamp=Time.of(first),
            last_timestamp=Time.of(self._unix_us(verdict.last_ns)),
            count=verdict.count,
            type=remark.type,
            reporting_component=self.component,
            reporting_instance=self.host,
        )
