"""Waiting for one another: what one task waits in until others wake it.

`trio.Event` and `ParkingLot` serve any number of waiters, an event once only, and a time-out around them is a cancel scope. Most loops here are one task
that waits for the same thing again and again, often until a time: for that these cost a third.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from engine.sim.clock import Clock
    from engine.sim.timers import Sleeper


class Wakeup:
    """The place of one waiting task."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        """Wait until woken; always a checkpoint."""
        assert self._task is None, "two tasks wait in one place"
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Let the task that waits go on, if one does."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)


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
