"""One timer for many sleepers: a heap of alarms, and one task that waits for the earliest.

`trio.sleep` makes a cancel scope for each sleep and ends it with an exception: right for a time-out, and ten times what a wake-up costs. Kubelets renew
their Leases all day, thousands of them at the same few instants. Here a sleeper is an entry of a heap; one system task of trio sleeps
until the first is due, and wakes all that are due in one step.

Times are integer nanoseconds of cluster time, so that what is due at one instant is due together. A sleeper that is cancelled leaves a dead entry behind,
which goes when its time comes: undoing it is the same in whatever order trio cancels tasks.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from engine.sim.timers import Sleeper

if TYPE_CHECKING:
    from engine.sim.clock import Clock


class _Alarm:
    """One who waits; `task` is None once it has been cancelled."""

    __slots__ = ("task",)

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task: trio.lowlevel.Task | None = task

    def abort(self, _: object) -> trio.lowlevel.Abort:
        """Cancelled: nobody is to be woken."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Alarms:
    """The sleepers of one clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._heap: list[tuple[int, int, _Alarm]] = []
        self._serial = 0
        """Of entries that are due together the first to be made is woken first."""
        self._started = False
        """Whether there is a system task."""
        self._waiting: Sleeper | trio.CancelScope | None = None
        """What it waits in: its deadline is moved when an earlier alarm is set."""

    def __len__(self) -> int:
        """How many wait, the cancelled ones included until their time comes."""
        return len(self._heap)

    async def wait(self, due_ns: int) -> None:
        """Sleep until `due_ns` of cluster time; always a checkpoint."""
        if due_ns <= self._clock.now_ns():
            await trio.lowlevel.checkpoint()
            return
        sleeper = _Alarm(trio.lowlevel.current_task())
        self._serial += 1
        heapq.heappush(self._heap, (due_ns, self._serial, sleeper))
        if not self._started:
            self._started = True
            trio.lowlevel.spawn_system_task(self._run, name="alarms")
        if self._waiting is not None and self._heap[0][2] is sleeper:
            self._waiting.deadline = self._clock.trio_time(due_ns)
        await trio.lowlevel.wait_task_rescheduled(sleeper.abort)

    async def _run(self) -> None:
        """Wake whoever is due, for ever."""
        heap = self._heap
        while True:
            await self._sleep(self._clock.trio_time(heap[0][0]) if heap else inf)
            now = self._clock.now_ns()
            while heap and heap[0][0] <= now:
                task = heapq.heappop(heap)[2].task
                if task is not None:
                    trio.lowlevel.reschedule(task)

    async def _sleep(self, deadline: float) -> None:
        """Until then, or until what `_waiting` is moved to."""
        timers = self._clock.timers
        if timers is None:
            with trio.CancelScope(deadline=deadline) as self._waiting:
                await trio.sleep_forever()
        else:
            self._waiting = timers.add(deadline, trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(self._waiting.abort)
