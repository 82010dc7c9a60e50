"""A turnstile: closed, it lets nobody through; opened again, those who stand before it pass one by one, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from engine.sim.holds import Hold, Holds


class Turnstile:
    """See the module's text. Closed by two it opens when both have let go; who comes while others are still passing goes behind them."""

    __slots__ = ("_holds", "_lot", "_on_open", "_passing")

    def __init__(self, on_open: Callable[[], None]) -> None:
        self._holds: Final = Holds(self._opened)
        self._lot: Final = trio.lowlevel.ParkingLot()
        self._passing = False
        self._on_open: Final = on_open

    @property
    def closed(self) -> bool:
        """Whether one has to wait: it is held, or others are still passing."""
        return bool(self._holds) or self._passing

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is closed, oldest first."""
        return self._holds.reasons

    def close(self, reason: str = "") -> Hold:
        """Close it until the hold is released."""
        return self._holds.take(reason)

    async def passed(self) -> None:
        """Wait for one's turn; not a checkpoint when it is open."""
        if not self.closed:
            return
        await self._lot.park()
        try:
            await self._holds.free()  # it may have been closed again before one's turn came
        finally:
            self._next()

    def _opened(self) -> None:
        if not self._passing:
            self._next()

    def _next(self) -> None:
        """Let the first go; it lets the next one go when it is through, and so arrives a step before that one."""
        self._passing = bool(self._lot)
        if self._passing:
            self._lot.unpark()
        else:
            self._on_open()
