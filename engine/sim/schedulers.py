"""The schedulers behind the descriptions of `schedules.py`: a tape, keyed decisions, the order of age. (Priorities: `priorities.py`.)

Theory of operation. A **decision** is a batch of two or more runnable tasks, numbered from 0; a batch of one decides nothing and is not
shown. Batches come sorted by age, and an **index** counts from the oldest. There are two kinds of schedulers:

- those of whole batches put all tasks of the batch in an order. All of them run before any task that they wake;
- those of single steps keep one task and put the others back, so that the next decision is about them and whoever was woken meanwhile.
  They can starve a task, which whole batches cannot, and cost a round of trio's loop for each step.

Each has a **canonical** choice, from which a schedule deviates: a whole batch in order of age, or the task whose turn it is (`Turns`).

Nothing here depends on addresses: tasks are known by their age, or looked up in sets that nobody iterates over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from engine.sim.determinism import put_back
from engine.sim.draws import Draws

Batch = list[trio.lowlevel.Task]


def keep(batch: Batch, index: int) -> None:
    """Leave one task in the batch, and the others for the next round."""
    task = batch.pop(index)
    put_back(batch)
    batch[:] = (task,)


class CanonicalScheduler:
    """Whole batches, the oldest first."""

    __slots__ = ()

    def shuffle(self, batch: Batch) -> None:
        """Order the batch in place."""
        batch.reverse()


class KeyedScheduler:
    """Whole batches: a random order that follows from the seed and the decision's number, in some ranges; order of age elsewhere.

    The order of one decision is therefore the same whether or not others deviate.
    """

    __slots__ = ("_decision", "_draws", "_ranges", "_start", "_stop")

    def __init__(self, seed: int, ranges: Sequence[tuple[float, float]]) -> None:
        self._draws: Final = Draws(seed)
        self._ranges: Final = iter(ranges)
        self._decision = -1
        self._start, self._stop = next(self._ranges, _NEVER)

    def shuffle(self, batch: Batch) -> None:
        """Order the batch in place."""
        self._decision += 1
        while self._decision >= self._stop:
            self._start, self._stop = next(self._ranges, _NEVER)
        if self._decision >= self._start:
            batch[:] = self._draws.shuffled("schedule/order", self._decision, batch)
        else:
            batch.reverse()


_NEVER: Final = (float("inf"), float("inf"))


class TapeScheduler:
    """Whole batches in order of age, but for listed decisions: of those, some indices run first, the others after them by age.

    An index beyond the batch is passed over: when the program has changed, or an earlier decision was taken off the tape, batches
    are other ones.
    """

    __slots__ = ("_decision", "_orders")

    def __init__(self, orders: Mapping[int, tuple[int, ...]]) -> None:
        self._orders: Final = orders
        self._decision = -1

    def shuffle(self, batch: Batch) -> None:
        """Order the batch in place."""
        self._decision += 1
        order = self._orders.get(self._decision)
        if order is not None:
            size = len(batch)
            first = [index for index in order if index < size]
            chosen = dict.fromkeys(first)
            rest = [index for index in range(size) if index not in chosen]
            batch[:] = [batch[index] for index in (*first, *rest)]
        batch.reverse()


class Turns:
    """Whose turn it is when one task runs at a time: as in whole batches by age.

    All tasks of the batch that begins a turn run once, the oldest first, before any that became runnable meanwhile. A task that runs out of turn
    has had its turn.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[trio.lowlevel.Task] = set()

    def next(self, batch: Batch) -> int:
        """The index of the task whose turn it is."""
        for index, task in enumerate(batch):
            if task in self._waiting:
                return index
        self._waiting = set(batch)
        return 0

    def took(self, task: trio.lowlevel.Task) -> None:
        """This one runs, be it its turn or not."""
        self._waiting.discard(task)


class StepTapeScheduler:
    """Single steps: the task whose turn it is, but for listed decisions, of which another index runs (if the batch is that large)."""

    __slots__ = ("_decision", "_indices", "_turns")

    def __init__(self, indices: Mapping[int, int]) -> None:
        self._indices: Final = indices
        self._decision = -1
        self._turns: Final = Turns()

    def shuffle(self, batch: Batch) -> None:
        """Keep one task."""
        self._decision += 1
        index = self._turns.next(batch)
        listed = self._indices.get(self._decision, index)
        if listed < len(batch):
            index = listed
        self._turns.took(batch[index])
        keep(batch, index)
