"""One timer for many sleepers: a heap of alarms, and one task that waits for the earliest.

`trio.sleep` makes a cancel scope for each sleep and ends it with an exception: right for a time-out, and ten times what a wake-up costs. Kubelets renew
their Leases all day, thousands of them at the same few instants. Here a sleeper is an entry of a heap; one system task of trio sleeps
until the first is due, and wakes all that are due in one step.

Times are integer nanoseconds of cluster time, so that what is due at one instant is due together. A sleeper that is cancelled leaves a dead entry behind,
which goes when its time comes: undoing it is the same in whatever order trio cancels tasks.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from engine.sim.clock import Clock


class _Sleeper:
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
        self._heap: list[tuple[int, int, _Sleeper]] = []
        self._serial = 0
        """Of entries that are due together the first to be made is woken first."""
        self._scope: trio.CancelScope | None = None
        """What the system task waits in; None before there is one."""

    def __len__(self) -> int:
        """How many wait, the cancelled ones included until their time comes."""
        return len(self._heap)

    async def wait(self, due_ns: int) -> None:
        """Sleep until `due_ns` of cluster time; always a checkpoint."""
        if due_ns <= self._clock.now_ns():
            await trio.lowlevel.checkpoint()
            return
        sleeper = _Sleeper(trio.lowlevel.current_task())
        self._serial += 1
        heapq.heappush(self._heap, (due_ns, self._serial, sleeper))
        if self._scope is None:
            self._scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run, name="alarms")
        if self._heap[0][2] is sleeper:
            self._scope.deadline = self._clock.trio_time(due_ns)
        await trio.lowlevel.wait_task_rescheduled(sleeper.abort)

    async def _run(self) -> None:
        """Wake whoever is due, for ever."""
        while True:
            assert self._scope is not None
            with self._scope:
                await trio.sleep_forever()
            now, heap = self._clock.now_ns(), self._heap
            while heap and heap[0][0] <= now:
                task = heapq.heappop(heap)[2].task
                if task is not None:
                    trio.lowlevel.reschedule(task)
            self._scope = trio.CancelScope()
            if heap:
                self._scope.deadline = self._clock.trio_time(heap[0][0])
