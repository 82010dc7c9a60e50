"""Informers: a process's own picture of one kind, kept by a list and a watch, read without waiting.

`Cache` is the picture, a synchronous structure: apply a change and it tells what became of it. `Informer` is the task
around it: list, then watch from there; when the watch ends, watch on; when history is gone, list anew and find out
by comparison what was missed, so that handlers always learn of every object's last state and never of
every step (client-go's reflector and shared informer).
"""

from __future__ import annotations

import enum
from builtins import list as List  # noqa: N812 - `list` is a method here
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar, cast

import attrs
import trio

from engine.api.cause import current_origin, set_origin
from engine.api.errors import ApiError, Gone
from engine.api.request import WatchEvent, WatchEventType
from engine.control.client import Client
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.settings import Settings
from engine.sim.draws import Draws
from store import Origin

T = TypeVar("T", bound=KubeObject)


class Key(NamedTuple):
    """Namespace and name of an object; the namespace of a cluster-wide one is empty."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: KubeObject) -> Key:
    """The key of `obj`."""
    metadata = obj.metadata
    return Key(metadata.namespace, metadata.name)


class ChangeType(enum.Enum):
    """What happened to an object, as far as this cache saw."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@attrs.frozen
class Change(Generic[T]):
    """One change of the cache. `old` is None for ADDED, `new` for DELETED, whose `old` is the last state known."""

    type: ChangeType
    old: T | None
    new: T | None
    revision: int

    @property
    def object(self) -> T:
        """The newest state known: `new`, or `old` of a deleted object."""
        obj = self.new if self.new is not None else self.old
        assert obj is not None
        return obj


IndexFunction = Callable[[T], Iterable[str]]
"""The values under which an object is found in an index."""

Handler = Callable[[Change[T]], None]


@attrs.frozen(kw_only=True)
class CacheStatistics:
    """What an informer holds, and up to which revision."""

    objects: int
    revision: int
    synced: bool


@attrs.define(eq=False)
class Cache(Generic[T]):
    """Objects of one kind by key, with indexes; O(1) for a change and for each object read."""

    _objects: dict[Key, T] = attrs.field(factory=dict, init=False)
    _functions: dict[str, IndexFunction[T]] = attrs.field(factory=dict, init=False)
    _indexes: dict[str, dict[str, dict[Key, T]]] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._objects)

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep an index; raises ValueError when the name is taken."""
        if name in self._functions:
            raise ValueError(f"index {name!r} exists already")
        self._functions[name] = function
        index = self._indexes[name] = {}
        for key, obj in self._objects.items():
            for value in function(obj):
                index.setdefault(value, {})[key] = obj

    def get(self, key: Key) -> T | None:
        return self._objects.get(key)

    def values(self) -> Iterator[T]:
        """All objects, in the order in which they were first seen."""
        return iter(self._objects.values())

    def list(self, namespace: str | None = None) -> List[T]:
        """All objects, or those of a namespace, in key order."""
        objects = self._objects
        if namespace is None:
            return [objects[key] for key in sorted(objects)]
        return [objects[key] for key in sorted(objects) if key.namespace == namespace]

    def by_index(self, name: str, value: str) -> List[T]:
        """The objects that index `name` holds under `value`, in key order."""
        bucket = self._indexes[name].get(value)
        if not bucket:
            return []
        return [bucket[key] for key in sorted(bucket)]

    def count_index(self, name: str, value: str) -> int:
        """How many objects `by_index` would return."""
        bucket = self._indexes[name].get(value)
        return len(bucket) if bucket else 0

    def put(self, obj: T) -> T | None:
        """Store `obj`; returns the state it replaces."""
        key = key_of(obj)
        old = self._objects.get(key)
        self._objects[key] = obj
        for name, function in self._functions.items():
            self._reindex(self._indexes[name], function, key, old, obj)
        return old

    def remove(self, key: Key) -> T | None:
        """Drop the object; returns its last state."""
        old = self._objects.pop(key, None)
        if old is not None:
            for name, function in self._functions.items():
                self._reindex(self._indexes[name], function, key, old, None)
        return old

    @staticmethod
    def _reindex(
        index: dict[str, dict[Key, T]],
        function: IndexFunction[T],
        key: Key,
        old: T | None,
        new: T | None,
    ) -> None:
        if old is not None:
            for value in function(old):
                bucket = index.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del index[value]
        if new is not None:
            for value in function(new):
                index.setdefault(value, {})[key] = new

    def check(self) -> None:
        """Assert that every index says what the objects say."""
        for name, function in self._functions.items():
            expected: dict[str, dict[Key, T]] = {}
            for key, obj in self._objects.items():
                for value in function(obj):
                    expected.setdefault(value, {})[key] = obj
            assert expected == self._indexes[name], f"index {name} is wrong"


@attrs.define(eq=False)
class Informer(Generic[T]):
    """See the module's text. Handlers run synchronously, in order of addition, after the cache has changed."""

    client: Client
    kind: type[T] | Resource
    settings: Settings
    draws: Draws
    label: str
    """Names this informer's draws, e.g. `controller/deployment/informer/pods`."""
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    cache: Cache[T] = attrs.field(factory=Cache, init=False)
    revision: int = attrs.field(default=0, init=False)
    """The revision up to which this informer has seen everything."""
    _handlers: List[Handler[T]] = attrs.field(factory=List, init=False)
    _synced: trio.Event = attrs.field(factory=trio.Event, init=False)
    _relists: int = attrs.field(default=0, init=False)

    def get(self, key: Key) -> T | None:
        """The object as last seen, or None."""
        return self.cache.get(key)

    def list(self, namespace: str | None = None) -> List[T]:
        """All objects as last seen, or those of a namespace, in key order."""
        return self.cache.list(namespace)

    def by_index(self, name: str, value: str) -> List[T]:
        """The objects that index `name` holds under `value`, in key order."""
        return self.cache.by_index(name, value)

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep an index from now on. Raises ValueError when the name is taken."""
        self.cache.add_index(name, function)

    def add_handler(self, handler: Handler[T]) -> None:
        """Call `handler` for every change; what the cache holds already is not replayed."""
        self._handlers.append(handler)

    async def synced(self) -> None:
        """Wait until the first list has been delivered."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    def statistics(self) -> CacheStatistics:
        return CacheStatistics(
            objects=len(self.cache), revision=self.revision, synced=self.has_synced
        )

    async def run(self) -> None:
        """List and watch for ever; ends by cancellation only."""
        failures = 0
        listed = False
        while True:
            try:
                if not listed:
                    await self._list()
                    listed = True
                failures = 0
                await self._watch()
            except Gone:
                listed = False
                continue
            except ApiError:
                await trio.sleep(self._backoff(failures))
                failures += 1

    def _backoff(self, failures: int) -> float:
        settings = self.settings
        base = min(
            settings.relist_backoff_base * float(2 ** min(failures, 16)),
            settings.relist_backoff_max,
        )
        self._relists += 1
        return base * self.draws.uniform(f"{self.label}/backoff", self._relists, 1.0, 2.0)

    async def _list(self) -> None:
        page = await self.client.list_page(
            self.kind,
            self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            resource_version="" if self._synced.is_set() else "0",
        )
        revision = int(page.resource_version)
        items = cast("tuple[T, ...]", page.items)
        listed: dict[Key, None] = dict.fromkeys(key_of(obj) for obj in items)
        for obj in items:
            self._put(obj, int(obj.metadata.resource_version))
        for key in [key_of(obj) for obj in self.cache.values()]:
            if key not in listed:
                self._remove(key, None, revision)
        self.revision = revision
        self._synced.set()

    async def _watch(self) -> None:
        async with self.client.watch(
            self.kind,
            self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            resource_version=str(self.revision),
        ) as stream:
            while True:
                try:
                    events = await stream.receive()
                except trio.EndOfChannel:
                    return
                for event in events:
                    self._apply(event)

    def _apply(self, event: WatchEvent) -> None:
        obj = cast("T | None", event.object)
        if obj is not None:
            if event.type is WatchEventType.DELETED:
                self._remove(key_of(obj), obj, event.revision)
            else:
                self._put(obj, event.revision)
        self.revision = event.revision

    def _put(self, obj: T, revision: int) -> None:
        old = self.cache.put(obj)
        if old is None:
            self._deliver(Change(ChangeType.ADDED, None, obj, revision))
        elif old.metadata.resource_version != obj.metadata.resource_version:
            self._deliver(Change(ChangeType.UPDATED, old, obj, revision))

    def _remove(self, key: Key, last: T | None, revision: int) -> None:
        old = self.cache.remove(key)
        if old is not None:
            self._deliver(
                Change(ChangeType.DELETED, last if last is not None else old, None, revision)
            )

    def _deliver(self, change: Change[T]) -> None:
        if self._handlers:
            set_origin(Origin(actor=current_origin().actor, causes=(change.revision,)))
            for handler in self._handlers:
                handler(change)


def index_by_controller(obj: KubeObject) -> tuple[str, ...]:
    """Index function: the uid of the controlling owner."""
    owner = obj.metadata.controller
    return (owner.uid,) if owner is not None else ()


def index_by_namespace(obj: KubeObject) -> tuple[str, ...]:
    """Index function: the namespace."""
    return (obj.metadata.namespace,)
