"""What a scheduler decided in one run, as a tape that makes another run take the same interleaving."""

from __future__ import annotations

from typing import Final

import trio

from engine.sim.determinism import Scheduler
from engine.sim.priorities import PctScheduler
from engine.sim.progress import SimulationError
from engine.sim.schedulers import Turns
from engine.sim.schedules import Deviation, PriorityRule, PrioritySchedule, Schedule, TapeSchedule


class NotRecordable(SimulationError):
    """A scheduler that neither orders whole batches nor keeps one task of each: a tape cannot say what it did."""


class Recording:
    """A scheduler that does what another does, and writes down where that is not canonical.

        recording = Recording(parse_schedule("pct:3").scheduler(seed))
        run(main, seed=seed, scheduler=recording)
        run(main, seed=seed, scheduler=recording.tape().scheduler(seed))    # the same interleaving

    Of a random order of n tasks that is n - 1 indices, or fewer when its end happens to be in order; of single steps, one.
    """

    __slots__ = ("_deviations", "_scheduler", "_shuffle", "_stepwise", "_turns", "decisions")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._shuffle: Final = scheduler.shuffle
        self._stepwise: bool | None = None
        self._turns: Final = Turns()
        self._deviations: Final[list[tuple[int, tuple[int, ...]]]] = []
        self.decisions = 0
        """Made so far; of a `pct:1` run, the estimate that other `pct` schedules of the program take as their steps."""

    def __repr__(self) -> str:
        return f"<Recording: {len(self._deviations)} of {self.decisions} decisions deviate>"

    def tape(self) -> TapeSchedule:
        """The schedule of the decisions so far."""
        return TapeSchedule(
            deviations=tuple(Deviation(*each) for each in self._deviations),
            stepwise=self._stepwise or False,
        )

    def shrinkable(self) -> Schedule:
        """The same interleaving in the form that shrinks best (`shrink_schedule`): of a `pct` run its priorities, else the tape.

        On the tape of a `pct` run nearly each step deviates, and means something else when one before it does not. A rule for
        one task holds whatever the others do.
        """
        if isinstance(self._scheduler, PctScheduler):
            return PrioritySchedule(
                rules=tuple(PriorityRule(*each) for each in self._scheduler.rules())
            )
        return self.tape()

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Order the batch in place, as the scheduler does."""
        before = batch.copy()
        self._shuffle(batch)
        stepwise = len(batch) < len(before)
        if self._stepwise is None:
            self._stepwise = stepwise
        if self._stepwise != stepwise or (stepwise and len(batch) != 1):
            raise NotRecordable(
                f"decision {self.decisions}: {len(batch)} of {len(before)} tasks were kept; a tape holds runs in which "
                "each decision keeps all, or each keeps one"
            )
        order = self._single(before, batch[0]) if stepwise else _whole(before, batch)
        if order:
            self._deviations.append((self.decisions, order))
        self.decisions += 1

    def _single(
        self, before: list[trio.lowlevel.Task], kept: trio.lowlevel.Task
    ) -> tuple[int, ...]:
        canonical = self._turns.next(before)
        self._turns.took(kept)
        return () if before[canonical] is kept else (before.index(kept),)


def _whole(before: list[trio.lowlevel.Task], batch: list[trio.lowlevel.Task]) -> tuple[int, ...]:
    """The indices that ran first: those after them ran in order of age, and are left out."""
    if len(before) == 2:
        return () if batch[0] is before[1] else (1,)
    index_of = {task: index for index, task in enumerate(before)}
    order = [index_of[task] for task in reversed(batch)]
    end = len(order) - 1
    while end > 0 and order[end - 1] < order[end]:
        end -= 1
    return tuple(order[:end])
