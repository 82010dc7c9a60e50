"""Stuck simulations are found and their culprits named; healthy ones are not touched."""

from __future__ import annotations

import gc
import math
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from engine.sim import Deadlock, Limits, Livelock, NeverYields, Simulation, run

QUICK = Limits(rounds_per_instant=2000, ticks=3, tick_seconds=0.02)


async def never_yields() -> None:
    while True:
        pass


async def blocks() -> None:
    while True:
        time.sleep(0.01)  # noqa: ASYNC251 - the bug that is looked for


async def swallows_errors() -> None:
    while True:
        try:  # noqa: SIM105 - as careless code does
            math.sqrt(2)
        except Exception:  # noqa: BLE001, S110 - as careless code does
            pass


def in_a_worker(culprit: Callable[[], Awaitable[None]]) -> Callable[[Simulation], Awaitable[None]]:
    """A simulation with a process one of whose tasks is the culprit."""

    async def main(simulation: Simulation) -> None:
        async def controller() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep(3)
                nursery.start_soon(culprit, name="worker 0")

        simulation.processes.start("controller/other", trio.sleep_forever)
        simulation.processes.start("controller/mine", controller)
        await trio.sleep(60)

    return main


@pytest.mark.parametrize("culprit", [never_yields, blocks, swallows_errors])
def test_a_task_that_never_yields_is_named(culprit: Callable[[], Awaitable[None]]) -> None:
    """Its process, its task, its file and line, whether it computes, blocks, or catches every Exception."""
    with pytest.raises(NeverYields) as info:
        run(in_a_worker(culprit), seed=1, limits=QUICK)

    assert info.value.task == "controller/mine (worker 0)"
    assert "test_progress.py:" in info.value.stack[0]
    assert f"in {culprit.__name__}" in info.value.stack[0]
    assert "controller/mine (worker 0) never yields: one step of it ran for 0.06 s" in str(
        info.value
    )


def test_main_is_watched_as_well() -> None:
    async def main(_: Simulation) -> None:
        await never_yields()

    with pytest.raises(NeverYields, match=r"^main never yields.* in never_yields < .* in main"):
        run(main, seed=1, limits=QUICK)


def test_a_slow_run_of_quick_steps_is_left_alone() -> None:
    """Many ticks fall into it, none twice into one step, and its order is that of a run without ticks."""

    async def main(_: Simulation) -> list[int]:
        order: list[int] = []

        async def work(number: int) -> None:
            for _ in range(3):
                order.append(number)
                end = time.perf_counter() + 0.001
                while time.perf_counter() < end:
                    pass
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(work, number)
        return order

    ticking = run(main, seed=1, limits=Limits(ticks=20, tick_seconds=0.002))

    assert ticking == run(main, seed=1, limits=Limits(tick_seconds=0))


def test_a_signal_in_use_is_left_to_its_user() -> None:
    """Someone else's alarm stays set; the watchdog stands down."""

    async def main(_: Simulation) -> object:
        return signal.getsignal(signal.SIGALRM)

    def mine(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGALRM, mine)
    try:
        assert run(main, seed=1) is mine
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_livelock_names_its_busiest_tasks() -> None:
    """Two controllers that undo each other's work at one instant; the idle one is not named."""

    async def main(simulation: Simulation) -> None:
        ping, pong = trio.open_memory_channel[int](1), trio.open_memory_channel[int](1)

        def undo(
            receive: trio.MemoryReceiveChannel[int], send: trio.MemorySendChannel[int]
        ) -> Callable[[], Awaitable[None]]:
            async def controller() -> None:
                while True:
                    await send.send(await receive.receive() + 1)

            return controller

        simulation.processes.start("controller/a", undo(ping[1], pong[0]))
        simulation.processes.start("controller/b", undo(pong[1], ping[0]))
        simulation.processes.start("controller/idle", trio.sleep_forever)
        await trio.sleep(5)
        await ping[0].send(0)
        await trio.sleep(5)

    with pytest.raises(Livelock, match="livelock at 5 s: 2000 scheduler rounds") as info:
        run(main, seed=1, limits=QUICK)

    assert {name for name, _ in info.value.busiest} == {"controller/a", "controller/b"}


def test_busy_instants_are_no_livelock_as_long_as_time_goes_on() -> None:
    async def main(simulation: Simulation) -> float:
        for _ in range(10):
            for _ in range(1500):
                await trio.lowlevel.checkpoint()
            await trio.sleep(1)
        return simulation.clock.now()

    assert run(main, seed=1, limits=QUICK) == 10.0


def test_a_deadlock_names_who_waits_and_where() -> None:
    """Stock trio would spin for ever: nothing is runnable, and no timer is set."""

    async def main(simulation: Simulation) -> None:
        async def controller() -> None:
            await trio.sleep(7)
            await trio.Event().wait()

        process = simulation.processes.start("controller/mine", controller)
        await process.ended()

    with pytest.raises(Deadlock, match="deadlock at 7 s") as info:
        run(main, seed=1)

    assert len(info.value.waiting) == 2
    assert info.value.waiting[0].startswith("controller/mine at test_progress.py:")
    assert info.value.waiting[0].endswith("in controller")
    assert info.value.waiting[1].startswith("main at ")


def test_what_went_wrong_besides_is_kept() -> None:
    """A task raises in its clean-up while the culprit is taken down: that is the cause of the error, not lost."""

    async def main(_: Simulation) -> None:
        async def fails_at_the_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("besides")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_at_the_end)
            await trio.sleep(1)
            nursery.start_soon(never_yields)

    with pytest.raises(NeverYields) as info:
        run(main, seed=1, limits=QUICK)

    assert isinstance(info.value.__cause__, BaseExceptionGroup)
    assert pytest.RaisesGroup(
        pytest.RaisesExc(ValueError, match="besides"), flatten_subgroups=True
    ).matches(info.value.__cause__)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_simulation_that_cannot_be_ended_is_broken_off() -> None:
    """A livelock that shields itself from being cancelled: its tasks are left lying about, and the error is the same."""

    async def main(_: Simulation) -> None:
        with trio.CancelScope(shield=True):
            while True:
                await trio.lowlevel.checkpoint()

    with pytest.raises(Livelock, match=r"main \(1000\)"):
        run(main, seed=1, limits=QUICK)

    gc.collect()  # what was left lying about complains here, in this test
