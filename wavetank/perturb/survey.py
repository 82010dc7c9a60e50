"""All perturbations of one reconciler on one experiment: run undisturbed, plan, run each plan, compare; spread over an executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import (  # noqa: TID251 - processes that run simulations; no thread in one
    Executor,
    Future,
    as_completed,
)
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs

from engine import ManifestError, Reconciler, read_text
from wavetank.errors import BadInput
from wavetank.experiment.assembly import Assembly, assemble
from wavetank.experiment.code import Code, file_of
from wavetank.experiment.load import restore_experiment
from wavetank.experiment.model import CodeReference, Experiment, Files
from wavetank.hunting.liveness import Bounds
from wavetank.perturb.compare import Difference, compare
from wavetank.perturb.model import PATTERNS, Perturbation
from wavetank.perturb.plans import MOST, Planning, plan
from wavetank.perturb.run import Ran, Run

_CHUNK: Final = 4
"""Plans a worker is given at a time."""

_HOPELESS: Final = ("unsettled", "not converged", "stuck", "check")
"""Undisturbed, nothing can be said of perturbations then."""


@attrs.frozen(kw_only=True)
class Subject:
    """Who is perturbed, and in what: all that a worker needs, as plain values."""

    name: str
    """Of the experiment."""
    file: str
    texts: tuple[tuple[str, str], ...]
    seed: int
    reconciler: str
    """Its name."""
    code: str = ""
    """MODULE:CLASS, when the experiment does not name it; then it runs beside Kubernetes' own, or in place of the one of its name."""
    bounds: Bounds = attrs.field(factory=Bounds)

    def assembly(self) -> Assembly:
        """Loaded once in each process. Raises BadInput."""
        return _assembly(self.file, self.texts, self.seed, self.code)

    def run(self, perturbation: Perturbation | None = None) -> Run:
        """One run, to be run."""
        return Run(
            assembly=self.assembly(),
            reconciler=self.reconciler,
            bounds=self.bounds,
            perturbation=perturbation,
        )


def subject_of(experiment: Experiment, reconciler: str, bounds: Bounds | None = None) -> Subject:
    """The reconciler of a name, or of MODULE:CLASS (a module beside the experiment, or any that can be imported). Raises BadInput."""
    texts = dict(experiment.files.texts)
    code, name = "", reconciler
    if ":" in reconciler:
        path = Path(experiment.files.folder) / file_of(reconciler)
        if file_of(reconciler) not in texts and path.exists():
            try:
                texts[file_of(reconciler)] = read_text(path)
            except ManifestError as error:
                raise BadInput(str(error)) from None
        files = Files(texts=texts, folder=experiment.files.folder)
        made = Code(files).get(reconciler, "--reconciler", "reconciler")
        if not (isinstance(made, type) and issubclass(made, Reconciler)):
            raise BadInput(f"--reconciler: {reconciler} is no class of Reconciler")
        name = made.name
        if reconciler not in [each.target for each in experiment.reconcilers]:
            code = reconciler
    subject = Subject(
        name=experiment.name,
        file=experiment.text_name,
        texts=tuple(texts.items()),
        seed=experiment.seed,
        reconciler=name,
        code=code,
        bounds=bounds or Bounds(),
    )
    known = [each.name for each in subject.assembly().reconcilers]
    if name not in known:
        raise BadInput(
            f"--reconciler: no reconciler is called {name!r}; allowed: {', '.join(known)}, or MODULE:CLASS"
        )
    if experiment.settings.control_plane_replicas > 1:
        raise BadInput(
            "spec.cluster.settings.control_plane_replicas: a reconciler that is perturbed runs once; allowed: 1"
        )
    return subject


@lru_cache(maxsize=4)
def _assembly(file: str, texts: tuple[tuple[str, str], ...], seed: int, code: str) -> Assembly:
    experiment = restore_experiment(file, dict(texts), seed)
    if code:
        files = Files(texts=dict(texts), folder=experiment.files.folder)
        reference = CodeReference(target=code, where="--reconciler")
        experiment = attrs.evolve(
            experiment, files=files, reconcilers=(*experiment.reconcilers, reference)
        )
    return assemble(experiment)


@attrs.frozen(kw_only=True)
class Judgement:
    """What one plan showed."""

    perturbation: Perturbation
    struck: bool
    """Whether its moment came."""
    differences: tuple[Difference, ...]
    digest: str
    events: int

    @property
    def signature(self) -> tuple[str, str]:
        """What makes two alarms the same: the first difference. Raises IndexError when there is none."""
        return (self.differences[0].what, self.differences[0].name)


@lru_cache(maxsize=2)
def _reference(subject: Subject) -> tuple[Run, Ran]:
    run = subject.run()
    return run, run.run()


def judge(subject: Subject, perturbation: Perturbation, log: Path | None = None) -> Judgement:
    """Run one plan and compare. Raises BadInput."""
    _, reference = _reference(subject)
    ran = subject.run(perturbation).run(log)
    found = [] if ran.window is None else compare(reference.ending, ran.ending, ran.window)
    return Judgement(
        perturbation=perturbation,
        struck=ran.window is not None,
        differences=tuple(found),
        digest=ran.digest,
        events=ran.events,
    )


def judge_all(subject: Subject, plans: Sequence[Perturbation]) -> list[Judgement]:
    """What a worker does. Raises BadInput."""
    return [judge(subject, perturbation) for perturbation in plans]


@attrs.frozen(kw_only=True)
class Survey:
    """All that was found."""

    subject: Subject
    planning: Planning
    judgements: tuple[Judgement, ...]
    """In the order of the plans."""
    writes: int
    """Of the reconciler, undisturbed."""
    notifications: int
    """That it was told."""
    events: int
    """Of the log, undisturbed."""
    digest: str

    @property
    def alarms(self) -> list[Judgement]:
        """The plans that made a difference."""
        return [each for each in self.judgements if each.differences]

    @property
    def kinds(self) -> dict[tuple[str, str], list[Judgement]]:
        """The alarms by signature, in the order in which each was first seen."""
        found: dict[tuple[str, str], list[Judgement]] = {}
        for each in self.alarms:
            found.setdefault(each.signature, []).append(each)
        return found


def survey(  # noqa: PLR0913 - the options of a survey
    subject: Subject,
    executor: Executor,
    *,
    parallel: int,
    only: Sequence[str] = PATTERNS,
    most: int = MOST,
    planned: Callable[[Planning], None] = lambda _: None,
    tell: Callable[[Judgement], None] = lambda _: None,
) -> Survey:
    """Run undisturbed, plan, run all plans, compare. Raises BadInput, also when the undisturbed run does not do what it should."""
    run, reference = _reference(subject)
    problems = reference.ending.problems
    for (what, name), message in problems.items():
        if what in _HOPELESS:
            raise BadInput(f"{subject.file}: undisturbed: {what} {name}: {message}")
    assert run.recording is not None
    planning = plan(
        run.recording, reference.ending.history, run.assembly.scheme, only=only, most=most
    )
    planned(planning)
    plans = planning.plans
    size = max(1, min(_CHUNK, len(plans) // (2 * parallel)))
    running: dict[Future[list[Judgement]], int] = {}
    done: dict[int, list[Judgement]] = {}
    try:
        for start in range(0, len(plans), size):
            running[executor.submit(judge_all, subject, plans[start : start + size])] = start
        for future in as_completed(running):
            done[running[future]] = future.result()
            for judgement in future.result():
                tell(judgement)
    finally:
        for future in running:
            future.cancel()
    return Survey(
        subject=subject,
        planning=planning,
        judgements=tuple(each for start in sorted(done) for each in done[start]),
        writes=len(run.recording.writes),
        notifications=len(run.recording.notifications),
        events=reference.events,
        digest=reference.digest,
    )
