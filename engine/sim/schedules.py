"""Schedules: which interleaving a run takes, as a value that can be written down, read back and searched.

    parse_schedule("pct:3").scheduler(run_seed)    # a fresh scheduler for one run

| Text                        | Meaning                                                                                       |
|-----------------------------|-----------------------------------------------------------------------------------------------|
| `random`, `random:7`        | each batch in a random order, by the seed of the run or one of its own                        |
| `canonical`                 | each batch in order of age, the oldest first                                                  |
| `pct:3`, `pct:3:7`          | priorities with 2 changes (a bug of depth 3), by the seed of the run or one of its own        |
| `priorities:61=1,5@12=-2`   | one task at a time, in turns, but task 61 before all others, and task 5 after them from its step 12 |
| `pct:3/20000`               | the same for a run known to make about 20,000 decisions                                       |
| `keyed`, `keyed:7:3..8,12`  | random orders, each drawn for itself, in decisions 3 to 7 and 12; canonical elsewhere         |
| `tape:12=1,40=2.0`          | canonical, but decision 12 runs index 1 first, and decision 40 first 2, then 0                |
| `step-tape:12=1`            | one task at a time, in turns, but decision 12 runs index 1                                    |

What a decision and an index are, and how each kind works, is told in `schedulers.py`. Texts and JSON are read in `schedule_reading.py`;
`recording.py` makes tapes, `shrinking.py` shortens them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from math import inf
from typing import Final

import attrs

from engine.sim.determinism import Scheduler, SeededScheduler
from engine.sim.priorities import PctScheduler, PriorityScheduler
from engine.sim.schedulers import (
    CanonicalScheduler,
    KeyedScheduler,
    StepTapeScheduler,
    TapeScheduler,
)

_MAX_SEED: Final = 2**64
_MAX_DEPTH: Final = 100
"""Known bugs have depths of 1 to 4; the bound on hitting one is void long before this."""
_MAX_STEPS: Final = 2**32
_MAX_DECISION: Final = 2**53
"""What JSON readers of other languages keep exactly."""


class ScheduleError(ValueError):
    """A description that is no schedule; the message says what is wrong with it, and what is expected."""


def _set(**fields: int | None) -> dict[str, int]:
    return {name: value for name, value in fields.items() if value is not None}


def _check(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ScheduleError(f"{what} is {value}, expected is an integer from {low} to {high}")


def _check_seed(seed: int | None) -> None:
    if seed is not None:
        _check("seed", seed, -_MAX_SEED, _MAX_SEED)


class Schedule(ABC):
    """How the runnable tasks of a run are ordered: a frozen value. `str()` gives the text that `parse_schedule` reads."""

    __slots__ = ()

    @abstractmethod
    def scheduler(self, run_seed: int) -> Scheduler:
        """A fresh scheduler for one run; the run's seed is used where the schedule has none of its own."""

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """What `schedule_from_json` reads: `kind` and the fields that are set."""

    @abstractmethod
    def __str__(self) -> str: ...


@attrs.frozen(kw_only=True)
class CanonicalSchedule(Schedule):
    """Each batch in order of age."""

    def scheduler(self, run_seed: int) -> Scheduler:  # noqa: ARG002 - one shape for all
        return CanonicalScheduler()

    def to_json(self) -> dict[str, object]:
        return {"kind": "canonical"}

    def __str__(self) -> str:
        return "canonical"


@attrs.frozen(kw_only=True)
class RandomSchedule(Schedule):
    """Each batch in a random order: one stream of draws for the run (`SeededScheduler`)."""

    seed: int | None = None
    """None: the seed of the run."""

    def __attrs_post_init__(self) -> None:
        _check_seed(self.seed)

    def scheduler(self, run_seed: int) -> Scheduler:
        return SeededScheduler(run_seed if self.seed is None else self.seed)

    def to_json(self) -> dict[str, object]:
        return {"kind": "random", **_set(seed=self.seed)}

    def __str__(self) -> str:
        return "random" if self.seed is None else f"random:{self.seed}"


@attrs.frozen(kw_only=True)
class PctSchedule(Schedule):
    """Random priorities with `depth - 1` changes (`PctScheduler`)."""

    depth: int
    """Ordering constraints of the bugs looked for: 1 to 100."""
    seed: int | None = None
    """None: the seed of the run."""
    steps: int | None = None
    """Decisions of a whole run, as `Recording.decisions` counts them; None: unknown, change points are drawn by powers of two."""

    def __attrs_post_init__(self) -> None:
        _check("depth", self.depth, 1, _MAX_DEPTH)
        _check_seed(self.seed)
        if self.steps is not None:
            _check("steps", self.steps, 1, _MAX_STEPS)

    def scheduler(self, run_seed: int) -> Scheduler:
        return PctScheduler(run_seed if self.seed is None else self.seed, self.depth, self.steps)

    def to_json(self) -> dict[str, object]:
        return {"kind": "pct", "depth": self.depth, **_set(seed=self.seed, steps=self.steps)}

    def __str__(self) -> str:
        steps = "" if self.steps is None else f"/{self.steps}"
        return f"pct:{self.depth}{steps}" + ("" if self.seed is None else f":{self.seed}")


@attrs.frozen
class PriorityRule:
    """The priority of one task from one of its steps on: 0 is that of tasks without rules."""

    task: int
    """Its number, in the order in which decisions first show them."""
    step: int
    """How often decisions chose it before."""
    priority: int

    def __attrs_post_init__(self) -> None:
        _check("task", self.task, 0, _MAX_DECISION)
        _check("step", self.step, 0, _MAX_DECISION)
        _check("priority", self.priority, -_MAX_DECISION, _MAX_DECISION)

    def __str__(self) -> str:
        step = f"@{self.step}" if self.step else ""
        return f"{self.task}{step}={self.priority}"


@attrs.frozen(kw_only=True)
class PrioritySchedule(Schedule):
    """One task at a time, in turns, but for the rules (`PriorityScheduler`): what a `pct` run is shrunk by."""

    rules: tuple[PriorityRule, ...] = ()
    """By ascending task and step."""

    def __attrs_post_init__(self) -> None:
        for one, other in pairwise(self.rules):
            if (one.task, one.step) >= (other.task, other.step):
                raise ScheduleError(f"rule {other} comes after rule {one}: they ascend")

    def scheduler(self, run_seed: int) -> Scheduler:  # noqa: ARG002 - one shape for all
        rules: dict[int, dict[int, int]] = {}
        for each in self.rules:
            rules.setdefault(each.task, {})[each.step] = each.priority
        return PriorityScheduler(rules)

    def to_json(self) -> dict[str, object]:
        rules = [[each.task, each.step, each.priority] for each in self.rules]
        return {"kind": "priorities", "rules": rules}

    def __str__(self) -> str:
        return f"priorities:{','.join(map(str, self.rules))}"


@attrs.frozen
class DecisionRange:
    """Decisions start to stop - 1, or all from start when stop is None."""

    start: int
    stop: int | None = None

    def __attrs_post_init__(self) -> None:
        _check("start", self.start, 0, _MAX_DECISION)
        if self.stop is not None:
            _check("stop", self.stop, self.start + 1, _MAX_DECISION + 1)

    def __str__(self) -> str:
        if self.stop == self.start + 1:
            return str(self.start)
        return f"{self.start}..{'' if self.stop is None else self.stop}"


EVERY_DECISION: Final = (DecisionRange(0),)


@attrs.frozen(kw_only=True)
class KeyedSchedule(Schedule):
    """Random orders in the decisions of some ranges, canonical in all others (`KeyedScheduler`)."""

    seed: int | None = None
    """None: the seed of the run."""
    ranges: tuple[DecisionRange, ...] = EVERY_DECISION
    """Ascending, without overlap."""

    def __attrs_post_init__(self) -> None:
        _check_seed(self.seed)
        for one, other in pairwise(self.ranges):
            if one.stop is None or one.stop > other.start:
                raise ScheduleError(
                    f"ranges {one} and {other}: each starts where the one before has stopped"
                )

    def scheduler(self, run_seed: int) -> Scheduler:
        spans = [(each.start, inf if each.stop is None else each.stop) for each in self.ranges]
        return KeyedScheduler(run_seed if self.seed is None else self.seed, spans)

    def to_json(self) -> dict[str, object]:
        ranges = [[each.start, each.stop] for each in self.ranges]
        return {"kind": "keyed", **_set(seed=self.seed), "ranges": ranges}

    def __str__(self) -> str:
        seed = "" if self.seed is None else f":{self.seed}"
        if self.ranges == EVERY_DECISION:
            return f"keyed{seed}"
        return f"keyed{seed or ':'}:{','.join(map(str, self.ranges))}"


@attrs.frozen
class Deviation:
    """One decision that is not canonical: its number, and the indices that run first, in this order."""

    decision: int
    order: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        _check("decision", self.decision, 0, _MAX_DECISION)
        if not self.order:
            raise ScheduleError(f"decision {self.decision}: no index is named to run first")
        for index in self.order:
            _check(f"decision {self.decision}: index", index, 0, _MAX_DECISION)
        if len(dict.fromkeys(self.order)) < len(self.order):
            raise ScheduleError(f"decision {self.decision}: an index is named twice")

    def __str__(self) -> str:
        return f"{self.decision}={'.'.join(map(str, self.order))}"


@attrs.frozen(kw_only=True)
class TapeSchedule(Schedule):
    """Canonical but for the deviations (`TapeScheduler`, and for single steps `StepTapeScheduler`)."""

    deviations: tuple[Deviation, ...] = ()
    """By ascending decision."""
    stepwise: bool = False
    """Whether tasks run one at a time, as in a recorded `pct` run; a deviation then names one index."""

    def __attrs_post_init__(self) -> None:
        for one, other in pairwise(self.deviations):
            if one.decision >= other.decision:
                raise ScheduleError(
                    f"decision {other.decision} comes after decision {one.decision}: they ascend"
                )
        for each in self.deviations if self.stepwise else ():
            if len(each.order) > 1:
                raise ScheduleError(f"step {each}: one task at a time runs, name one index")

    def scheduler(self, run_seed: int) -> Scheduler:  # noqa: ARG002 - one shape for all
        if self.stepwise:
            return StepTapeScheduler({each.decision: each.order[0] for each in self.deviations})
        return TapeScheduler({each.decision: each.order for each in self.deviations})

    def to_json(self) -> dict[str, object]:
        deviations = [[each.decision, list(each.order)] for each in self.deviations]
        return {"kind": "tape", "stepwise": self.stepwise, "deviations": deviations}

    def __str__(self) -> str:
        return f"{'step-' if self.stepwise else ''}tape:{','.join(map(str, self.deviations))}"
