"""A hunt: many trials of one experiment, spread over an executor; what was found so far lies in a directory, so that it can be broken off and resumed.

The directory:

    hunt.json        what is hunted: the experiment's texts, the faults, the bounds; a hunt that is resumed must be the same
    done.jsonl       one line for each trial that is over, in the order in which they ended
    SEED/            one directory for each failure (wavetank.hunting.failure)

Written against `concurrent.futures.Executor`: processes of this machine, or Dask's. A trial is a function of its input alone, so who runs it does not matter.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (  # noqa: TID251 - processes that run simulations; no thread in one
    FIRST_COMPLETED,
    Executor,
    Future,
    wait,
)
from functools import lru_cache
from pathlib import Path
from typing import Final, cast

import attrs

from engine import Draws, Json, Schedule, parse_schedule
from wavetank.errors import BadInput
from wavetank.experiment.assembly import Assembly, assemble
from wavetank.experiment.load import restore_experiment
from wavetank.experiment.model import Experiment
from wavetank.faults.catalogue import CATALOGUE
from wavetank.faults.drawing import PlanDrawing
from wavetank.faults.plan import Plan
from wavetank.hunting.coverage import CoverageReport, merged, report_of
from wavetank.hunting.failure import write_failure
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import Finding, Outcome, TrialInput, finding_from_json
from wavetank.hunting.trial import run_trial

_CHUNK: Final = 4
"""Trials a worker is given at a time: fewer would wait for one another, more would keep Ctrl-C waiting."""


@attrs.frozen(kw_only=True)
class Hunt:
    """What is hunted: all that a worker needs, as plain values."""

    name: str
    file: str
    """The experiment's own file among `texts`."""
    texts: Mapping[str, str]
    faults: tuple[str, ...]
    """The names of the types that plans are drawn from; the experiment's own faults strike as well."""
    horizon: float = 300.0
    most: int = 4
    swarm: bool = True
    schedule: str = "random"
    bounds: Bounds = attrs.field(factory=Bounds)

    @classmethod
    def of(cls, experiment: Experiment, **options: object) -> Hunt:
        """The hunt of an experiment."""
        return cls(
            name=experiment.name,
            file=experiment.text_name,
            texts=dict(experiment.files.texts),
            **options,  # type: ignore[arg-type]  # the fields above
        )

    def to_json(self) -> dict[str, Json]:
        """What makes it this hunt and no other."""
        return cast("dict[str, Json]", json.loads(json.dumps(attrs.asdict(self))))

    def assembly(self) -> Assembly:
        """The experiment, loaded once in each process. Raises BadInput."""
        return _assembly(self.file, tuple(self.texts.items()))

    def trial(self, seed: int) -> TrialInput:
        """The input of a seed. Raises BadInput."""
        assembly = self.assembly()
        drawing = PlanDrawing(
            types=[CATALOGUE[name] for name in self.faults],
            horizon=self.horizon,
            most=self.most,
            swarm=self.swarm,
        )
        drawn = drawing.plan(assembly.inventory, Draws(seed)) if self.faults else Plan()
        return TrialInput(
            seed=seed,
            plan=Plan((*assembly.plan(seed).faults, *drawn.faults)),
            schedule=self._schedule(),
        )

    def _schedule(self) -> Schedule | None:
        return None if self.schedule == "random" else parse_schedule(self.schedule)


@lru_cache(maxsize=4)
def _assembly(file: str, texts: tuple[tuple[str, str], ...]) -> Assembly:
    assembly = assemble(restore_experiment(file, dict(texts), 0))
    gc.collect()
    gc.freeze()  # all this stays: collections between trials need not look at it
    return assembly


def run_seeds(hunt: Hunt, seeds: Sequence[int]) -> list[Outcome]:
    """What a worker does. Raises BadInput."""
    assembly = hunt.assembly()
    return [run_trial(assembly, hunt.trial(seed), hunt.bounds) for seed in seeds]


@attrs.frozen(kw_only=True)
class Done:
    """One line of done.jsonl."""

    seed: int
    digest: str
    events: int
    virtual_seconds: float
    findings: tuple[Finding, ...]
    coverage: Mapping[str, int]

    def to_json(self) -> dict[str, Json]:
        """As in the file."""
        return {
            "seed": self.seed,
            "digest": self.digest,
            "events": self.events,
            "virtual_seconds": self.virtual_seconds,
            "findings": [each.to_json() for each in self.findings],
            "coverage": dict(self.coverage),
        }


def _done_from_json(document: Mapping[str, Json]) -> Done:
    return Done(
        seed=cast("int", document["seed"]),
        digest=str(document["digest"]),
        events=cast("int", document["events"]),
        virtual_seconds=cast("float", document["virtual_seconds"]),
        findings=tuple(
            finding_from_json(each) for each in cast("list[dict[str, Json]]", document["findings"])
        ),
        coverage=cast("dict[str, int]", document["coverage"]),
    )


@attrs.define(eq=False)
class Campaign:
    """One hunt and its directory."""

    hunt: Hunt
    folder: Path
    done: dict[int, Done] = attrs.field(factory=dict, init=False)
    """By seed; those of earlier calls as well."""

    def open(self) -> None:
        """Make the directory, or read what an earlier call left in it. Raises BadInput when that hunted something else."""
        path = self.folder / "hunt.json"
        wanted = self.hunt.to_json()
        try:
            if path.exists():
                found = json.loads(path.read_text(encoding="utf-8"))
                if found != wanted:
                    raise BadInput(
                        f"{self.folder}: another hunt lies here; give another --report, or remove it"
                    )
                self._read_done()
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{self.folder}: {error.strerror}") from None
        except json.JSONDecodeError:
            raise BadInput(f"{path}: is no JSON; remove {self.folder} to begin anew") from None

    def _read_done(self) -> None:
        path = self.folder / "done.jsonl"
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                done = _done_from_json(json.loads(line))
            except (json.JSONDecodeError, KeyError):
                continue  # the last line of a process that was killed: that seed runs again
            self.done[done.seed] = done

    def run(
        self,
        seeds: Sequence[int],
        executor: Executor,
        *,
        parallel: int,
        until_failures: int | None = None,
        tell: Callable[[Outcome], None] = lambda _: None,
    ) -> list[Outcome]:
        """Run the seeds that are not done; returns the failures of this call, in the order of their seeds.

        `parallel` chunks are under way at a time; after `until_failures` failures no new ones are begun. On KeyboardInterrupt what is under way is
        given up, and what is done is kept. Raises BadInput.
        """
        chunks = _chunks([seed for seed in seeds if seed not in self.done])
        running: dict[Future[list[Outcome]], None] = {}
        failures: list[Outcome] = []
        try:
            while True:
                enough = until_failures is not None and len(failures) >= until_failures
                while not enough and len(running) < parallel:
                    chunk = next(chunks, None)
                    if chunk is None:
                        break
                    running[executor.submit(run_seeds, self.hunt, chunk)] = None
                if not running:
                    break
                over, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in [each for each in running if each in over]:
                    del running[future]
                    for outcome in future.result():
                        self._note(outcome)
                        tell(outcome)
                        if not outcome.passed:
                            failures.append(outcome)
        finally:
            for future in running:
                future.cancel()
        return sorted(failures, key=lambda outcome: outcome.trial.seed)

    def _note(self, outcome: Outcome) -> None:
        done = Done(
            seed=outcome.trial.seed,
            digest=outcome.digest,
            events=outcome.events,
            virtual_seconds=outcome.virtual_seconds,
            findings=outcome.findings,
            coverage=outcome.coverage,
        )
        if not outcome.passed:
            write_failure(self.folder / f"seed-{done.seed}", self.hunt, outcome)
        self.done[done.seed] = done
        with (self.folder / "done.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(done.to_json()) + "\n")

    def coverage(self) -> CoverageReport:
        """What all trials so far have reached."""
        counts = merged(done.coverage for done in self.done.values())
        return report_of(counts, [CATALOGUE[name] for name in self.hunt.faults])


def _chunks(seeds: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(seeds), _CHUNK):
        yield list(seeds[start : start + _CHUNK])
