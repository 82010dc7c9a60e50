"""Waiting for one another until a time: an event for one task, which can be used again. (The store waits in a `Wakeup` as well, and so has it.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from store import Wakeup

if TYPE_CHECKING:
    from engine.sim.clock import Clock
    from engine.sim.timers import Sleeper


class Signal:
    """An event that can be used again, for one waiting task: `set`, and from `clear` on it can be waited for anew."""

    __slots__ = ("_clock", "_is_set", "_sleeper", "_wakeup")

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._is_set = False
        self._wakeup: Final = Wakeup()
        self._sleeper: Sleeper | None = None

    def set(self) -> None:
        """Wake who waits, and let who comes pass."""
        if not self._is_set:
            self._is_set = True
            if self._sleeper is not None:
                self._sleeper.wake()
            self._wakeup.wake()

    def clear(self) -> None:
        """From now on it has to be set again."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set; always a checkpoint."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
        else:
            await self._wakeup.wait()

    async def wait_for(self, seconds: float) -> bool:
        """Wait until it is set, or `seconds` (more than none) have passed: then True. Always a checkpoint."""
        timers = self._clock.timers
        if timers is None or self._is_set:
            with trio.move_on_after(seconds) as scope:
                await self.wait()
            return scope.cancelled_caught
        sleeper = timers.add(timers.now() + seconds, trio.lowlevel.current_task())
        self._sleeper = sleeper
        try:
            await trio.lowlevel.wait_task_rescheduled(sleeper.abort)
        finally:
            self._sleeper = None
        if sleeper.due:
            await trio.lowlevel.checkpoint_if_cancelled()  # killed in the round in which it woke
        return sleeper.due
