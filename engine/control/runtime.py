"""The controller runtime: runs one reconciler as the main of a process.

It makes the informers the reconciler declared, waits until they have synced, and then lets workers take keys from
the queue. Around each reconcile it puts the origin in force (actor, a reconcile id, and the causes gathered for
the key), so that every write tells in the log who made it and what made him. What a reconcile returns is one of
a closed set of cases, handled by one switch with a counter in each arm.

A reconcile or a loop that raises ends neither the process nor the cluster: the key comes back later each time, the loop
begins again after a second (Kubernetes' `wait.Until`). A handler that raises does end the process, as a panic in a
handler of client-go does: the cache has changed, and nobody could tell the handler again. Cut off at any await, a
process loses its queue with all its memory; started again it lists, and every object there is comes into the queue anew.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

import attrs
import trio

from engine.api.cause import current_origin, set_causes, set_origin
from engine.api.errors import ApiError
from engine.control.cache import Change, key_of
from engine.control.client import Client
from engine.control.controller_queue import ControllerQueue
from engine.control.events import EventRecorder
from engine.control.informer import Informer
from engine.control.informer_set import InformerSet
from engine.control.pace import Pace
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
from engine.control.workqueue import RateLimits, WorkQueue, WorkQueueStatistics
from engine.objects.key import Key
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from engine.sim.process import ProcessGone
from store import Origin

LOOP_PAUSE: Final = 1.0
"""Seconds until a loop that raised begins again (k8s.io/apimachinery `wait.Until(f, time.Second)`)."""

Loop = Callable[[], Awaitable[None]]


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
    _pace: Pace = attrs.field(init=False)
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
            informers=len(self._informers),
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
        self._pace = Pace()
        self._kind = None
        self._last_failure = ""

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
        self._connect_all(reconciler.sources())
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
                name = getattr(loop, "__name__", "loop")
                nursery.start_soon(self._repeat, loop, name, name=f"{self.actor} {name}")

    def _connect_all(self, sources: Sequence[Source]) -> None:
        for source in sources:
            if isinstance(source, For):
                if self._kind is not None:
                    raise ValueError(f"{self.actor} declares For twice: one kind is reconciled")
                self._kind = self.client.scheme.resource_of(source.kind)
        for source in sources:
            self._connect(source)

    def _connect(self, source: Source) -> None:
        informer: Informer[KubeObject]
        match source:
            case For(kind=kind, on_change=on_change):
                informer = self._informers.declare(kind)
                self._listen(informer, on_change)
                informer.add_handler(lambda change: self._queue.add(key_of(change.object)))
            case Owns(kind=kind, on_change=on_change):
                if self._kind is None:
                    raise ValueError(f"{self.actor} declares Owns without For: who is the owner?")
                informer = self._informers.declare(kind)
                self._listen(informer, on_change)
                informer.add_handler(_enqueue_owners(self._queue, self._kind))
            case Watches(kind=kind, on_change=on_change):
                informer = self._informers.declare(
                    kind, source.label_selector, source.field_selector
                )
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

    async def _work(self) -> None:
        queue = self._queue
        while True:
            key, causes = await queue.get()
            await self.gate()
            wait = self._pace.wait(key, self.clock.now_ns())
            if wait:
                queue.postpone(key, causes, wait)
                continue
            reconcile = f"{self.actor}#{next(self._ids)}"
            set_origin(Origin(actor=self.actor, reconcile=reconcile, causes=causes))
            try:
                outcome: Result | Exception = await self._reconciler.reconcile(key)
            except Exception as error:
                if _is_death(error):
                    raise  # no fault of the reconciler
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
            case Exception() if _is_refusal(outcome):
                counters["refused"] += 1
                queue.add_rate_limited(key)
            case Exception():
                counters["failed"] += 1
                queue.add_rate_limited(key)
                self._report(key, outcome)
            case _:
                wrong = (
                    f"reconcile returned {outcome!r}; allowed: Done, RequeueAfter, Requeue, None"
                )
                self._settle(key, TypeError(wrong))

    async def _repeat(self, loop: Loop, name: str) -> None:
        """Run a loop, and again when it raised, until it returns."""
        while True:
            try:
                await loop()
            except Exception as error:
                if _is_death(error):
                    raise
                if _is_refusal(error):
                    self._counters["refused"] += 1
                else:
                    self._counters["failed"] += 1
                    self._report(Key("", name), error)
            else:
                return
            await trio.sleep(LOOP_PAUSE)
            await self.gate()
            set_causes(f"timer:{self.actor}")

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


def _is_death(error: BaseException) -> bool:
    """Whether the process is dying: one of its tasks met that, alone or in a group, as calls made side by side raise it."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(ProcessGone) is not None
    return isinstance(error, ProcessGone)


def _is_refusal(error: BaseException) -> bool:
    """Whether API errors, and nothing else, ended it: alone or in a group, as calls made side by side raise them."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refusal(each) for each in error.exceptions)
    return isinstance(error, ApiError)


def _enqueue_owners(queue: ControllerQueue, kind: Resource) -> Callable[[Change[KubeObject]], None]:
    """Enqueue the controlling owner of the object, when it is of the kind, before and after the change."""

    def owner_of(obj: KubeObject) -> Key | None:
        owner = obj.metadata.controller
        if owner is None or owner.kind != kind.kind:
            return None
        if owner.api_version.rpartition("/")[0] != kind.group:  # any version of it
            return None
        return Key(obj.metadata.namespace if kind.namespaced else "", owner.name)

    def enqueue(change: Change[KubeObject]) -> None:
        before = owner_of(change.old) if change.old is not None else None
        after = owner_of(change.new) if change.new is not None else None
        if before is not None:
            queue.add(before)
        if after is not None and after != before:
            queue.add(after)

    return enqueue


def _enqueue_mapped(
    queue: ControllerQueue, keys: Callable[[KubeObject], Iterable[Key]]
) -> Callable[[Change[KubeObject]], None]:
    def enqueue(change: Change[KubeObject]) -> None:
        for obj in (change.old, change.new):
            if obj is not None:
                for key in keys(obj):
                    queue.add(key)

    return enqueue
