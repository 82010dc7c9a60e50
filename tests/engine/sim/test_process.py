"""Processes: they crash at any await, lose their memory and nothing else, and pass no gate while paused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sim import (
    Hold,
    IllegalTransition,
    Link,
    Process,
    ProcessFailed,
    ProcessGone,
    Simulation,
    State,
    open_processes,
    run,
)
from engine.sim.lifecycle import TRANSITIONS, Event, next_state


async def forever() -> None:
    await trio.sleep_forever()


async def returns() -> None:
    await trio.lowlevel.checkpoint()


async def raises() -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("a bug")


@pytest.mark.parametrize("awaits", range(40))
def test_a_crash_at_any_await_stops_all_of_it(awaits: int) -> None:
    """Whichever await it is in, nothing of a crashed process reaches the cluster any more, not even clean-up that shields itself;
    started again it remembers nothing.
    """

    async def main(simulation: Simulation) -> tuple[list[str], list[str], int]:
        cluster: list[str] = []
        link = Link("web", draws=simulation.draws)

        async def worker(memory: list[str], name: str) -> None:
            try:
                for step in range(5):
                    await link.to_server()
                    await process.gate()
                    memory.append(f"{name}{step}")
                    cluster.append(f"{name}{step} of {len(memory)}")
            finally:
                with trio.CancelScope(shield=True):
                    await process.gate()
                    cluster.append(f"{name} says goodbye")

        async def web() -> None:
            memory: list[str] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker, memory, "a")
                nursery.start_soon(worker, memory, "b")
                await trio.sleep_forever()

        process = simulation.processes.start("web", web)
        for _ in range(awaits):
            await trio.lowlevel.checkpoint()
        lived = process.state
        await process.crash()
        crashed_at = list(cluster)
        await trio.sleep(100)
        after = list(cluster)
        process.start()
        await trio.sleep(100)

        assert lived is State.RUNNING
        assert process.state is State.RUNNING
        return crashed_at, after, sum(event.endswith(" of 1") for event in cluster[len(after) :])

    crashed_at, after, fresh = run(main, seed=awaits)

    assert crashed_at == after
    assert fresh == 1


def test_dying_clean_up_meets_a_closed_gate() -> None:
    """It learns that it is gone instead of waiting for ever, so the crash comes to an end; what it raised is kept."""

    async def main(simulation: Simulation) -> Process:
        async def stubborn() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                    await process.gate()

        process = simulation.processes.start("stubborn", stubborn)
        await trio.sleep(1)
        await process.crash()

        assert trio.current_time() == 6.0
        return process

    process = run(main, seed=1)

    assert process.state is State.CRASHED
    assert isinstance(process.failure, ProcessGone)
    assert "'stubborn' is crashing: it passes no gate" in str(process.failure)


def test_a_paused_process_passes_no_gate() -> None:
    """Its timers run out and it stands before the gate; resumed, it goes on at once."""

    async def main(simulation: Simulation) -> list[float]:
        beats: list[float] = []

        async def heart() -> None:
            while True:
                await process.sleep(10)
                beats.append(trio.current_time())

        process = simulation.processes.start("heart", heart)
        await trio.sleep(15)
        hold = process.pause("fault")
        assert process.state is State.PAUSED
        assert process.statistics().held_by == ("fault",)
        await trio.sleep(32)
        process.resume(hold)
        await trio.sleep(20)
        return beats

    assert run(main, seed=1) == [10.0, 47.0, 57.0, 67.0]


def test_overlapping_pauses_compose() -> None:
    """Two faults pause it: it goes on when both have let go, in either order, and letting go twice lifts nobody else's hold."""

    async def main(simulation: Simulation) -> None:
        process = simulation.processes.start("web", forever)
        first, second = process.pause("first"), process.pause("second")
        first.release()
        first.release()
        process.resume(first)
        assert process.state is State.PAUSED
        assert process.statistics().held_by == ("second",)
        second.release()
        assert process.state is State.RUNNING
        process.pause()
        process.pause()
        process.resume()
        assert process.state is State.RUNNING

    run(main, seed=1)


def test_a_hold_taken_again_before_the_waiter_wakes_still_holds() -> None:
    """Resume and pause in one step: whoever waits at the gate stays there."""

    async def main(simulation: Simulation) -> list[float]:
        passed: list[float] = []

        async def web() -> None:
            await process.gate()
            passed.append(trio.current_time())

        process = simulation.processes.start("web", web)
        hold = process.pause()
        await trio.sleep(1)
        hold.release()
        hold = process.pause()
        await trio.sleep(1)
        assert not passed
        hold.release()
        await process.ended()
        return passed

    assert run(main, seed=1) == [2.0]


def test_a_crash_voids_the_holds() -> None:
    """The process that comes back is another one: not paused, and the old fault's end changes nothing."""

    async def main(simulation: Simulation) -> None:
        process = simulation.processes.start("web", forever)
        hold = process.pause()
        await process.crash()
        assert process.state is State.CRASHED
        assert not hold.active
        process.start()
        assert process.state is State.RUNNING
        new = process.pause()
        process.resume(hold)
        assert process.state is State.PAUSED
        process.resume(new)
        assert process.statistics().starts == 2

    run(main, seed=1)


def test_a_failure_nobody_handles_ends_the_simulation() -> None:
    """With the process's name and what it raised."""

    async def main(simulation: Simulation) -> None:
        simulation.processes.start("controller/mine", raises)
        await trio.sleep_forever()

    with pytest.raises(ProcessFailed, match="'controller/mine' failed: ValueError: a bug") as info:
        run(main, seed=1)

    assert isinstance(info.value.__cause__, ValueError)


def test_a_supervisor_hears_of_a_failure_and_may_restart() -> None:
    """The others go on; the failure stays readable until the next start."""

    async def main(simulation: Simulation) -> None:
        heard: list[tuple[str, State, str]] = []
        simulation.processes.on_failure = lambda process, failure: heard.append(
            (process.name, process.state, str(failure))
        )
        other = simulation.processes.start("other", forever)
        process = simulation.processes.start("mine", raises)
        await process.ended()
        assert heard == [("mine", State.FAILED, "a bug")]
        assert isinstance(process.failure, ValueError)
        assert other.state is State.RUNNING
        process.start()
        assert process.failure is None
        await process.ended()
        assert len(heard) == 2

    run(main, seed=1)


def test_a_supervisor_may_restart_in_the_very_step_of_the_failure() -> None:
    async def main(simulation: Simulation) -> int:
        simulation.processes.on_failure = lambda process, _: process.start()

        async def third_time_lucky() -> None:
            await trio.sleep(1)
            if process.statistics().starts < 3:
                raise ValueError("not yet")

        process = simulation.processes.start("mine", third_time_lucky)
        await trio.sleep(10)
        assert process.state is State.EXITED
        return process.statistics().starts

    assert run(main, seed=1) == 3


def test_the_end_of_the_block_kills_the_last_started_first() -> None:
    """What a process was started on top of outlives it."""
    ended: list[str] = []

    def main_of(name: str) -> Callable[[], Awaitable[None]]:
        async def process() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(name)

        return process

    async def main(simulation: Simulation) -> None:
        for name in ("store", "api", "web"):
            simulation.processes.start(name, main_of(name))
        await trio.sleep(1)

    run(main, seed=1)

    assert ended == ["web", "api", "store"]


def test_processes_are_found_by_name_in_the_order_of_their_start() -> None:
    async def main(simulation: Simulation) -> None:
        processes = simulation.processes
        for name in ("b", "a", "c"):
            processes.start(name, forever)
        await processes["a"].restart()
        assert [process.name for process in processes] == ["b", "a", "c"]
        with pytest.raises(KeyError, match="no process is called 'd'; there are: b, a, c"):
            processes["d"]
        with pytest.raises(ValueError, match="'a' is there already"):
            processes.start("a", forever)
        await processes.remove("a")
        assert "a" not in processes
        assert processes.start("a", returns).state is State.RUNNING

    run(main, seed=1)


async def test_processes_need_no_simulation() -> None:
    """In real time, under stock trio, they are the same."""
    async with open_processes() as processes:
        process = processes.start("web", returns)
        await process.ended()

    assert process.state is State.EXITED


def test_restart_waits_for_a_crash_under_way() -> None:
    async def main(simulation: Simulation) -> None:
        async def slow_to_die() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)

        process = simulation.processes.start("web", slow_to_die)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.crash)
            await trio.sleep(1)
            assert process.state is State.CRASHING
            await process.restart()
        assert trio.current_time() == 4.0
        assert process.state is State.RUNNING

    run(main, seed=1)


def test_what_the_state_forbids_changes_nothing() -> None:
    async def main(simulation: Simulation) -> None:
        process = simulation.processes.start("web", forever)
        before = process.statistics()
        with pytest.raises(IllegalTransition, match="'web' is running: cannot start, allowed are"):
            process.start()
        with pytest.raises(IllegalTransition, match="cannot resume"):
            process.resume()
        assert process.statistics() == before
        await process.crash()
        before = process.statistics()
        with pytest.raises(IllegalTransition, match="is crashed: cannot crash, allowed are: start"):
            await process.crash()
        with pytest.raises(IllegalTransition, match="cannot pause"):
            process.pause()
        assert process.statistics() == before

    run(main, seed=1)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_pair_is_in_the_table_or_raises(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert next_state("web", state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition, match=f"is {state.value}: cannot {event.value}"):
            next_state("web", state, event)


STEPS = st.sampled_from(["pause", "release", "crash", "start", "restart", "tick"])


@given(steps=st.lists(STEPS), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_any_sequence_of_faults_leaves_no_residue(steps: list[str], seed: int) -> None:
    """Whatever was done to it, once every hold is released and it is started it beats as a new one; a model of two
    facts (alive, holds) tells its state after every step.
    """

    async def main(simulation: Simulation) -> None:
        beats: list[float] = []

        async def heart() -> None:
            while True:
                await process.sleep(1)
                beats.append(trio.current_time())

        async def beating() -> bool:
            before = len(beats)
            await trio.sleep(2.5)
            return len(beats) >= before + 2

        process = simulation.processes.start("heart", heart)
        model = Model()
        for step in steps:
            await model.apply(step, process)
            assert process.state is model.state
            if step == "tick":
                assert await beating() == (model.state is State.RUNNING)
        for hold in model.holds:
            hold.release()
        if not model.alive:
            process.start()
        assert await beating()

    run(main, seed=seed)


class Model:
    """What a process is, in two facts; steps that its state forbids are skipped."""

    def __init__(self) -> None:
        self.alive = True
        self.holds: list[Hold] = []

    @property
    def state(self) -> State:
        if not self.alive:
            return State.CRASHED
        return State.PAUSED if self.holds else State.RUNNING

    async def apply(self, step: str, process: Process) -> None:
        if step == "pause" and self.alive:
            self.holds.append(process.pause())
        elif step == "release" and self.holds:
            self.holds.pop(0).release()
        elif step == "crash" and self.alive:
            await process.crash()
            self.alive, self.holds = False, []
        elif step == "restart" or (step == "start" and not self.alive):
            await process.restart()
            self.alive, self.holds = True, []
