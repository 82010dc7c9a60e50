"""What faults hold a process with: kept down, slowed; each lets go of its own, and exactly one incarnation is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sim import Hold, Process, ProcessGone, Simulation, State, run


async def forever() -> None:
    await trio.sleep_forever()


def in_simulation(main: Callable[[Process], Awaitable[None]]) -> None:
    async def body(simulation: Simulation) -> None:
        await main(simulation.processes.start("web", forever))

    run(body, seed=1)


def test_what_is_kept_down_starts_with_the_last_release() -> None:
    """Killed at once; `start` and `restart` wait for it, and it starts once."""

    async def main(process: Process) -> None:
        first, second = process.keep_down("one"), process.keep_down("two")
        assert not process.living
        await process.ended()
        assert process.statistics().kept_down_by == ("one", "two")
        process.start()
        await process.restart()
        first.release()
        first.release()
        assert process.state is State.CRASHED
        second.release()
        assert (process.state, process.statistics().starts) == (State.RUNNING, 2)

    in_simulation(main)


def test_what_was_down_stays_down() -> None:
    """Unless somebody has asked for its start meanwhile; one that is given up stays away as well."""

    async def main(process: Process) -> None:
        await process.crash()
        process.keep_down().release()
        assert process.state is State.CRASHED
        hold = process.keep_down()
        process.start()
        hold.release()
        assert process.living
        hold = process.keep_down()
        process.give_up()
        hold.release()
        await process.ended()
        assert process.state is State.CRASHED

    in_simulation(main)


def test_a_release_during_the_crash_starts_it_when_it_is_over() -> None:
    """Clean-up that shields itself delays the start, and nothing else starts it a second time."""

    async def main(simulation: Simulation) -> None:
        async def slow_to_die() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(10)

        process = simulation.processes.start("web", slow_to_die)
        await trio.sleep(1)
        hold = process.keep_down()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.restart)
            nursery.start_soon(process.restart)
            await trio.sleep(1)
            hold.release()
            assert process.state is State.CRASHING
        assert (process.state, process.statistics().starts) == (State.RUNNING, 2)
        assert trio.current_time() == pytest.approx(11)

    run(main, seed=1)


def test_a_removed_process_does_not_come_back() -> None:
    """Its machine is gone."""

    async def main(simulation: Simulation) -> None:
        process = simulation.processes.start("web", forever)
        hold = process.keep_down()
        await simulation.processes.remove("web")
        hold.release()
        assert not process.living

    run(main, seed=1)


def test_each_pass_of_a_slowed_gate_takes_time() -> None:
    """Several add up; released, whoever waits goes on at once, and the rest is as if nothing had been."""

    async def main(process: Process) -> None:
        began = trio.current_time()
        first = process.slow(lambda: 2.0, "one")
        second = process.slow(lambda: 3.0, "two")
        assert not process.running
        assert process.statistics().slowed_by == ("one", "two")
        await process.passed()
        assert trio.current_time() == began + 5
        await process.restart()
        second.release()
        await process.gate()
        assert trio.current_time() == began + 7
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.passed)
            await trio.sleep(1)
            first.release()
        assert trio.current_time() == began + 8
        assert process.running

    in_simulation(main)


def test_a_slowed_gate_lets_no_dead_process_pass() -> None:
    """Nor a paused one: it stops there as well."""

    async def main(process: Process) -> None:
        process.slow(lambda: 5.0)
        outcome: list[str] = []

        async def caller() -> None:
            try:
                await process.passed()
                outcome.append("passed")
            except ProcessGone:
                outcome.append("gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await trio.sleep(1)
            hold = process.pause()
            await trio.sleep(10)
            assert outcome == []
            hold.release()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await trio.sleep(1)
            await process.crash()
        assert outcome == ["passed", "gone"]

    in_simulation(main)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=25))
def test_any_order_of_grips_leaves_one_living_process(steps: list[int]) -> None:
    """Kills, starts, pauses and their releases in any order: when all is released and it was asked for, it runs, unheld."""

    async def main(process: Process) -> None:
        down: list[Hold] = []
        paused: list[Hold] = []
        for step in steps:
            match step:
                case 0 | 1:
                    down.append(process.keep_down())
                case 2 if down:
                    down.pop(0).release()
                case 3 if process.living:
                    paused.append(process.pause())
                case 4 if paused:
                    paused.pop(0).release()
                case 5:
                    await process.restart()
                case _:
                    await trio.sleep(1)
        for hold in (*down, *paused):
            hold.release()
        await trio.sleep(1)
        statistics = process.statistics()
        assert process.state is State.RUNNING
        assert (statistics.held_by, statistics.kept_down_by) == ((), ())

    in_simulation(main)
