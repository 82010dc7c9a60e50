"""Schedules at work: the same one gives the same run, its tape gives it again, and no sane program starves."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from engine.sim import (
    CanonicalSchedule,
    Deviation,
    KeyedSchedule,
    Limits,
    Livelock,
    NotRecordable,
    PctSchedule,
    PriorityRule,
    PrioritySchedule,
    RandomSchedule,
    Recording,
    SeededScheduler,
    Simulation,
    TapeSchedule,
    parse_schedule,
    run,
)
from engine.sim.determinism import put_back
from engine.sim.repeat import repeat
from tests.engine.sim.schedule_programs import SCHEDULES, busy, recorded

PROGRAM = f"{Path(__file__).with_name('schedule_programs.py')}:under_all_schedules"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_tape_of_a_run_replays_it(schedule: str) -> None:
    """300 tasks, timers and cancellations: the tape alone, read back from text, gives the same events and the same tape."""
    events, recording = recorded(schedule, seed=3)
    tape = recording.tape()

    assert recorded(str(tape), seed=3)[0] == events
    assert recorded(str(tape), seed=3)[1].tape() == tape
    assert recording.decisions > 20


@pytest.mark.parametrize("schedule", ["pct:1", "pct:3", "pct:5/10000:11"])
def test_the_priorities_of_a_pct_run_replay_it(schedule: str) -> None:
    """The form that shrinks, too, is exact: among 900 tasks and some that start late."""
    events, recording = recorded(schedule, seed=3)
    priorities = recording.shrinkable()

    assert isinstance(priorities, PrioritySchedule)
    assert recorded(str(priorities), seed=3)[0] == events
    assert recorded("priorities:", seed=3)[0] != events


def test_what_has_no_priorities_shrinks_by_its_tape() -> None:
    """Of other schedules the tape is the form to shrink."""
    for schedule in ("random", "canonical", "keyed", "priorities:3=1"):
        recording = recorded(schedule, seed=3)[1]

        assert recording.tape() == recording.shrinkable()


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((PriorityRule(2, 0, 1),), [2, 2, 2, 0, 1, 3, 0, 1, 3, 0, 1, 3]),
        ((PriorityRule(2, 0, -1),), [0, 1, 3, 0, 1, 3, 0, 1, 3, 2, 2, 2]),
        ((PriorityRule(2, 1, 1),), [0, 1, 2, 3, 0, 1, 2, 2, 3, 0, 1, 3]),
        ((PriorityRule(0, 1, -1),), [0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 0, 0]),
    ],
)
def test_a_rule_is_about_one_task_from_one_step_on(
    rules: tuple[PriorityRule, ...], expected: list[int]
) -> None:
    """Tasks are named here by the turns they take; the others keep their turns."""
    first = number_of_the_first_of_turns()
    shifted = tuple(attrs.evolve(each, task=first + each.task) for each in rules)
    schedule = PrioritySchedule(rules=shifted)

    assert expected == run(turns, seed=1, scheduler=schedule.scheduler(1))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_to_record_a_run_does_not_change_it(schedule: str) -> None:
    """The recorded run is the one without a recording."""
    scheduler = parse_schedule(schedule).scheduler(3)

    assert run(busy, seed=3, scheduler=scheduler) == recorded(schedule, seed=3)[0]


def test_all_schedules_are_the_same_in_fresh_processes() -> None:
    """With other hash seeds and heaps, and twice in each process: events and tapes agree."""
    (verdict,) = repeat([PROGRAM], seed=7, processes=2)

    assert verdict.divergence is None, verdict.divergence


def test_random_is_what_runs_without_a_schedule() -> None:
    """With the seed of the run, or as if the run had the other."""
    default = run(busy, seed=4)

    assert run(busy, seed=4, scheduler=RandomSchedule().scheduler(4)) == default
    assert run(busy, seed=9, scheduler=RandomSchedule(seed=4).scheduler(9)) == default
    assert run(busy, seed=4, scheduler=SeededScheduler(4)) == default


@pytest.mark.parametrize("schedule", ["random", "keyed", "pct:1", "pct:3"])
def test_each_seed_is_another_interleaving(schedule: str) -> None:
    """Four seeds of the run give four orders; a seed of its own makes the run's seed no matter."""
    orders = {tuple(recorded(schedule, seed)[0]) for seed in range(4)}

    assert len(orders) == 4
    assert recorded(f"{schedule}:5", 1)[0] == recorded(f"{schedule}:5", 2)[0]


async def turns(_: Simulation) -> list[int]:
    """The order in which four tasks take three turns each."""
    taken: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3):
            taken.append(number)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(work, number)
    return taken


@pytest.mark.parametrize("stepwise", [False, True])
def test_canonical_is_the_order_of_age(stepwise: bool) -> None:
    """Round after round, the oldest first; of single steps the turns are the same."""
    tape = TapeSchedule(stepwise=stepwise)

    assert run(turns, seed=1, scheduler=tape.scheduler(1)) == [0, 1, 2, 3] * 3
    assert run(turns, seed=1, scheduler=CanonicalSchedule().scheduler(1)) == [0, 1, 2, 3] * 3


def first_decision_of_turns() -> int:
    """The number of the decision about the first steps of the four: others come before."""
    sizes: list[int] = []

    class Sizes:
        def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
            sizes.append(len(batch))
            batch.reverse()

    run(turns, seed=1, scheduler=Sizes())
    return next(number for number, size in enumerate(sizes) if size >= 4)


def number_of_the_first_of_turns() -> int:
    """How many tasks decisions show before the four."""
    seen: dict[str, None] = {}

    class Names:
        def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
            seen.update(dict.fromkeys(task.name for task in batch))
            batch.reverse()

    run(turns, seed=1, scheduler=Names())
    return next(number for number, name in enumerate(seen) if "work" in name)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((3,), [3, 0, 1, 2]),
        ((3, 1), [3, 1, 0, 2]),
        ((99, 3), [3, 0, 1, 2]),
        ((99,), [0, 1, 2, 3]),
    ],
)
def test_a_deviation_is_one_decision(order: tuple[int, ...], expected: list[int]) -> None:
    """The named indices run first in that one round, and the rounds after are canonical; an index beyond the batch is passed over."""
    decision = first_decision_of_turns()
    tape = TapeSchedule(deviations=(Deviation(decision, order),))

    assert run(turns, seed=1, scheduler=tape.scheduler(1)) == [*expected, *[0, 1, 2, 3] * 2]


def test_a_decision_of_a_keyed_schedule_does_not_depend_on_the_others() -> None:
    """The order of decision 5 is the same whether all decisions deviate or it alone."""
    tapes = {
        schedule: recorded(schedule, seed=2)[1].tape().deviations
        for schedule in ("keyed", "keyed::5", "keyed::5..9", "keyed::7", "keyed::")
    }
    # An order follows from the number of a decision and the size of the batch, and no size here depends on an order.
    by_decision = {each.decision: each for each in tapes["keyed"]}

    assert tapes["keyed::5"] == (by_decision[5],)
    assert tapes["keyed::7"] == (by_decision[7],)
    assert tapes["keyed::5..9"] == tuple(by_decision[each] for each in range(5, 9))
    assert tapes["keyed::"] == ()


SPINNING = [f"pct:{depth}:{seed}" for depth in (1, 3) for seed in range(10)]


@pytest.mark.parametrize("schedule", SPINNING)
def test_a_task_that_awaits_a_flag_by_checkpoints_does_not_starve_the_others(schedule: str) -> None:
    """Whoever stands above the one it waits for falls below it in time."""

    async def main(_: Simulation) -> bool:
        flag: list[bool] = []

        async def spins() -> None:
            while not flag:
                await trio.lowlevel.checkpoint()

        async def sets() -> None:
            await trio.lowlevel.checkpoint()
            flag.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sets)
            for _ in range(5):
                nursery.start_soon(spins)
        return flag == [True]

    limits = Limits(rounds_per_instant=10_000)

    assert run(main, seed=1, scheduler=parse_schedule(schedule).scheduler(1), limits=limits)


@pytest.mark.parametrize("schedule", SPINNING)
def test_two_that_keep_waking_each_other_do_not_starve_the_third(schedule: str) -> None:
    """Neither runs many steps in a row; each runs many at one moment."""

    async def main(_: Simulation) -> int:
        stopped: list[bool] = []
        passes = 0
        there, back = trio.open_memory_channel[int](0), trio.open_memory_channel[int](0)

        async def plays(
            send: trio.MemorySendChannel[int], receive: trio.MemoryReceiveChannel[int]
        ) -> None:
            nonlocal passes
            async with send:
                async for ball in receive:
                    passes += 1
                    if stopped:
                        return
                    await send.send(ball)

        async def stops() -> None:
            stopped.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(plays, there[0], back[1])
            nursery.start_soon(plays, back[0], there[1])
            await trio.sleep(1)
            nursery.start_soon(serves, there[0].clone())
            nursery.start_soon(stops)
        return passes

    async def serves(send: trio.MemorySendChannel[int]) -> None:
        async with send:
            await send.send(1)

    limits = Limits(rounds_per_instant=5000)

    assert run(main, seed=1, scheduler=parse_schedule(schedule).scheduler(1), limits=limits) > 0


def test_a_livelock_is_still_one_under_pct() -> None:
    """A flag that nobody sets: demotion does not hide it."""

    async def main(_: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(spins)

    async def spins() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Livelock, match="spins"):
        run(
            main,
            seed=1,
            scheduler=PctSchedule(depth=2).scheduler(1),
            limits=Limits(rounds_per_instant=5000),
        )


def test_what_no_tape_can_hold_is_refused() -> None:
    """A scheduler that keeps some tasks of a batch ends a recorded run with the reason."""

    class KeepsTwo:
        def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
            if len(batch) > 2:
                kept = batch[:2]
                put_back(batch[2:])
                batch[:] = kept

    with pytest.raises(NotRecordable, match="2 of 4 tasks were kept"):
        run(turns, seed=1, scheduler=Recording(KeepsTwo()))


def test_a_tape_is_short_where_the_order_is_nearly_canonical() -> None:
    """Only the indices before the last ascending run are written; a keyed schedule of no ranges has an empty tape."""
    decision = first_decision_of_turns()
    tape = TapeSchedule(deviations=(Deviation(decision, (3,)),))
    recording = Recording(tape.scheduler(1))
    run(turns, seed=1, scheduler=recording)

    assert recording.tape() == tape
    assert recorded(str(KeyedSchedule(ranges=())), seed=1)[1].tape() == TapeSchedule()
    assert f"1 of {recording.decisions} decisions deviate" in repr(recording)
