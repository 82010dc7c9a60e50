"""Perturbing a reconciler: mistakes are found with no assertion written, and what is right raises no alarm."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconcilers import default_reconcilers
from wavetank.errors import BadInput
from wavetank.experiment.load import load_experiment
from wavetank.hunting.executors import InlineExecutor
from wavetank.hunting.failure import read_failure
from wavetank.hunting.shrink import shrink_failure
from wavetank.perturb.failure import read_perturbed, write_perturbed
from wavetank.perturb.model import PATTERNS, from_json, to_json
from wavetank.perturb.survey import Survey, judge, subject_of, survey

if TYPE_CHECKING:
    from tests.wavetank.conftest import Call

HERE = Path(__file__).parent
SITES = HERE / "sites" / "sites.yaml"
LOOPS = HERE / "loops" / "every-loop.yaml"

PLANS = int(os.environ.get("WAVETANK_PLANS", "1"))
"""Of each pattern, for each of our own reconcilers; 200 are all of them, and take some minutes."""


def surveyed(reconciler: str, path: Path = SITES, most: int = 200) -> Survey:
    subject = subject_of(load_experiment(path), reconciler)
    return survey(subject, InlineExecutor(), parallel=1, most=most)


def test_an_operator_that_is_right_raises_no_alarm() -> None:
    """All three patterns are planned for it, every plan comes to its moment, and none makes a difference."""
    found = surveyed("sites")

    assert [] == found.alarms
    assert all(found.planning.found[pattern] for pattern in PATTERNS)
    assert all(judgement.struck for judgement in found.judgements)
    assert 0 == found.planning.left_out


@pytest.mark.parametrize(
    ("mistake", "pattern", "what", "name"),
    [
        ("Recording", "intermediate", "surplus", "ConfigMap default/blog-*"),
        ("HalfDone", "intermediate", "missing", "ConfigMap default/blog"),
        ("ByName", "stale", "removed", "ConfigMap default/blog"),
        ("Edge", "unobserved", "survived", "ConfigMap default/blog"),
    ],
)
def test_a_planted_mistake_is_found(mistake: str, pattern: str, what: str, name: str) -> None:
    """Each by its pattern, as what it does: nothing was said about what should be."""
    alarms = surveyed(f"sites:{mistake}").alarms

    shown = [
        (alarm.perturbation.pattern, each.what, each.name)
        for alarm in alarms
        for each in alarm.differences
    ]
    assert (pattern, what, name) in shown


def test_a_difference_becomes_a_directory_that_shows_it_again(tmp_path: Path) -> None:
    """Read back in another place it gives the same differences and the same digest; a hunt's reader knows it too."""
    found = surveyed("sites:Recording")
    folder = tmp_path / "failure"
    write_perturbed(folder, found.subject, found.alarms[0])

    failure = read_perturbed(folder)
    again = failure.rerun()

    assert found.alarms[0].differences == again.differences
    assert failure.digest == again.digest
    assert found.alarms[0].perturbation == failure.perturbation
    assert read_failure(folder).signature == ("check", "surplus ConfigMap default/blog-*")
    with pytest.raises(BadInput, match="is of `wavetank perturb`"):
        shrink_failure(read_failure(folder), tmp_path / "shrunk")
    summary = (folder / "summary.md").read_text()
    assert "killed right after its write" in summary
    assert "surplus ConfigMap default/blog-*" in summary


def test_a_run_is_the_undisturbed_one_up_to_the_moment_of_its_perturbation() -> None:
    """So a revision means the same in both, and running a plan twice gives one digest."""
    found = surveyed("sites", most=2)

    for judgement in found.judgements:
        again = judge(found.subject, judgement.perturbation)
        assert judgement.digest == again.digest != found.digest
        assert judgement.perturbation == from_json(to_json(judgement.perturbation), "plan")


def test_no_more_plans_than_asked_for_and_what_is_left_out_is_told() -> None:
    """`most` of each pattern, spread over the run."""
    every, few = surveyed("sites"), surveyed("sites", most=2)

    assert 6 == len(few.planning.plans)
    assert len(every.planning.plans) - 6 == few.planning.left_out


@pytest.mark.parametrize("name", [each.name for each in default_reconcilers()])
def test_our_own_reconcilers_raise_no_alarm(name: str) -> None:
    """On an experiment that scales, rolls out, removes and makes again, and loses a node."""
    found = surveyed(name, LOOPS, PLANS)

    assert [] == [str(each) for alarm in found.alarms for each in alarm.differences]


def test_the_command_tells_what_differs(wavetank_command: Call, tmp_path: Path) -> None:
    """Exit 1, the report in JSON, and a directory for each kind of difference."""
    report = tmp_path / "report"

    outcome = wavetank_command(
        "perturb",
        SITES,
        "--reconciler",
        "sites:HalfDone",
        "--only",
        "intermediate",
        "--jobs",
        "1",
        "--report",
        report,
        "--json",
    )

    assert 1 == outcome.code
    document = json.loads(outcome.out)
    assert "sites" == document["reconciler"]
    assert document["alarms"]
    assert [str(each) for each in sorted(report.iterdir())] == document["paths"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--reconciler", "nobody"], "no reconciler is called 'nobody'; allowed: serviceaccount"),
        (["--reconciler", "sites:Site"], "sites:Site is no class of Reconciler"),
        (
            ["--reconciler", "sites", "--only", "stal"],
            "--only 'stal'; allowed: intermediate, stale",
        ),
    ],
)
def test_bad_input_is_one_line(wavetank_command: Call, arguments: list[str], told: str) -> None:
    """Exit 2, with what is allowed."""
    outcome = wavetank_command("perturb", SITES, *arguments)

    assert 2 == outcome.code
    assert told in outcome.err


def test_what_is_no_failure_is_refused(tmp_path: Path) -> None:
    """With the path in front."""
    with pytest.raises(BadInput, match=r"failure\.json"):
        read_perturbed(tmp_path)
