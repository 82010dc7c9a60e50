"""A failure as a directory that runs anywhere:

experiment/       the experiment's files
failure.json      the input (seed, materialised plan, schedule), the bounds, what was found, and the digest
log.wtl           the log of the run
summary.md        one page: what failed, the plan, the chain of causes, how to run it again
test_failure.py   a pytest file that runs the same trial and asserts that nothing is found
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import attrs

from engine import Json, Recording, ScheduleError, SeededScheduler
from wavetank.errors import BadInput
from wavetank.experiment.assembly import Assembly, assemble
from wavetank.experiment.load import load_experiment
from wavetank.hunting.directory import (
    EXPERIMENT,
    LOG,
    begin_directory,
    causes_section,
    finish_directory,
)
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import (
    Finding,
    Outcome,
    TrialInput,
    finding_from_json,
    input_from_json,
)
from wavetank.hunting.trial import run_trial, scheduler_of

if TYPE_CHECKING:
    from wavetank.hunting.campaign import Hunt

TAPE: Final = "schedule.txt"


@attrs.frozen(kw_only=True)
class Failure:
    """One failure, read back."""

    folder: Path
    file: str
    """The experiment's own file in `experiment/`."""
    trial: TrialInput
    bounds: Bounds
    findings: tuple[Finding, ...]
    digest: str
    perturbed: bool = False
    """Whether `wavetank perturb` wrote it: then `wavetank.perturb.failure` reruns it."""

    @property
    def signature(self) -> tuple[str, str]:
        """What makes it this failure and no other."""
        return self.findings[0].signature

    def assembly(self) -> Assembly:
        """Its experiment. Raises BadInput."""
        return assemble(load_experiment(self.folder / EXPERIMENT / self.file))

    def rerun(self) -> Outcome:
        """The same trial again. Raises BadInput."""
        self.check_trial()
        return run_trial(self.assembly(), self.trial, self.bounds)

    def check_trial(self) -> None:
        """Raises BadInput for what is more than a trial."""
        if self.perturbed:
            raise BadInput(
                f"{self.folder}: is of `wavetank perturb`, and one perturbation already; run test_failure.py in it"
            )


def write_failure(folder: Path, hunt: Hunt, outcome: Outcome) -> None:
    """Write the directory, in the place of one that is there; the trial runs again for its log. Raises BadInput."""
    write_failure_files(folder, hunt.assembly(), hunt.file, hunt.texts, hunt.bounds, outcome)


def write_failure_files(  # noqa: PLR0913, PLR0917 - what a failure is made of
    folder: Path,
    assembly: Assembly,
    file: str,
    texts: Mapping[str, str],
    bounds: Bounds,
    outcome: Outcome,
) -> None:
    """See `write_failure`."""
    try:
        begin_directory(folder, texts.items())
        trial = outcome.trial
        recording = Recording(scheduler_of(trial) or SeededScheduler(trial.seed))
        again = run_trial(assembly, trial, bounds, log=folder / LOG, scheduler=recording)
        (folder / TAPE).write_text(f"{recording.tape()}\n", encoding="utf-8")
        document: dict[str, Json] = {
            "experiment": file,
            **outcome.trial.to_json(),
            "bounds": attrs.asdict(bounds),
            "findings": [each.to_json() for each in outcome.findings],
            "digest": again.digest,
        }
        finish_directory(folder, document, _summary(folder, outcome), _TEST)
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}") from None


def read_failure(folder: Path) -> Failure:
    """What `write_failure` wrote. Raises BadInput."""
    path = folder / "failure.json"
    try:
        document = cast("dict[str, Json]", json.loads(path.read_text(encoding="utf-8")))
        return Failure(
            folder=folder,
            file=str(document["experiment"]),
            trial=input_from_json(document, str(path)),
            bounds=Bounds(**cast("dict[str, float]", document["bounds"])),
            findings=tuple(
                finding_from_json(each)
                for each in cast("list[dict[str, Json]]", document["findings"])
            ),
            digest=str(document["digest"]),
            perturbed="perturbation" in document,
        )
    except OSError as error:
        raise BadInput(
            f"{path}: {error.strerror}; allowed: a directory that a hunt wrote"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, ScheduleError) as error:
        raise BadInput(f"{path}: is no failure of a hunt: {error}") from None


def _summary(folder: Path, outcome: Outcome) -> str:
    """One page."""
    trial = outcome.trial
    schedule = trial.schedule or "random, of the seed"
    told = (
        f"Seed {trial.seed}, schedule {schedule}, {outcome.events} events in "
        f"{outcome.virtual_seconds:.0f} s of cluster time, digest {outcome.digest}."
    )
    lines = [
        f"# {outcome.findings[0].verdict.value} {outcome.findings[0].name}".rstrip(),
        "",
        *(f"- {finding}" for finding in outcome.findings[:_FINDINGS]),
        "",
        told,
        "",
        "## Plan",
        "",
        *(f"    {line}" for line in str(trial.plan).splitlines()),
        *(f"    missed {line}" for line in outcome.missed),
        "",
    ]
    lines += causes_section(folder, outcome.findings[0].revision)
    lines += [
        "## Again",
        "",
        f"    wavetank replay {folder / LOG}",
        f"    wavetank shrink {folder}",
        f"    pytest {folder / 'test_failure.py'}",
        "",
    ]
    return "\n".join(lines)


_FINDINGS: Final = 5

_TEST: Final = '''"""Fails as long as the failure that a hunt found is there: {name}."""

from pathlib import Path

from wavetank.hunting.failure import read_failure


def test_failure() -> None:
    failure = read_failure(Path(__file__).parent)
    outcome = failure.rerun()
    assert outcome.passed, "\\n".join(str(finding) for finding in outcome.findings)
'''
