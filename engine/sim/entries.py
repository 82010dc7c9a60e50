"""Entries: things in force at one place, each until it is released by whoever put it there.

The counterpart of `Holds` for what has content: a delay on a link, a rule of a server, a hook in a process' way to the cluster. What is in force
is all of them together; nobody sets back an old value, so what overlaps composes, and what is released is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")


class Entry(Generic[T]):
    """One thing in force. `release()` takes it out, once; later calls do nothing."""

    __slots__ = ("_owner", "item", "over", "reason")

    def __init__(self, owner: Entries[T], item: T, reason: str) -> None:
        self._owner: Final = owner
        self.item: Final = item
        self.reason: Final = reason
        self.over: Final = trio.Event()
        """Set when it is released: what waits because of it waits no longer than for this."""

    def __repr__(self) -> str:
        return f"<Entry {self.reason} {'over' if self.over.is_set() else 'in force'}>"

    def release(self) -> None:
        """Take it out."""
        self._owner.discard(self)


class Entries(Generic[T]):
    """The entries at one place, oldest first. Iterating is over a moment's entries: they may change meanwhile."""

    __slots__ = ("_entries", "_on_change")

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._entries: tuple[Entry[T], ...] = ()
        self._on_change: Final = on_change

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each is there, oldest first."""
        return tuple(entry.reason for entry in self._entries)

    def add(self, item: T, reason: str = "") -> Entry[T]:
        """Put one in force."""
        entry = Entry(self, item, reason)
        self._entries = (*self._entries, entry)
        self._on_change()
        return entry

    def discard(self, entry: Entry[T]) -> None:
        """Take one out; does nothing when it is not there any more."""
        if not entry.over.is_set():
            self._entries = tuple(each for each in self._entries if each is not entry)
            entry.over.set()
            self._on_change()
