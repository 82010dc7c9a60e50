"""The trio shell of the watch cache: one task that feeds it from the store, and the streams that clients read.

The decisions are `engine.api.watchcache`'s; here is only who waits for what. The feed takes whole batches, so a burst of writes costs one
wake-up of the feed and one of each watcher concerned, however many events it has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn, Protocol

import attrs
import trio

from engine.api.errors import BadRequest
from engine.api.refusals import too_large, unavailable
from engine.api.registry import RegistryCache
from engine.api.request import WatchEvent, WatchRequest
from engine.api.storage import REGISTRY
from engine.api.watchcache import Watcher, plan_watcher
from engine.objects.scheme import Resource, Scheme
from engine.objects.selectors import (
    EVERYTHING,
    FieldSelector,
    Selector,
    SelectorError,
    parse_label_selector,
)
from store import ALL_KEYS, Compacted, Store, Wakeup, prefix_end

NO_FIELDS = FieldSelector(())


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of the API server's queues and waits."""

    watch_window: int = 10_000
    """Changes kept per kind for watches that resume (`Settings.watch_cache_window`)."""
    watch_buffer: int = 10_000
    """Undelivered events of one watch, beyond those it began with, before the server ends it."""
    too_large_wait_seconds: float = 3.0
    """How long a read waits for a revision that has not come yet (blockTimeout of k8s.io/apiserver's watch cache)."""


def selectors_of(
    resource: Resource, label_selector: str, field_selector: str
) -> tuple[Selector, FieldSelector]:
    """Both selectors, parsed. Raises BadRequest."""
    try:
        labels = parse_label_selector(label_selector) if label_selector else EVERYTHING
        fields = resource.field_selector(field_selector) if field_selector else NO_FIELDS
    except SelectorError as error:
        raise BadRequest(str(error)) from error
    return labels, fields


def revision_of(text: str) -> int:
    """A resourceVersion as a number; "" is 0. Raises BadRequest."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax"
        )
    return int(text)


class WatchListener(Protocol):
    """Hears of every watch what the server does with it, as it does it. Watches are numbered as they are opened."""

    def opened(self, watch: int, request: WatchRequest, after: int, *, from_state: bool) -> None:
        """What `request` selects is delivered from now on: every change after revision `after`.

        `from_state`: first comes an ADDED for every object as of `after`.
        """
        ...

    def delivered(self, watch: int, events: tuple[WatchEvent, ...]) -> None:
        """The server hands out one batch."""
        ...

    def ended(self, watch: int, upto: int | None) -> None:
        """Nothing more is handed out. All changes up to revision `upto` were; None: some may not have been."""
        ...


@attrs.define(eq=False)
class Stream:
    """One open watch, as its client reads it."""

    watcher: Watcher
    deadline: float
    """In trio's time."""
    serial: int
    request: WatchRequest
    after: int
    """The revision that it began after."""
    from_state: bool
    """Whether it began with the objects as of `after`."""
    listeners: list[WatchListener]
    """The feed's own list; it may grow while the watch is open."""
    begun: bool = attrs.field(default=False, init=False)
    """Whether a batch has been handed out."""
    _waiting: Wakeup = attrs.field(factory=Wakeup, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.watcher.wake = self._waiting.wake

    async def receive(self) -> tuple[WatchEvent, ...]:
        """Wait for the next batch. Raises EndOfChannel when the server has ended the watch."""
        watcher = self.watcher
        if watcher.buffer or watcher.ended:
            await trio.lowlevel.checkpoint()
        elif self.deadline == float("inf"):
            await self._waiting.wait()
        else:
            with trio.move_on_at(self.deadline):
                await self._waiting.wait()
        if not watcher.buffer:
            watcher.ended = True
            raise trio.EndOfChannel
        self.begun = True
        events = watcher.take()
        for listener in self.listeners:
            listener.delivered(self.serial, events)
        return events


@attrs.define(eq=False)
class Feed:
    """Keeps a `RegistryCache` up with the store while `run` runs."""

    store: Store
    scheme: Scheme
    limits: Limits
    _cache: RegistryCache | None = attrs.field(default=None, init=False)
    _advanced: trio.lowlevel.ParkingLot = attrs.field(
        factory=trio.lowlevel.ParkingLot, init=False, repr=False
    )
    _opened: int = attrs.field(default=0, init=False)
    _overflowed: int = attrs.field(default=0, init=False)
    _streams: dict[int, Stream] = attrs.field(factory=dict, init=False, repr=False)
    _listeners: list[WatchListener] = attrs.field(factory=list, init=False, repr=False)

    @property
    def cache(self) -> RegistryCache:
        """The cache. Raises Unavailable when the feed does not run."""
        if self._cache is None:
            raise unavailable()
        return self._cache

    @property
    def serving(self) -> bool:
        """Whether the cache is loaded and fed."""
        return self._cache is not None

    @property
    def current(self) -> bool:
        """Whether the cache shows the newest revision of the store."""
        return self.cache.revision >= self.store.head

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Feed for ever; started when the cache is loaded."""
        try:
            while True:
                try:
                    await self._follow(task_status)
                except Compacted:
                    # The store compacted what had not been read: begin anew, as after a restart.
                    self._stop()
                    task_status = trio.TASK_STATUS_IGNORED
        finally:
            self._stop()

    async def _follow(self, task_status: trio.TaskStatus[None]) -> NoReturn:
        state = await self.store.range(REGISTRY, range_end=prefix_end(REGISTRY))
        cache = RegistryCache(self.scheme, self.limits.watch_window, state.revision)
        cache.load(state.kvs)
        # All keys, not those of the registry alone: the cache is then as new as the store by its revision.
        first, last = ALL_KEYS
        async with self.store.watch(
            first, range_end=last, start_revision=state.revision + 1
        ) as watch:
            self._cache = cache
            task_status.started()
            while True:
                batch = await watch.receive()
                for watcher in cache.apply(batch.events, batch.revision):
                    watcher.wake()
                if self._advanced:
                    self._advanced.unpark_all()

    def _stop(self) -> None:
        if self._cache is not None:
            for watcher in self._cache.watchers():
                watcher.ended = True
                watcher.wake()
        self._cache = None
        self._advanced.unpark_all()

    async def reach(self, revision: int) -> RegistryCache:
        """Wait until the cache is as new as `revision`; not a checkpoint when it is. Raises Unavailable, Timeout."""
        if self.cache.revision < revision:
            if revision <= self.store.head:
                await self._reach(revision)
            else:
                with trio.move_on_after(self.limits.too_large_wait_seconds):
                    await self._reach(revision)
                if self.cache.revision < revision:
                    raise too_large(revision, self.store.head)
        return self.cache

    async def _reach(self, revision: int) -> None:
        while self.cache.revision < revision:
            await self._advanced.park()

    def listen(self, listener: WatchListener) -> None:
        """Tell `listener` of all watches from now on, and first of those that are open, as if they were opened now."""
        for serial, stream in self._streams.items():
            after, from_state = stream.after, stream.from_state
            if self._cache is not None and (stream.begun or not from_state):
                buffer, from_state = stream.watcher.buffer, False
                after = max(after, buffer[0].revision - 1 if buffer else self._cache.revision)
            listener.opened(serial, stream.request, after, from_state=from_state)
        self._listeners.append(listener)

    @asynccontextmanager
    async def watch(self, request: WatchRequest) -> AsyncIterator[Stream]:
        """Open a watch. Raises BadRequest, Gone, Unavailable."""
        resource = request.resource
        labels, fields = selectors_of(resource, request.label_selector, request.field_selector)
        revision = revision_of(request.resource_version)
        await trio.lowlevel.checkpoint()
        cache = self.cache if request.resource_version else await self.reach(self.store.head)
        kind = cache.kind(resource)
        watcher = plan_watcher(
            resource,
            request.namespace,
            labels,
            fields,
            after=revision,
            limit=self.limits.watch_buffer,
        )
        kind.fill(watcher, revision or None)
        deadline = (
            trio.current_time() + request.timeout_seconds
            if request.timeout_seconds is not None
            else float("inf")
        )
        self._opened += 1
        serial = self._opened
        after = revision or cache.revision
        stream = Stream(watcher, deadline, serial, request, after, not revision, self._listeners)
        kind.add(serial, watcher)
        self._streams[serial] = stream
        for listener in self._listeners:
            listener.opened(serial, request, after, from_state=stream.from_state)
        try:
            yield stream
        finally:
            kind.discard(serial, watcher)
            del self._streams[serial]
            self._overflowed += watcher.overflowed
            # An empty buffer says that all the cache knew was handed out, unless the server had ended the watch.
            complete = not watcher.buffer and not watcher.ended and self._cache is cache
            for listener in self._listeners:
                listener.ended(serial, max(after, cache.revision) if complete else None)

    @property
    def opened(self) -> int:
        """Watches opened so far."""
        return self._opened

    @property
    def overflowed(self) -> int:
        """Watches ended because their clients were too slow."""
        return self._overflowed
