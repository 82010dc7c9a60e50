"""Holds: a thing stopped by several faults at once stays stopped until the last of them lets go.

Overlapping faults must compose, and removing them must leave nothing behind. A counter does not do: a fault that ends twice would lift
another's. So each fault keeps its own `Hold` and releases that; releasing again does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio


@attrs.define(eq=False)
class Hold:
    """One fault's grip. `release()` lets go, once; later calls do nothing."""

    _owner: Holds
    reason: str

    @property
    def active(self) -> bool:
        """Whether this hold still stops what it was made for."""
        return self in self._owner

    def release(self) -> None:
        """Let go. What was held goes on when no other hold is left."""
        self._owner.release(self)


class Holds:
    """The holds on one thing, in the order they were made.

    A link partitioned by a zone outage and by a flaky cable has two holds; healed by the first, it is still down; healed by the second,
    those who wait in `free()` go on. Cost: O(1) to take, to release and to ask.
    """

    __slots__ = ("_freed", "_holds", "_on_free")

    def __init__(self, on_free: Callable[[], None] | None = None) -> None:
        # A dict, as an ordered set: `Hold` is hashed by identity, and a set would list them in the order of their addresses.
        self._holds: dict[Hold, None] = {}
        self._freed = trio.Event()
        self._on_free: Final = on_free

    def __bool__(self) -> bool:
        return bool(self._holds)

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, hold: Hold) -> bool:
        return hold in self._holds

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is held, oldest first."""
        return tuple(hold.reason for hold in self._holds)

    def take(self, reason: str = "") -> Hold:
        """Add one hold."""
        hold = Hold(self, reason)
        self._holds[hold] = None
        return hold

    def release(self, hold: Hold) -> None:
        """Remove one hold; does nothing when it is not there any more. The last one calls `on_free`, then wakes the waiting."""
        if hold in self._holds:
            del self._holds[hold]
            if not self._holds:
                self._wake()

    def clear(self) -> None:
        """Remove all of them."""
        if self._holds:
            self._holds.clear()
            self._wake()

    async def free(self) -> None:
        """Wait until nothing holds; not a checkpoint when nothing does.

        Holds made between the last release and the waking of a waiter count: whoever returns from here met no hold.
        """
        while self._holds:
            await self._freed.wait()

    def _wake(self) -> None:
        if self._on_free is not None:
            self._on_free()
        self._freed.set()
        self._freed = trio.Event()
