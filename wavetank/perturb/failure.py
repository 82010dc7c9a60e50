"""A difference as a directory that runs anywhere, laid out as a hunt's failure (wavetank.hunting.failure):

experiment/       the experiment's files, the reconciler's among them
failure.json      the input (seed, schedule, reconciler, perturbation), the bounds, the differences, and the digest
undisturbed.wtl   the log of the undisturbed run
log.wtl           the log of the perturbed one
summary.md        one page: what differs, the perturbation, the chain of causes, how to run it again
test_failure.py   a pytest file that runs both again and asserts that nothing differs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, cast

import attrs

from engine import CanonicalSchedule, Json
from wavetank.errors import BadInput
from wavetank.faults.plan import Plan
from wavetank.hunting.directory import (
    EXPERIMENT,
    LOG,
    begin_directory,
    causes_section,
    finish_directory,
)
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import Finding, TrialInput, Verdict
from wavetank.perturb.model import Perturbation, from_json, to_json
from wavetank.perturb.survey import Judgement, Subject, judge

UNDISTURBED: Final = "undisturbed.wtl"
_SHOWN: Final = 6
"""Differences on the page."""


@attrs.frozen(kw_only=True)
class PerturbedFailure:
    """One failure, read back."""

    folder: Path
    subject: Subject
    perturbation: Perturbation
    digest: str

    def rerun(self) -> Judgement:
        """Both runs again. Raises BadInput."""
        return judge(self.subject, self.perturbation)


def write_perturbed(folder: Path, subject: Subject, judgement: Judgement) -> None:
    """Write the directory, in the place of one that is there; both runs run again for their logs. Raises BadInput."""
    try:
        begin_directory(folder, subject.texts)
        subject.run().run(folder / UNDISTURBED)
        again = judge(subject, judgement.perturbation, folder / LOG)
        document = _document(subject, again)
        finish_directory(folder, document, _summary(folder, subject, again), _TEST)
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}") from None


def _document(subject: Subject, judgement: Judgement) -> dict[str, Json]:
    """What `wavetank.hunting.failure.read_failure` reads, and what is perturbed besides."""
    trial = TrialInput(seed=subject.seed, plan=Plan(), schedule=CanonicalSchedule())
    findings = [
        Finding(
            verdict=Verdict.CHECK,
            name=f"{each.what} {each.name}",
            message="; ".join(each.lines),
            revision=each.revision,
        )
        for each in judgement.differences
    ]
    return {
        "experiment": subject.file,
        **trial.to_json(),
        "bounds": attrs.asdict(subject.bounds),
        "findings": [each.to_json() for each in findings],
        "digest": judgement.digest,
        "reconciler": subject.reconciler,
        "code": subject.code,
        "perturbation": to_json(judgement.perturbation),
    }


def read_perturbed(folder: Path) -> PerturbedFailure:
    """What `write_perturbed` wrote. Raises BadInput."""
    path = folder / "failure.json"
    try:
        document = cast("dict[str, Json]", json.loads(path.read_text(encoding="utf-8")))
        root = folder / EXPERIMENT
        texts = {
            str(each.relative_to(root)): each.read_text(encoding="utf-8")
            for each in sorted(root.rglob("*"))
            if each.is_file() and "__pycache__" not in each.parts
        }
        return PerturbedFailure(
            folder=folder,
            subject=Subject(
                name=folder.name,
                file=str(document["experiment"]),
                texts=tuple(texts.items()),
                seed=cast("int", document["seed"]),
                reconciler=str(document["reconciler"]),
                code=str(document["code"]),
                bounds=Bounds(**cast("dict[str, float]", document["bounds"])),
            ),
            perturbation=from_json(
                cast("dict[str, Json]", document["perturbation"]), f"{path}: perturbation"
            ),
            digest=str(document["digest"]),
        )
    except OSError as error:
        allowed = "allowed: a directory that `wavetank perturb` wrote"
        raise BadInput(f"{path}: {error.strerror}; {allowed}") from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: is no failure of a perturbation: {error}") from None


def _summary(folder: Path, subject: Subject, judgement: Judgement) -> str:
    """One page."""
    perturbation = judgement.perturbation
    lines = [
        f"# {subject.reconciler}: {' '.join(judgement.signature)}",
        "",
        f"The reconciler `{subject.reconciler}` was {perturbation}.",
        "",
        f"({perturbation.pattern} state; seed {subject.seed}, digest {judgement.digest}.)",
        "",
        "## What differs from the undisturbed run",
        "",
    ]
    for difference in judgement.differences[:_SHOWN]:
        lines += ["```diff", f"# {difference.what} {difference.name}", *difference.lines, "```", ""]
    more = len(judgement.differences) - _SHOWN
    if more > 0:
        lines += [f"... and {more} more.", ""]
    revision = next((each.revision for each in judgement.differences if each.revision), 0)
    lines += causes_section(folder, revision)
    lines += [
        "## Again",
        "",
        f"    pytest {folder / 'test_failure.py'}",
        f"    wavetank log show {folder / LOG}",
        f"    wavetank log show {folder / UNDISTURBED}",
        "",
    ]
    return "\n".join(lines)


_TEST: Final = '''"""Fails as long as a perturbation makes a difference: {name}."""

from pathlib import Path

from wavetank.perturb.failure import read_perturbed


def test_failure() -> None:
    judgement = read_perturbed(Path(__file__).parent).rerun()
    assert judgement.struck, "the moment of the perturbation did not come: make a new survey"
    assert not judgement.differences, "\\n".join(str(each) for each in judgement.differences)
'''
