"""Effects: what several faults do to one thing at once, each of them taken back by its own handle.

An effect has a value (a delay, a factor, an error); whoever is affected asks for all that are in force and combines them. There is no "set it back to
what it was": removing one's own entry is all a heal does, so faults overlap in any order and nothing is left when the last is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import attrs
import trio

from engine import Draws, DurationRange

T = TypeVar("T")


@attrs.define(eq=False)
class Effect(Generic[T]):
    """What one fault does; `reason` is its id, and begins the labels of what is drawn for it. `release()` ends it, once."""

    _owner: Effects[T]
    value: T
    reason: str
    over: trio.Event = attrs.field(factory=trio.Event, init=False)
    """For those who wait because of it."""
    drawn: int = attrs.field(default=0, init=False)
    """How many draws were made for it."""

    @property
    def active(self) -> bool:
        """Whether it is in force."""
        return not self.over.is_set()

    def release(self) -> None:
        """Take it back; again does nothing."""
        if self.active:
            self.over.set()
            self._owner.ended(self)

    def seconds(self: Effect[DurationRange], draws: Draws, label: str) -> float:
        """The next of the durations that its range stands for."""
        self.drawn += 1
        return draws.duration(f"{self.reason}/{label}", self.drawn, self.value)


class Effects(Generic[T]):
    """The effects on one thing that are in force, oldest first; false when there are none. `on_end` is told of each that ends."""

    __slots__ = ("_effects", "_on_end")

    def __init__(self, on_end: Callable[[Effect[T]], None] | None = None) -> None:
        self._effects: list[Effect[T]] = []
        self._on_end: Final = on_end

    def __bool__(self) -> bool:
        return bool(self._effects)

    def __iter__(self) -> Iterator[Effect[T]]:
        return iter(tuple(self._effects))

    def add(self, value: T, reason: str) -> Effect[T]:
        """One more."""
        effect = Effect(self, value, reason)
        self._effects.append(effect)
        return effect

    def ended(self, effect: Effect[T]) -> None:
        """For `Effect.release`."""
        self._effects.remove(effect)
        if self._on_end is not None:
            self._on_end(effect)


async def delayed(delays: Effects[DurationRange], draws: Draws, label: str) -> None:
    """Wait what each of the delays draws, one after another; one that is taken back is waited for no longer."""
    for delay in delays:
        if delay.active:
            with trio.move_on_after(delay.seconds(draws, label)):
                await delay.over.wait()
