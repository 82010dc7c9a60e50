"""The examples do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment
from wavetank.faults.drawing import types_of
from wavetank.hunting.campaign import Hunt
from wavetank.hunting.shrink import Candidate, Shrinker
from wavetank.hunting.trial import run_trial

EXAMPLES = Path(__file__).parent.parent / "examples"
EXPERIMENTS = sorted(
    path.relative_to(EXAMPLES).as_posix()
    for path in EXAMPLES.rglob("*.yaml")
    if "kind: Experiment" in path.read_text(encoding="utf-8")
)


DIGESTS = {
    "hunt/buggy.yaml": "136db46099adabc1d58392c8ff29ee90",
    "hunt/fixed.yaml": "67e00f7f8073183fb567b5e5ba0ba035",
    "node-failure.yaml": "f130183609e8928416eb0abdd487f0aa",
    "split-brain.yaml": "00c45754d54cb64f0cf0f39065d48f6e",
    "zone-outage.yaml": "d6861642f3f09c436b75897eb1900a5c",
}
"""Every event of each example, in one number. A change that is to change no behaviour changes none of them; one that does says so in its
commit, and writes the new ones here.
"""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_passes(name: str) -> None:
    """Undisturbed but for its own faults: the bug of the hunted operator does not show. And all is as it was."""
    result = run_experiment(load_experiment(EXAMPLES / name))
    assert result.passed, [check for check in result.checks if not check.passed]
    assert result.digest == DIGESTS[name]


def hunt(name: str) -> Hunt:
    types = tuple(kind.name for kind in types_of(["process"]))
    return Hunt.of(load_experiment(EXAMPLES / "hunt" / name), faults=types)


def test_the_planted_bug_is_found_shrunk_and_mended() -> None:
    """As docs/chaos.md tells it: found by seed 2, shrunk to one kill at a write; the mended operator passes the same seeds."""
    buggy, fixed = hunt("buggy.yaml"), hunt("fixed.yaml")
    outcomes = [run_trial(buggy.assembly(), buggy.trial(seed), buggy.bounds) for seed in range(3)]
    assert [outcome.passed for outcome in outcomes] == [True, True, False]
    found = outcomes[2]
    assert found.signature == ("check", "python sites:one_deployment_for_each_site")
    start = Candidate(file=buggy.file, texts=buggy.texts, trial=found.trial)
    shrunk = Shrinker(start, buggy.bounds, found.signature).shrink()
    (fault,) = shrunk.candidate.trial.plan.faults
    assert (fault.type, fault.target) == ("process.crash_at_write", "controller/sites")
    assert shrunk.complete
    assert shrunk.deviations == 0
    for seed in range(3):
        assert run_trial(fixed.assembly(), fixed.trial(seed), fixed.bounds).passed
