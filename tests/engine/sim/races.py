"""Small programs with a race of known depth: each returns whether it went wrong. The depth is the number of ordering constraints that must
hold together, one more than the preemptions it takes.

Each has bystanders besides, so that a schedule has something else to run.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import attrs
import trio

from engine.sim import Recording, Schedule, Simulation, run

BYSTANDERS: Final = 1
STEPS: Final = 1

Race = Callable[[trio.Nursery], Callable[[], bool]]
"""Starts its tasks in the nursery; the function it returns says afterwards whether it went wrong."""


async def steps(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


def use_before_start(nursery: trio.Nursery) -> Callable[[], bool]:
    """Depth 1: one order of two tasks is enough."""
    started: list[bool] = []
    missing: list[bool] = []

    async def starts() -> None:
        await steps(STEPS)
        started.append(True)

    async def uses() -> None:
        await steps(STEPS)
        missing.append(not started)

    nursery.start_soon(starts)
    nursery.start_soon(uses)
    return lambda: missing == [True]


def lost_update(nursery: trio.Nursery) -> Callable[[], bool]:
    """Depth 2: both read before either writes."""
    total = [0]

    async def adds() -> None:
        await steps(STEPS)
        read = total[0]
        await steps(1)
        total[0] = read + 1

    nursery.start_soon(adds)
    nursery.start_soon(adds)
    return lambda: total == [1]


def two_lock_order(nursery: trio.Nursery) -> Callable[[], bool]:
    """Depth 2: each task holds the lock that the other waits for."""
    locks = [trio.Lock(), trio.Lock()]
    stuck: list[bool] = []

    async def takes(first: trio.Lock, second: trio.Lock) -> None:
        await steps(STEPS)
        with trio.move_on_after(1) as scope:
            async with first:
                await steps(1)
                async with second:
                    await steps(1)
        stuck.append(scope.cancelled_caught)

    nursery.start_soon(takes, locks[0], locks[1])
    nursery.start_soon(takes, locks[1], locks[0])
    return lambda: True in stuck


def use_after_close(nursery: trio.Nursery) -> Callable[[], bool]:
    """Depth 2: closed between the look and the use; closed before is fine."""
    state = ["open"]
    used: list[str] = []

    async def uses() -> None:
        await steps(STEPS)
        if state[0] == "open":
            await steps(1)
            used.append(state[0])

    async def closes() -> None:
        await steps(STEPS)
        state[0] = "closed"

    nursery.start_soon(uses)
    nursery.start_soon(closes)
    return lambda: used == ["closed"]


def aba(nursery: trio.Nursery) -> Callable[[], bool]:
    """Depth 2: between look and comparison the top of a stack is taken, the one below it too, and the first put back: the comparison of tops
    sees nothing.
    """
    stack = ["c", "b", "a"]
    wrong: list[bool] = []

    async def swaps() -> None:
        await steps(STEPS)
        before = stack.copy()
        await steps(1)
        wrong.append(before[-1] == stack[-1] and before != stack)

    async def recycles() -> None:
        await steps(STEPS)
        taken = stack.pop()
        stack.pop()
        await steps(1)
        stack.append(taken)

    nursery.start_soon(swaps)
    nursery.start_soon(recycles)
    return lambda: wrong == [True]


def torn_read(nursery: trio.Nursery) -> Callable[[], bool]:
    """Depth 3: the reader finds that nobody writes, the writer begins, the reader reads, and only then the writer ends."""
    halves = [0, 0]
    writing: list[bool] = []
    read: list[list[int]] = []

    async def reads() -> None:
        await steps(STEPS)
        if not writing:
            await steps(1)
            read.append(halves.copy())

    async def writes() -> None:
        await steps(STEPS)
        writing.append(True)
        halves[0] = 1
        await steps(1)
        halves[1] = 1
        writing.clear()

    nursery.start_soon(reads)
    nursery.start_soon(writes)
    return lambda: read == [[1, 0]]


def zigzag(depth: int) -> Race:
    """Any depth: the first so many marks of two tasks alternate."""

    def race(nursery: trio.Nursery) -> Callable[[], bool]:
        marks: list[int] = []

        async def marking(number: int) -> None:
            await steps(STEPS)
            for _ in range((depth + 2) // 2):
                marks.append(number)
                await steps(1)

        nursery.start_soon(marking, 0)
        nursery.start_soon(marking, 1)
        return lambda: all(one != other for one, other in pairwise(marks[:depth]))

    return race


@attrs.frozen
class Calibrated:
    """A race, its depth, and what the bound of PCT is computed from."""

    race: Race
    depth: int

    @property
    def name(self) -> str:
        name = self.race.__name__
        return f"zigzag of depth {self.depth}" if name == "race" else name

    async def main(self, simulation: Simulation) -> bool:
        async with trio.open_nursery() as nursery:
            wrong = self.race(nursery)
            for _ in range(BYSTANDERS):
                nursery.start_soon(steps, STEPS)
        return wrong()

    def tasks(self) -> int:
        """All tasks of the program, main among them."""

        async def count(_: Simulation) -> int:
            async with trio.open_nursery() as nursery:
                self.race(nursery)
                return len(nursery.child_tasks) + BYSTANDERS + 1

        return run(count, seed=0)

    def fails(self, schedule: Schedule, seed: int = 0) -> bool:
        return run(self.main, seed=seed, scheduler=schedule.scheduler(seed))

    def recorded(self, schedule: Schedule, seed: int = 0) -> Recording:
        recording = Recording(schedule.scheduler(seed))
        run(self.main, seed=seed, scheduler=recording)
        return recording


CALIBRATED: Final = (
    Calibrated(use_before_start, 1),
    Calibrated(lost_update, 2),
    Calibrated(two_lock_order, 2),
    Calibrated(use_after_close, 2),
    Calibrated(aba, 2),
    Calibrated(torn_read, 3),
    Calibrated(zigzag(2), 2),
    Calibrated(zigzag(3), 3),
    Calibrated(zigzag(4), 4),
)
