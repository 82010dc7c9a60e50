"""Shrinking: the smallest trial that still fails in the same way.

Theory of operation. A trial is made of a workload, nodes, a plan and a schedule; each is made smaller in turn, and what still has a finding of the same signature is
kept, until a whole round makes nothing smaller. Lists are cut by delta debugging (`engine.minimise`), numbers are halved, parameters of faults go back to
their defaults and times to whole seconds. So nothing can be taken away from the result, one at a time, without the failure
going away, if the budget sufficed. Everything is a run of a pure function: the same failure shrinks to the same result.

Files are shrunk as data: manifests and the experiment are written anew, without comments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

import attrs
import yaml

from engine import (
    CanonicalSchedule,
    Json,
    PrioritySchedule,
    Recording,
    Schedule,
    SeededScheduler,
    TapeSchedule,
    minimise,
    shrink_schedule,
)
from wavetank.errors import BadInput
from wavetank.experiment.assembly import assemble
from wavetank.experiment.load import restore_experiment
from wavetank.faults.catalogue import CATALOGUE
from wavetank.faults.plan import Plan, PlannedFault
from wavetank.hunting.failure import Failure, write_failure_files
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import Outcome, TrialInput
from wavetank.hunting.simplify import simplest
from wavetank.hunting.trial import run_trial, scheduler_of

BUDGET: Final = 400
"""Runs; of the small clusters that hunts are made of, a minute's worth."""

T = TypeVar("T")
Map = dict[str, Json]


@attrs.frozen(kw_only=True)
class Candidate:
    """A trial with its files."""

    file: str
    texts: Mapping[str, str]
    trial: TrialInput

    def run(self, bounds: Bounds) -> Outcome:
        """Raises BadInput for a candidate that is no experiment."""
        experiment = restore_experiment(self.file, self.texts, self.trial.seed)
        return run_trial(assemble(experiment), self.trial, bounds)

    @property
    def document(self) -> Map:
        """The experiment's own file."""
        return cast("Map", yaml.safe_load(self.texts[self.file]))

    def with_text(self, name: str, text: str) -> Candidate:
        """With one file changed."""
        return attrs.evolve(self, texts={**self.texts, name: text})

    def with_plan(self, faults: Sequence[PlannedFault]) -> Candidate:
        """With another plan."""
        return attrs.evolve(self, trial=attrs.evolve(self.trial, plan=Plan(tuple(faults))))

    def with_schedule(self, schedule: Schedule | None) -> Candidate:
        """With another schedule."""
        return attrs.evolve(self, trial=attrs.evolve(self.trial, schedule=schedule))


@attrs.frozen(kw_only=True)
class Shrunk:
    """The result."""

    candidate: Candidate
    outcome: Outcome
    runs: int
    """How many trials it took."""
    complete: bool
    """Whether the budget sufficed: then nothing more can be taken away."""

    @property
    def deviations(self) -> int:
        """Of the schedule from canonical order; a random schedule has more than can be told: -1."""
        match self.candidate.trial.schedule:
            case CanonicalSchedule():
                return 0
            case TapeSchedule(deviations=deviations):
                return len(deviations)
            case PrioritySchedule(rules=rules):
                return len(rules)
        return -1


class _Spent(Exception):
    """The budget is used up."""


@attrs.define(eq=False)
class Shrinker:
    """Shrinks one failure."""

    best: Candidate
    bounds: Bounds
    signature: tuple[str, str]
    budget: int = BUDGET
    tell: Callable[[int, str], None] = lambda _runs, _what: None
    """Told of each step that made it smaller: runs so far, and what was done."""
    runs: int = attrs.field(default=0, init=False)
    outcome: Outcome | None = attrs.field(default=None, init=False)
    """Of the best candidate."""

    def shrink(self) -> Shrunk:
        """Raises BadInput when what is given does not fail with the signature."""
        if not self._try(self.best, "it fails"):
            verdict, name = self.signature
            raise BadInput(f"the failure does not happen again: no finding is {verdict} {name}")
        complete = True
        try:
            self._rounds()
        except _Spent:
            complete = False
        assert self.outcome is not None
        return Shrunk(candidate=self.best, outcome=self.outcome, runs=self.runs, complete=complete)

    def _rounds(self) -> None:
        while True:
            before = self.best
            self._schedule()
            self._plan()
            self._lists()
            self._objects()
            self._retarget()
            self._counts()
            self._simplify_faults()
            if self.best == before:
                return

    def _try(self, candidate: Candidate, what: str) -> bool:
        """Whether the candidate fails in the same way; then it is the best."""
        if self.runs >= self.budget:
            raise _Spent
        self.runs += 1
        try:
            outcome = candidate.run(self.bounds)
        except BadInput:
            return False
        if self.signature not in [finding.signature for finding in outcome.findings]:
            return False
        if candidate != self.best:
            self.tell(self.runs, what)
        self.best, self.outcome = candidate, outcome
        return True

    # -- the parts ---------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Canonical order if that fails too, else as few deviations from it as can be found."""
        base = self.best
        schedule = base.trial.schedule
        if isinstance(schedule, CanonicalSchedule):
            return
        if self._try(base.with_schedule(CanonicalSchedule()), "the schedule is canonical"):
            return
        listed = isinstance(schedule, TapeSchedule | PrioritySchedule)  # as what was recorded does
        recorded = schedule if listed and schedule is not None else self._recorded(base)
        shrink_schedule(
            recorded,
            lambda each: self._try(base.with_schedule(each), f"the schedule is {each}"),
            max(1, self.budget - self.runs),
        )

    def _recorded(self, candidate: Candidate) -> Schedule:
        """What the candidate's scheduler does, in the form that can be made shorter."""
        trial = candidate.trial
        recording = Recording(scheduler_of(trial) or SeededScheduler(trial.seed))
        experiment = restore_experiment(candidate.file, candidate.texts, trial.seed)
        run_trial(assemble(experiment), trial, self.bounds, scheduler=recording)
        return recording.shrinkable()

    def _plan(self) -> None:
        base = self.best
        self._cut(base.trial.plan.faults, base.with_plan, "fault")

    def _lists(self) -> None:
        """Fewer steps, checks and groups of nodes."""
        for path in _LISTS:
            items = cast("list[Json]", _at(self.best.document, path[:-1]).get(path[-1], []))
            self._cut(items, partial(self._with_list, path), path[-1])

    def _objects(self) -> None:
        """Fewer objects in the manifests."""
        for name in [each for each in self.best.texts if each.endswith((".yaml", ".yml"))]:
            if name == self.best.file:
                continue
            documents = [each for each in yaml.safe_load_all(self.best.texts[name]) if each]

            self._cut(documents, partial(self._with_documents, name), f"object of {name}")

    def _with_list(self, path: tuple[str, ...], kept: Sequence[Json]) -> Candidate:
        """With a list of the experiment changed."""
        best = self.best
        document = best.document
        _at(document, path[:-1])[path[-1]] = list(kept)
        return best.with_text(best.file, dump_all([document]))

    def _with_documents(self, name: str, kept: Sequence[Json]) -> Candidate:
        return self.best.with_text(name, dump_all(kept))

    def _cut(self, items: Sequence[T], make: Callable[[Sequence[T]], Candidate], what: str) -> None:
        """The fewest of the items that still fail."""
        if not items:
            return

        def fails(kept: Sequence[T]) -> bool:
            return self._try(make(kept), f"{len(kept)} of {len(items)} {what}s")

        minimise(items, fails, max(1, self.budget - self.runs))

    def _retarget(self) -> None:
        """Faults strike the first that there is: then the others may go."""
        best = self.best
        experiment = restore_experiment(best.file, best.texts, best.trial.seed)
        inventory = assemble(experiment).inventory
        for index, fault in enumerate(best.trial.plan.faults):
            first = inventory.candidates(CATALOGUE[fault.type].target)[:1]
            if first and fault.target != first[0]:
                self._fails_with(index, attrs.evolve(fault, target=first[0]))

    def _counts(self) -> None:
        """Smaller numbers: nodes of each group, replicas of each workload."""
        for name in list(self.best.texts):
            if name.endswith((".yaml", ".yml")):
                documents = [each for each in yaml.safe_load_all(self.best.texts[name]) if each]
                for holder, key in list(_numbers(documents)):
                    self._lessen(name, documents, holder, key)

    def _lessen(self, name: str, documents: list[Json], holder: Map, key: str) -> None:
        """The smallest number that fails, by halving towards 1."""
        low, high = 0, cast("int", holder[key])
        while high - low > 1:
            middle = (low + high) // 2
            holder[key] = middle
            if self._try(self.best.with_text(name, dump_all(documents)), f"{key} {middle}"):
                high = middle
            else:
                low = middle
        holder[key] = high

    def _simplify_faults(self) -> None:
        """Parameters at their defaults, times at whole seconds."""
        for index in range(len(self.best.trial.plan)):
            simplest(self.best.trial.plan.faults[index], partial(self._fails_with, index))

    def _fails_with(self, index: int, fault: PlannedFault) -> bool:
        """Whether it fails with this fault in the place of one of the plan."""
        faults = list(self.best.trial.plan.faults)
        faults[index] = fault
        return self._try(self.best.with_plan(faults), f"{fault}")


_LISTS: Final = (
    ("spec", "method"),
    ("spec", "steadyState"),
    ("spec", "images"),
    ("spec", "cluster", "nodes"),
)
"""What an experiment lists, and may list less of."""


def _at(document: Map, path: Sequence[str]) -> Map:
    """The mapping at a path."""
    for name in path:
        document = cast("Map", document[name])
    return document


def _numbers(value: Json) -> Iterator[tuple[Map, str]]:
    """Where a document counts nodes and pods: the mapping and its key, for numbers above 1."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in {"count", "replicas"} and isinstance(each, int) and each > 1:
                yield value, key
            else:
                yield from _numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)


def dump_all(documents: Sequence[Json]) -> str:
    """YAML documents of one file."""
    text: str = yaml.safe_dump_all(list(documents), sort_keys=False)
    return text


def shrink_failure(
    failure: Failure,
    output: Path,
    *,
    budget: int = BUDGET,
    tell: Callable[[int, str], None] = lambda _runs, _what: None,
) -> Shrunk:
    """Shrink a failure, and write what is left as a failure of its own to `output`. Raises BadInput."""
    failure.check_trial()
    assembly = failure.assembly()
    start = Candidate(
        file=failure.file, texts=dict(assembly.experiment.files.texts), trial=failure.trial
    )
    shrunk = Shrinker(start, failure.bounds, failure.signature, budget, tell).shrink()
    best = shrunk.candidate
    experiment = restore_experiment(best.file, best.texts, best.trial.seed)
    write_failure_files(
        output, assemble(experiment), best.file, best.texts, failure.bounds, shrunk.outcome
    )
    return shrunk
