"""The controller runtime: runs one reconciler as the main of a process.

It makes the informers the reconciler declared, waits until they have synced, and then lets workers take keys from
the queue. Around each reconcile it puts the origin in force (actor, a reconcile id, and the causes gathered for
the key), so that every write tells in the log who made it and what made him. What a reconcile returns is one of
a closed set of cases, handled by one switch with a counter in each arm.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeVar, cast

import attrs
import trio

from engine.api.cause import current_origin, set_origin
from engine.api.errors import ApiError
from engine.control.client import Client
from engine.control.events import EventRecorder
from engine.control.informer import Change, Informer, Key, key_of
from engine.control.reconciler import (
    Done,
    Equipment,
    For,
    Owns,
    Reconciler,
    Requeue,
    RequeueAfter,
    Result,
    Source,
    Watches,
)
from engine.control.workqueue import MAX_CAUSES, RateLimits, WorkQueue, WorkQueueStatistics
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import Cause, Origin

T = TypeVar("T", bound=KubeObject)

_NS: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class RuntimeStatistics:
    """Reconciles by outcome since the process started, and its queue."""

    done: int
    requeued: int
    requeued_after: int
    refused: int
    """Ended with an API error: normal in a busy cluster, tried again."""
    failed: int
    """Ended with any other exception: a fault of the reconciler, tried again."""
    last_failure: str
    queue: WorkQueueStatistics
    informers: int


@attrs.define(eq=False)
class ControllerQueue:
    """The work queue with its waiting: workers wait for keys, one task waits for delays."""

    clock: Clock
    actor: str
    core: WorkQueue[Key]
    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _timer: trio.Event = attrs.field(factory=trio.Event, init=False)

    def add(self, key: Key) -> None:
        if self.core.add(key, current_origin().causes):
            self._lot.unpark()

    def add_after(self, key: Key, seconds: float) -> None:
        before = self.core.next_wake()
        if self.core.add_after(key, seconds, self.clock.now_ns(), self._timer_causes()):
            self._lot.unpark()
        elif self.core.next_wake() != before:
            self._timer.set()

    def add_rate_limited(self, key: Key) -> None:
        before = self.core.next_wake()
        self.core.add_rate_limited(key, self.clock.now_ns(), self._timer_causes())
        if self.core.next_wake() != before:
            self._timer.set()

    def forget(self, key: Key) -> None:
        self.core.forget(key)

    def _timer_causes(self) -> tuple[Cause, ...]:
        timer = f"timer:{self.actor}"
        kept = tuple(cause for cause in current_origin().causes if cause != timer)
        return (*kept[1 - MAX_CAUSES :], timer)

    async def get(self) -> tuple[Key, tuple[Cause, ...]]:
        """Wait for a key; it is this worker's until `done`."""
        while not self.core:
            await self._lot.park()
        return self.core.get()

    def done(self, key: Key) -> None:
        """The worker has finished with `key`."""
        if self.core.done(key):
            self._lot.unpark()

    async def run_timers(self) -> None:
        """Bring delayed keys into the queue when they are due, until cancelled."""
        while True:
            self._timer = trio.Event()
            due = self.core.next_wake()
            if due is None:
                await self._timer.wait()
                continue
            delay = due - self.clock.now_ns()
            if delay > 0:
                with trio.move_on_after(delay / _NS):
                    await self._timer.wait()
            available = self.core.wake(self.clock.now_ns())
            if available:
                self._lot.unpark(count=available)


@attrs.define(eq=False)
class InformerSet:
    """The informers of one process, made on demand until it starts."""

    client: Client
    settings: Settings
    draws: Draws
    actor: str
    _informers: dict[Resource, Informer[KubeObject]] = attrs.field(factory=dict, init=False)
    _sealed: bool = attrs.field(default=False, init=False)

    def __call__(self, kind: type[T] | Resource) -> Informer[T]:
        return self.get(kind)

    def __iter__(self) -> Iterator[Informer[KubeObject]]:
        return iter(self._informers.values())

    def get(
        self, kind: type[T] | Resource, label_selector: str = "", field_selector: str = ""
    ) -> Informer[T]:
        resource = self.client.scheme.resource_of(kind)
        informer = self._informers.get(resource)
        if informer is None:
            if self._sealed:
                raise LookupError(
                    f"{self.actor} asked for {resource.plural} after its start; "
                    "declare the kind in sources() or ask for it in setup()"
                )
            informer = Informer(
                self.client,
                resource,
                self.settings,
                self.draws,
                f"{self.actor}/informer/{resource.plural}",
                label_selector=label_selector,
                field_selector=field_selector,
            )
            self._informers[resource] = informer
        return cast("Informer[T]", informer)

    def seal(self) -> None:
        self._sealed = True


@attrs.define(eq=False, kw_only=True)
class ControllerRuntime:
    """Runs a reconciler, again from its template at each call of `run`."""

    template: Reconciler
    client: Client
    clock: Clock
    draws: Draws
    settings: Settings
    gate: Callable[[], Awaitable[None]]
    """Passed before each reconcile; a paused process waits there."""
    actor: str = attrs.field(
        default=attrs.Factory(lambda self: self.template.actor(), takes_self=True)
    )
    """The name under which it writes."""
    on_failure: Callable[[str, Key, Exception], None] | None = None
    """Told when a reconcile ends with an exception that is no API error: reconciler, key, exception."""
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _queue: ControllerQueue = attrs.field(init=False)
    _informers: InformerSet = attrs.field(init=False)
    _recorder: EventRecorder = attrs.field(init=False)
    _reconciler: Reconciler = attrs.field(init=False)
    _counters: dict[str, int] = attrs.field(init=False)
    _last_failure: str = attrs.field(default="", init=False)
    _kind: Resource | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._reset()

    def statistics(self) -> RuntimeStatistics:
        return RuntimeStatistics(
            **self._counters,
            last_failure=self._last_failure,
            queue=self._queue.core.statistics(),
            informers=sum(1 for _ in self._informers),
        )

    @property
    def reconciler(self) -> Reconciler:
        """The copy that runs now."""
        return self._reconciler

    def _reset(self) -> None:
        settings = self.settings
        self._counters = dict.fromkeys(
            ("done", "requeued", "requeued_after", "refused", "failed"), 0
        )
        limits = RateLimits(
            base_delay=settings.queue_base_delay,
            max_delay=settings.queue_max_delay,
            rate=settings.queue_rate,
            burst=settings.queue_burst,
        )
        self._queue = ControllerQueue(self.clock, self.actor, WorkQueue(limits))
        self._informers = InformerSet(self.client, settings, self.draws, self.actor)
        self._recorder = EventRecorder(
            client=self.client,
            clock=self.clock,
            draws=self.draws,
            component=self.template.event_component(settings),
            modern=self.template.modern_events,
        )
        self._reconciler = copy.copy(self.template)

    async def run(self) -> None:
        """Run until cancelled, beginning with empty memory."""
        self._reset()
        set_origin(Origin(actor=self.actor, causes=current_origin().causes))
        reconciler = self._reconciler
        reconciler.equip(
            Equipment(
                client=self.client,
                clock=self.clock,
                draws=self.draws,
                settings=self.settings,
                recorder=self._recorder,
                queue=self._queue,
                informer=self._informers,
                gate=self.gate,
            )
        )
        for source in reconciler.sources():
            self._connect(source)
        await reconciler.setup()
        self._informers.seal()
        async with trio.open_nursery() as nursery:
            for informer in self._informers:
                nursery.start_soon(informer.run, name=f"{self.actor} {informer.label}")
            nursery.start_soon(self._recorder.run, name=f"{self.actor} events")
            nursery.start_soon(self._queue.run_timers, name=f"{self.actor} timers")
            for informer in self._informers:
                await informer.synced()
            for number in range(reconciler.workers):
                nursery.start_soon(self._work, name=f"{self.actor} worker {number}")
            for loop in reconciler.loops():
                nursery.start_soon(loop, name=f"{self.actor} {getattr(loop, '__name__', 'loop')}")

    def _connect(self, source: Source) -> None:
        informer: Informer[KubeObject]
        match source:
            case For(kind=kind, on_change=on_change):
                self._kind = self.client.scheme.resource_of(kind)
                informer = self._informers.get(kind)
                self._listen(informer, on_change)
                informer.add_handler(lambda change: self._queue.add(key_of(change.object)))
            case Owns(kind=kind, on_change=on_change):
                informer = self._informers.get(kind)
                self._listen(informer, on_change)
                informer.add_handler(self._enqueue_owners)
            case Watches(kind=kind, on_change=on_change):
                informer = self._informers.get(kind, source.label_selector, source.field_selector)
                self._listen(informer, on_change)
                if source.keys is not None:
                    informer.add_handler(_enqueue_mapped(self._queue, source.keys))
            case _:
                raise TypeError(f"{source!r} is no source; allowed: For, Owns, Watches")

    @staticmethod
    def _listen(
        informer: Informer[KubeObject], on_change: Callable[[Change[KubeObject]], None] | None
    ) -> None:
        if on_change is not None:
            informer.add_handler(on_change)

    def _enqueue_owners(self, change: Change[KubeObject]) -> None:
        for obj in (change.old, change.new):
            owner = obj.metadata.controller if obj is not None else None
            if obj is None or owner is None or self._kind is None:
                continue
            if owner.kind == self._kind.kind and owner.api_version == self._kind.api_version:
                namespace = obj.metadata.namespace if self._kind.namespaced else ""
                self._queue.add(Key(namespace, owner.name))

    async def _work(self) -> None:
        queue = self._queue
        while True:
            key, causes = await queue.get()
            await self.gate()
            reconcile = f"{self.actor}#{next(self._ids)}"
            set_origin(Origin(actor=self.actor, reconcile=reconcile, causes=causes))
            try:
                outcome: Result | Exception = await self._reconciler.reconcile(key)
            except Exception as error:  # noqa: BLE001 - a reconciler's fault must not end the cluster
                outcome = error
            self._settle(key, outcome)
            queue.done(key)

    def _settle(self, key: Key, outcome: Result | Exception) -> None:
        queue, counters = self._queue, self._counters
        match outcome:
            case None | Done():
                counters["done"] += 1
                queue.forget(key)
            case RequeueAfter(seconds):
                counters["requeued_after"] += 1
                queue.forget(key)
                queue.add_after(key, seconds)
            case Requeue():
                counters["requeued"] += 1
                queue.add_rate_limited(key)
            case ApiError():
                counters["refused"] += 1
                queue.add_rate_limited(key)
            case Exception():
                counters["failed"] += 1
                queue.add_rate_limited(key)
                self._report(key, outcome)

    def _report(self, key: Key, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        self._last_failure = f"{key}: {text}"
        if self.on_failure is not None:
            self.on_failure(self.template.name, key, error)
        if self._kind is None:
            return
        obj = self._informers.get(self._kind).get(key)
        if obj is not None:
            self._recorder.event(obj, "Warning", "ReconcileError", f"{self.template.name}: {text}")


def _enqueue_mapped(
    queue: ControllerQueue, keys: Callable[[KubeObject], Iterable[Key]]
) -> Callable[[Change[KubeObject]], None]:
    def enqueue(change: Change[KubeObject]) -> None:
        for obj in (change.old, change.new):
            if obj is not None:
                for key in keys(obj):
                    queue.add(key)

    return enqueue
