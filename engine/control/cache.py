"""The informer's cache: objects of one kind by key, with indexes, as a synchronous data structure.

`Cache` takes an object and returns the state it replaces; `Change` is what a handler is told of it. Nothing here waits.
"""

from __future__ import annotations

import enum
from builtins import list as List  # noqa: N812 - `list` is a method here
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import attrs

from engine.objects.key import Key
from engine.objects.meta import KubeObject

T = TypeVar("T", bound=KubeObject)


def key_of(obj: KubeObject) -> Key:
    """The key of `obj`."""
    return obj.metadata.key


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
"""Told of a change, synchronously, after the cache shows it."""


@attrs.frozen(kw_only=True)
class CacheStatistics:
    """What an informer holds, and up to which revision."""

    objects: int
    revision: int
    synced: bool


@attrs.define(eq=False)
class Cache(Generic[T]):
    """Objects of one kind by key, with indexes; O(1) for a change and for each object read.

    A pod bound to n1 stands under its key and, with an index by node, in the bucket "n1". Moved to n2 it leaves
    that bucket, which goes when it is empty, and enters "n2": an index holds what its function says of the newest states
    and nothing else (`check`).
    """

    _objects: dict[Key, T] = attrs.field(factory=dict, init=False)
    _functions: dict[str, IndexFunction[T]] = attrs.field(factory=dict, init=False)
    _indexes: dict[str, dict[str, dict[Key, T]]] = attrs.field(factory=dict, init=False)
    _unsorted: dict[tuple[str, str], None] = attrs.field(factory=dict, init=False)
    """The buckets, by index and value, that a key has come to since they were last in key order."""

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
                self._unsorted[name, value] = None

    def get(self, key: Key) -> T | None:
        return self._objects.get(key)

    def values(self) -> Iterator[T]:
        """All objects, in the order in which they were first seen."""
        return iter(self._objects.values())

    def list(self, namespace: str | None = None) -> List[T]:
        """All objects, or those of a namespace, in key order; O(n log n) in the objects returned."""
        objects = self._objects
        if namespace is None:
            return [objects[key] for key in sorted(objects)]
        return [objects[key] for key in sorted(k for k in objects if k.namespace == namespace)]

    def by_index(self, name: str, value: str) -> List[T]:
        """The objects that index `name` holds under `value`, in key order."""
        index = self._indexes[name]
        bucket = index.get(value)
        if not bucket:
            return []
        if (name, value) in self._unsorted:
            del self._unsorted[name, value]
            bucket = index[value] = {key: bucket[key] for key in sorted(bucket)}
        return [*bucket.values()]

    def count_index(self, name: str, value: str) -> int:
        """How many objects `by_index` would return."""
        bucket = self._indexes[name].get(value)
        return len(bucket) if bucket else 0

    def put(self, obj: T) -> T | None:
        """Store `obj`; returns the state it replaces."""
        key = obj.metadata.key
        old = self._objects.get(key)
        self._objects[key] = obj
        for name, function in self._functions.items():
            index = self._indexes[name]
            values = function(obj)
            if old is not None:
                before = function(old)
                if before != values:  # nearly always the same: the object then changes in its place
                    self._leave(name, before, key)
            for value in values:
                bucket = index.get(value)
                if bucket is None:
                    bucket = index[value] = {}
                if key not in bucket:
                    self._unsorted[name, value] = None
                bucket[key] = obj
        return old

    def remove(self, key: Key) -> T | None:
        """Drop the object; returns its last state."""
        old = self._objects.pop(key, None)
        if old is not None:
            for name, function in self._functions.items():
                self._leave(name, function(old), key)
        return old

    def check(self) -> None:
        """Assert that every index says what the objects say."""
        for name, function in self._functions.items():
            expected: dict[str, dict[Key, T]] = {}
            for key, obj in self._objects.items():
                for value in function(obj):
                    expected.setdefault(value, {})[key] = obj
            assert expected == self._indexes[name], f"index {name} is wrong"
        for name, index in self._indexes.items():
            for value, bucket in index.items():
                if (name, value) not in self._unsorted:
                    assert list(bucket) == sorted(bucket), f"{name}={value} is out of order"
        for name, value in self._unsorted:
            assert value in self._indexes[name], f"{name}={value} is gone and still to be sorted"

    def _leave(self, name: str, values: Iterable[str], key: Key) -> None:
        """Take the object at `key` out of the buckets of `values`, and the buckets that this empties out of the index."""
        index = self._indexes[name]
        for value in values:
            bucket = index.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del index[value]
                    self._unsorted.pop((name, value), None)


def index_by_controller(obj: KubeObject) -> tuple[str, ...]:
    """Index function: the uid of the controlling owner."""
    owner = obj.metadata.controller
    return (owner.uid,) if owner is not None else ()


def index_by_namespace(obj: KubeObject) -> tuple[str, ...]:
    """Index function: the namespace."""
    return (obj.metadata.namespace,)
