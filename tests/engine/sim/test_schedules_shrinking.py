"""`shrink_schedule`: from thousands of deviations to the few that a planted race needs."""

from __future__ import annotations

from itertools import combinations, islice

import attrs
import pytest
import trio

from engine.sim import (
    CanonicalSchedule,
    KeyedSchedule,
    PrioritySchedule,
    RandomSchedule,
    Recording,
    Schedule,
    Simulation,
    TapeSchedule,
    parse_schedule,
    run,
    shrink_schedule,
)


async def planted(_: Simulation) -> bool:
    """A lease that is renewed late and taken over early: at 3 s the taker must come before the renewer, and at 6 s, when its successor has
    started, the old holder must write before it is told. 60 bystanders wake at the same moments.
    """
    events: list[str] = []

    async def says(second: int, what: str) -> None:
        await trio.sleep(second)
        await trio.lowlevel.checkpoint()
        events.append(what)

    async def bystander(number: int) -> None:
        for _ in range(8):
            await trio.sleep(1)
            for _ in range(number % 3):
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(bystander, number)
        for second, what in ((3, "renew"), (3, "take"), (6, "tell"), (6, "write")):
            nursery.start_soon(says, second, what)
    return events == ["take", "renew", "write", "tell"]


class Judge:
    """Whether the planted race happens under a schedule; counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, schedule: Schedule) -> bool:
        self.calls += 1
        return run(planted, seed=1, scheduler=schedule.scheduler(1))


def failing(kind: str, number: int = 0) -> Schedule:
    """The first seed of the kind that hits the race, or a later one."""
    schedules = (parse_schedule(f"{kind}:{seed}") for seed in range(500))
    hits = (each for each in schedules if Judge()(each))
    return next(islice(hits, number, None))


def recorded(schedule: Schedule) -> Recording:
    recording = Recording(schedule.scheduler(1))
    run(planted, seed=1, scheduler=recording)
    return recording


def without_one(schedule: Schedule) -> list[Schedule]:
    """The schedule with one deviation or rule fewer, in all ways."""
    if isinstance(schedule, PrioritySchedule):
        rules = combinations(schedule.rules, len(schedule.rules) - 1)
        return [PrioritySchedule(rules=each) for each in rules]
    assert isinstance(schedule, TapeSchedule)
    deviations = combinations(schedule.deviations, len(schedule.deviations) - 1)
    return [attrs.evolve(schedule, deviations=each) for each in deviations]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["random", "pct:3", "pct:3/2000"])
def test_a_recorded_failure_shrinks_to_three_deviations_at_most(kind: str, seed: int) -> None:
    """And without any one of them the race does not happen."""
    given, judge = recorded(failing(kind, seed)).shrinkable(), Judge()

    shrunk = shrink_schedule(given, judge, 500)
    left = without_one(shrunk)

    assert len(without_one(given)) > 20
    assert 0 < len(left) <= 3
    assert judge.calls <= 500
    assert Judge()(shrunk)
    assert not [each for each in left if Judge()(each)]


def test_the_tape_of_single_steps_shrinks_too() -> None:
    """Less far than priorities do, as one step fewer changes what all later ones mean; what is returned fails."""
    tape = recorded(failing("pct:3")).tape()

    shrunk = shrink_schedule(tape, Judge(), 60)

    assert isinstance(shrunk, TapeSchedule)
    assert len(shrunk.deviations) < len(tape.deviations)
    assert Judge()(shrunk)


def test_a_deviation_of_many_indices_shrinks_to_few() -> None:
    """A random order of 60 tasks is 59 indices; that one task comes first needs one."""
    shrunk = shrink_schedule(recorded(failing("random")).tape(), Judge(), 1000)

    assert isinstance(shrunk, TapeSchedule)
    assert [1] * len(shrunk.deviations) == [len(each.order) for each in shrunk.deviations]


@pytest.mark.parametrize("kind", ["keyed", "random", "pct:3"])
def test_a_keyed_schedule_shrinks_to_single_decisions(kind: str) -> None:
    """Without any recording; a random or a pct schedule by way of the keyed one of its seed, if that fails too."""
    schedules = (parse_schedule(f"{kind}:{seed}") for seed in range(500))
    schedule = next(
        each
        for each in schedules
        if Judge()(each) and Judge()(parse_schedule(f"keyed:{str(each).rpartition(':')[2]}"))
    )
    judge = Judge()

    shrunk = shrink_schedule(schedule, judge, 500)

    assert isinstance(shrunk, KeyedSchedule)
    assert judge.calls <= 500
    assert Judge()(shrunk)
    decisions = [
        decision
        for each in shrunk.ranges
        for decision in range(each.start, each.stop or each.start)
    ]
    assert 0 < len(decisions) <= 3


def test_canonical_order_is_tried_first() -> None:
    """What fails without any schedule needs none."""
    asked: list[Schedule] = []

    def fails(schedule: Schedule) -> bool:
        asked.append(schedule)
        return True

    for text in ("random", "pct:3", "keyed:4", "tape:3=1", "step-tape:3=1", "priorities:3=1"):
        assert CanonicalSchedule() == shrink_schedule(parse_schedule(text), fails, 100)
    assert [CanonicalSchedule()] * 6 == asked


@pytest.mark.parametrize(
    "text", ["random:3", "pct:3:3", "keyed:3", "canonical", "tape:3=1", "priorities:3=1"]
)
def test_what_cannot_be_shrunk_is_returned(text: str) -> None:
    """Nothing simpler fails: the one given does."""
    schedule = parse_schedule(text)

    assert schedule == shrink_schedule(schedule, lambda each: each == schedule, 100)


@pytest.mark.parametrize("budget", [0, 1, 5, 30])
@pytest.mark.parametrize("kind", ["random", "keyed"])
def test_a_small_budget_is_kept(kind: str, budget: int) -> None:
    """No call more, and what is returned fails."""
    schedule = failing(kind)
    given = recorded(schedule).tape() if isinstance(schedule, RandomSchedule) else schedule
    judge = Judge()

    shrunk = shrink_schedule(given, judge, budget)

    assert judge.calls <= budget
    assert Judge()(shrunk)


def test_shrinking_is_deterministic() -> None:
    """The same schedule and judge give the same result, by the same questions."""
    tape = recorded(failing("random")).tape()
    questions: list[list[str]] = []
    for _ in range(2):
        asked: list[str] = []

        def fails(schedule: Schedule, asked: list[str] = asked) -> bool:
            asked.append(str(schedule))
            return Judge()(schedule)

        asked.append(str(shrink_schedule(tape, fails, 60)))
        questions.append(asked)

    assert questions[0] == questions[1]
