"""From a schedule that makes a run fail to one that still does, with as few deviations from canonical order as can be found.

Theory of operation. What deviates is a list, and `ddmin.py` takes away from it what is not needed:

- of a **tape** (`Recording` makes one of any run) the deviations, then of each deviation the indices that run first. Both are repeated until
  neither takes anything away;
- of **priorities** (a recorded `pct` run, by `Recording.shrinkable`) the rules;
- of a **keyed** schedule the decisions in its ranges; an open end is closed first, by powers of two.

A `random` or `pct` schedule has no such list: its draws are a stream, or hang together by priorities. Tried in its place is the keyed one of the
same seed, another sample of the same interleavings; where that does not fail, the schedule stays as it is: what to give
is `Recording.shrinkable()` of its run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from engine.sim.ddmin import minimise
from engine.sim.priorities import compressed
from engine.sim.schedules import (
    CanonicalSchedule,
    DecisionRange,
    Deviation,
    KeyedSchedule,
    PctSchedule,
    PriorityRule,
    PrioritySchedule,
    RandomSchedule,
    Schedule,
    TapeSchedule,
)

_OPEN_ENDS: Final = 32
"""An open end is closed at 2**31 decisions or before: more than a run makes in a day."""


def shrink_schedule(
    schedule: Schedule, still_fails: Callable[[Schedule], bool], budget: int
) -> Schedule:
    """The schedule with the fewest deviations found with at most `budget` calls; one that fails, or the one given.

    That the one given fails is taken for granted. Canonical order is tried first. 1-minimal when the budget suffices: each deviation is
    then needed. Pure, when `still_fails` is: the same arguments give the same schedule.
    """
    ask = _Asked(still_fails, budget)
    canonical = CanonicalSchedule()
    if schedule == canonical or ask(canonical):
        return canonical
    match schedule:
        case TapeSchedule():
            return _shrink_tape(schedule, ask)
        case PrioritySchedule():
            return _shrink_priorities(schedule, ask)
        case KeyedSchedule():
            return _shrink_keyed(schedule, ask)
        case RandomSchedule(seed=seed) | PctSchedule(seed=seed):
            keyed = KeyedSchedule(seed=seed)
            return _shrink_keyed(keyed, ask) if ask(keyed) else schedule
    return schedule


class _Asked:
    """`still_fails`, counted: asked no more when the budget is used up."""

    def __init__(self, still_fails: Callable[[Schedule], bool], budget: int) -> None:
        self._still_fails: Final = still_fails
        self.left = budget

    def __call__(self, schedule: Schedule) -> bool:
        if self.left < 1:
            return False
        self.left -= 1
        return self._still_fails(schedule)


def _shrink_tape(tape: TapeSchedule, ask: _Asked) -> TapeSchedule:
    def fails(deviations: Sequence[Deviation]) -> bool:
        if not deviations and not tape.stepwise:
            return False  # that is canonical order, asked already
        return ask(attrs.evolve(tape, deviations=tuple(deviations)))

    deviations = list(tape.deviations)
    while ask.left > 0:
        before = deviations
        deviations = minimise(deviations, fails, ask.left)
        deviations = _shorten(deviations, fails, ask)
        if deviations == before:
            break
    return attrs.evolve(tape, deviations=tuple(deviations))


def _shorten(
    deviations: list[Deviation], fails: Callable[[Sequence[Deviation]], bool], ask: _Asked
) -> list[Deviation]:
    """Each deviation with the fewest indices; without it where it turns out not to be needed."""
    for at in range(len(deviations) - 1, -1, -1):
        if len(deviations[at].order) > 1:
            with_order = _changing(deviations, at)
            order = minimise(deviations[at].order, _composed(fails, with_order), ask.left)
            deviations = with_order(order)
    return deviations


def _changing(deviations: list[Deviation], at: int) -> Callable[[Sequence[int]], list[Deviation]]:
    """From an order to the deviations with this one in the place of one; without that place when it is empty."""
    before, each, after = deviations[:at], deviations[at], deviations[at + 1 :]

    def changed(order: Sequence[int]) -> list[Deviation]:
        return [*before, *([attrs.evolve(each, order=tuple(order))] if order else []), *after]

    return changed


def _composed(
    fails: Callable[[Sequence[Deviation]], bool],
    changed: Callable[[Sequence[int]], list[Deviation]],
) -> Callable[[Sequence[int]], bool]:
    return lambda order: fails(changed(order))


def _shrink_priorities(priorities: PrioritySchedule, ask: _Asked) -> PrioritySchedule:
    def fails(rules: Sequence[PriorityRule]) -> bool:
        return ask(PrioritySchedule(rules=tuple(rules)))

    kept = minimise(priorities.rules, fails, ask.left)
    small = compressed([(each.task, each.step, each.priority) for each in kept])
    return PrioritySchedule(rules=tuple(PriorityRule(*each) for each in small))


def _shrink_keyed(keyed: KeyedSchedule, ask: _Asked) -> Schedule:
    closed = _closed(keyed, ask)
    if closed is None:
        return keyed

    def fails(decisions: Sequence[int]) -> bool:
        return bool(decisions) and ask(attrs.evolve(keyed, ranges=_ranges(decisions)))

    decisions = [
        decision
        for each in closed
        if each.stop is not None
        for decision in range(each.start, each.stop)
    ]
    return attrs.evolve(keyed, ranges=_ranges(minimise(decisions, fails, ask.left)))


def _closed(keyed: KeyedSchedule, ask: _Asked) -> tuple[DecisionRange, ...] | None:
    """The ranges with an end for the last; None when the budget was used up before one was found."""
    if not keyed.ranges or keyed.ranges[-1].stop is not None:
        return keyed.ranges
    start = keyed.ranges[-1].start
    for power in range(_OPEN_ENDS):
        ranges = (*keyed.ranges[:-1], DecisionRange(start, start + 2**power))
        if ask(attrs.evolve(keyed, ranges=ranges)):
            return ranges
    return None


def _ranges(decisions: Sequence[int]) -> tuple[DecisionRange, ...]:
    """Ascending decisions as ranges."""
    starts = [at for at, each in enumerate(decisions) if at == 0 or decisions[at - 1] != each - 1]
    ends = [*starts[1:], len(decisions)]
    return tuple(
        DecisionRange(decisions[start], decisions[end - 1] + 1)
        for start, end in zip(starts, ends, strict=True)
    )
