"""Many sleepers, one timer: `Clock.sleep_until`."""

from __future__ import annotations

import trio

from engine.sim import Clock, Simulation, run

SECOND = 1_000_000_000


def test_sleepers_wake_when_they_are_due_and_not_before() -> None:
    """In the order of their times, whatever the order of their asking; a time that has passed is due at once."""

    async def main(simulation: Simulation) -> list[tuple[int, float]]:
        clock, woken = simulation.clock, []

        async def sleep(seconds: int) -> None:
            await clock.sleep_until(seconds * SECOND)
            woken.append((seconds, clock.now()))

        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for seconds in (30, 0, 10, 20, 10):
                nursery.start_soon(sleep, seconds)
        return woken

    assert [(0, 1.0), (10, 10.0), (10, 10.0), (20, 20.0), (30, 30.0)] == run(main, seed=1)


def test_one_instant_is_one_wake_up() -> None:
    """What is due together, though it was computed at different times, runs in one round of the scheduler."""

    async def main(simulation: Simulation) -> int:
        clock, due = simulation.clock, 7 * SECOND
        together = 0

        async def sleep(after: float) -> None:
            nonlocal together
            await trio.sleep(after)
            await clock.sleep_until(due)
            together += 1
            await trio.lowlevel.checkpoint()
            assert together == 5

        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(sleep, n / 3)
        return together

    assert run(main, seed=1) == 5


def test_a_cancelled_sleeper_is_not_woken_and_wakes_nobody_else() -> None:
    """A crash takes its sleepers out; the others sleep on, and new ones may be due earlier."""

    async def main(simulation: Simulation) -> list[float]:
        clock, woken = simulation.clock, []

        async def sleep(seconds: int) -> None:
            await clock.sleep_until(seconds * SECOND)
            woken.append(clock.now())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep, 20)
            with trio.move_on_after(2) as scope:
                await clock.sleep_until(5 * SECOND)
            assert scope.cancelled_caught
            assert clock.now() == 2.0
            nursery.start_soon(sleep, 4)
            nursery.start_soon(sleep, 3)
        return woken

    assert [3.0, 4.0, 20.0] == run(main, seed=1)


def test_a_clock_outside_of_a_simulation_wakes_its_sleepers() -> None:
    """The same in real time: a millisecond passes."""

    async def main() -> bool:
        clock = Clock.wall()
        before = clock.now_ns()
        await clock.sleep_until(before + 1_000_000)
        return clock.now_ns() >= before + 1_000_000

    assert trio.run(main)
