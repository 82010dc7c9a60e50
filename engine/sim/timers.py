"""The timers of a simulation: sleeping without a cancel scope.

`trio.sleep` makes a cancel scope for each sleep, and ends it by raising `Cancelled` in the sleeper: right for a time-out, and ten times what a wake-up
costs. Here a sleeper is an entry of a heap, which the simulation's loop asks beside trio's own deadlines (`determinism.py`): at the same point of
the same round, so that a task that sleeps here is woken together with those that sleep in trio, and the order of a run does not show where it slept.

An entry whose sleeper was cancelled, or woken by something else, is dead: it goes when its time comes, or when the dead outnumber the living.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf
from typing import Final, TypeAlias

import trio

_FEW: Final = 1000
"""Dead entries that are not worth looking for."""


class Sleeper:
    """One task that waits; `task` is None when it waits no more."""

    __slots__ = ("_deadline", "_timers", "due", "task")

    def __init__(self, timers: Timers, task: trio.lowlevel.Task, deadline: float) -> None:
        self._timers: Final = timers
        self._deadline = deadline
        self.task: trio.lowlevel.Task | None = task
        self.due = False
        """Whether its time came: that is what woke it."""

    @property
    def deadline(self) -> float:
        """When it is woken; may be changed while it waits."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        if self.task is not None and deadline != self._deadline:
            self._deadline = deadline
            self._timers.moved(self)

    def abort(self, _: object) -> trio.lowlevel.Abort:
        """Cancelled: nobody is to be woken."""
        self._stop()
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Let the task go on before its time; does nothing when it does not wait."""
        task = self.task
        if task is not None:
            self._stop()
            trio.lowlevel.reschedule(task)

    def _stop(self) -> None:
        self.task = None
        self._timers.died()


_Entry: TypeAlias = tuple[float, int, Sleeper]
"""A time, a serial number that keeps equal times in order, and who waits for it."""


class Timers:
    """All sleepers of one run, by the time they wake at, in trio's own seconds. O(log n) to sleep and to wake."""

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self.now: Final = now
        """Reads the clock."""
        self._heap: list[_Entry] = []
        self._serial = 0
        self._dead = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._heap) - self._dead

    async def sleep(self, seconds: float) -> None:
        """As `trio.sleep`."""
        if not seconds > 0:
            await trio.sleep(seconds)  # a checkpoint, or a ValueError
            return
        sleeper = self.add(self.now() + seconds, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(sleeper.abort)
        await trio.lowlevel.checkpoint_if_cancelled()  # killed in the round in which it woke

    def add(self, deadline: float, task: trio.lowlevel.Task) -> Sleeper:
        """Have `task`, which is about to wait, rescheduled at `deadline`."""
        sleeper = Sleeper(self, task, deadline)
        self._push(sleeper)
        return sleeper

    def _push(self, sleeper: Sleeper) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (sleeper.deadline, self._serial, sleeper))

    def next_deadline(self) -> float:
        """When the first is due; infinite when none waits."""
        heap = self._heap
        while heap:
            if _lives(heap[0]):
                return heap[0][0]
            heapq.heappop(heap)
            self._dead -= 1
        return inf

    def expire(self, now: float) -> bool:
        """Wake whoever is due; whether there was one."""
        heap, woken = self._heap, False
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)
            sleeper = entry[2]
            task = sleeper.task
            if task is None or not _lives(entry):
                self._dead -= 1
                continue
            sleeper.task, sleeper.due, woken = None, True, True
            trio.lowlevel.reschedule(task)
        return woken

    def moved(self, sleeper: Sleeper) -> None:
        """For `Sleeper`: it is due at another time."""
        self._push(sleeper)
        self.died()

    def died(self) -> None:
        """For `Sleeper`: an entry of the heap is dead."""
        self._dead += 1
        if self._dead > _FEW and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if _lives(entry)]
            heapq.heapify(self._heap)
            self._dead = 0


def _lives(entry: _Entry) -> bool:
    """Whether somebody waits for this time."""
    return entry[2].task is not None and entry[2].deadline == entry[0]
