"""Schedulers that run one task at a time by priorities: PCT, and rules for single tasks, which are what remains of PCT when it is shrunk.

Theory of operation. Of the tasks in a decision the one of the highest priority runs, and the others are put back. Tasks are numbered in the
order in which decisions first show them. A task's **step** is how often decisions chose it before.

Priorities alone would starve a sane program: a task that awaits a flag by checkpoints, or two that keep waking each other, run for ever if they
stand above the one that would end it. So a task that was chosen some hundred times (`PATIENCE` to twice that) at one moment of virtual time
falls below all others. Only orders in which a task waits longer than that, in one moment, are not found.

A round of trio's loop runs one task here, not all that are runnable: `Limits.rounds_per_instant` counts steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from engine.sim.determinism import ages
from engine.sim.draws import Draws
from engine.sim.schedulers import Batch, Turns, keep

PATIENCE: Final = 250
"""Choices at one moment after which to look whether a task spins. With `Limits.rounds_per_instant` of 500,000,
a thousand spinning tasks are demoted before the run counts as a livelock."""

OCTAVES: Final = 20
"""Change points of `PctScheduler` without an estimate lie in the first 2**20 decisions."""

_HALF: Final = 1 << 63

Rules = Mapping[int, Mapping[int, int]]
"""From the number of a task to what priority it takes at which of its steps."""


class PriorityScheduler:
    """Tasks have priority 0, and run in turns, but for the rules: those give a task its priority at the start (step 0), or another one when it is about
    to take a later step.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules: Final = rules
        self._lowest = min((0, *(value for each in rules.values() for value in each.values())))
        self._decision = -1
        self._turns: Final = Turns()
        # All by the age of the task: tasks themselves would be kept alive.
        self._priorities: Final[dict[int, int]] = {}
        self._numbers: Final[dict[int, int]] = {}
        self._steps: Final[dict[int, int]] = {}
        self._seen_at: Final[dict[int, float]] = {}

    def shuffle(self, batch: Batch) -> None:
        """Keep the task of the highest priority, or of equals the one whose turn it is."""
        self._decision += 1
        by_index = ages(batch)
        try:
            ranks = [self._priorities[age] for age in by_index]
        except KeyError:
            self._meet(by_index)
            ranks = [self._priorities[age] for age in by_index]
        index = self._highest(ranks, batch)
        while (changed := self._change(by_index[index])) is not None:
            ranks[index] = self._priorities[by_index[index]] = changed
            index = self._highest(ranks, batch)
        self._choose(by_index[index])
        self._turns.took(batch[index])
        keep(batch, index)

    def _highest(self, ranks: Sequence[int], batch: Batch) -> int:
        highest = max(ranks)
        first = ranks.index(highest)
        if ranks.count(highest) == 1:
            return first
        equals = [index for index, rank in enumerate(ranks) if rank == highest]
        return equals[self._turns.next([batch[index] for index in equals])]

    def _meet(self, by_index: Sequence[int]) -> None:
        for age in by_index:
            if age not in self._priorities:
                number = len(self._numbers)
                self._numbers[age] = number
                self._steps[age] = 0
                self._priorities[age] = self._first_priority(number)

    def _first_priority(self, number: int) -> int:
        return self._rules.get(number, {}).get(0, 0)

    def _change(self, age: int) -> int | None:
        """The other priority of a task that is about to run; None to let it run."""
        rules = self._rules.get(self._numbers[age])
        if rules is None:
            return None
        step = self._steps[age]
        changed = rules.get(step) if step else None
        return None if changed == self._priorities[age] else changed

    def _choose(self, age: int) -> None:
        """Count, and demote a task that spins: as `Monitor` does for the whole run."""
        self._steps[age] = steps = self._steps[age] + 1
        if steps % PATIENCE:
            return
        now = trio.current_time()
        if self._seen_at.get(age) == now:
            self._lowest -= 1
            self._priorities[age] = self._lowest
        self._seen_at[age] = now


class PctScheduler(PriorityScheduler):
    """Random priorities, after Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (ASPLOS 2010).

    Each task gets a random priority. At `depth - 1` random decisions the task about to run falls below all others. A bug that needs `depth`
    ordering constraints among n tasks is hit by a seed with probability 1 / (n * k**(depth - 1)) at least, k being the number of decisions.
    Where only one task is runnable a change of priority would show no earlier than at the next decision: so decisions are all the steps
    that count.

    `steps` is k, as counted by a `Recording` of a run with depth 1. Without it the change points are drawn by powers of two: first
    which of the 20 octaves from 1 to 2**20 decisions, then where in it. Whatever k is, that costs a factor of 20 for each change point.
    """

    def __init__(self, seed: int, depth: int, steps: int | None) -> None:
        super().__init__({})
        self._draws: Final = Draws(seed)
        self._changes: Final = {
            self._change_point(number, steps): number - depth - _HALF for number in range(depth - 1)
        }
        self._lowest = -depth - _HALF
        self._taken: Final[list[tuple[int, int, int]]] = []

    def rules(self) -> list[tuple[int, int, int]]:
        """Task, step and priority, ascending: rules for a `PriorityScheduler` that takes the same interleaving as this run so far."""
        rules = {(number, 0): self._first_priority(number) for number in range(len(self._numbers))}
        for number, step, priority in self._taken:
            rules[number, step] = priority
        return compressed([(*key, rules[key]) for key in sorted(rules)])

    def _change_point(self, number: int, steps: int | None) -> int:
        if steps is not None:
            return self._draws.integer("schedule/change", number, steps)
        first = 1 << self._draws.integer("schedule/octave", number, OCTAVES)
        return first - 1 + self._draws.integer("schedule/change", number, first)

    def _first_priority(self, number: int) -> int:
        return self._draws.bits("schedule/priority", number) - _HALF

    def _change(self, age: int) -> int | None:
        changed = self._changes.pop(self._decision, None)
        if changed is not None:
            self._taken.append((self._numbers[age], self._steps[age], changed))
        return changed


def compressed(rules: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same rules with the smallest numbers for priorities: only their order, and which side of 0 they are on, matters."""
    values = sorted(dict.fromkeys(priority for _, _, priority in rules))
    below = sum(value < 0 for value in values)
    small = {value: place - below for place, value in enumerate(values)}
    up = 0 if 0 in small else 1  # 0 keeps its place
    return [
        (task, step, small[priority] + (up if priority > 0 else 0))
        for task, step, priority in rules
    ]
