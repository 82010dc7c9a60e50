"""Waiting for one another: what one task waits in until others wake it.

`trio.Event` and `ParkingLot` serve any number of waiters, an event once only, and a time-out around them is a cancel scope. Most loops here are one task
that waits for the same thing again and again: for that these cost a third.
"""

from __future__ import annotations

import trio


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
