"""One trial: what it finds, in which phase, and that it is a function of its input."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from engine import parse_schedule
from tests.wavetank.hunting.hunted import SHOP, write_brittle, write_shop
from wavetank.errors import BadInput
from wavetank.experiment.assembly import Assembly, assemble
from wavetank.experiment.load import load_experiment
from wavetank.faults.plan import After, At, Plan, PlannedFault
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import TrialInput, Verdict, input_from_json
from wavetank.hunting.trial import run_trial

CRASH = Plan(
    (PlannedFault(id="f0", type="node.crash", target="a-0", at=At(seconds=20.0), seconds=100.0),)
)


def shop(folder: Path) -> Assembly:
    return assemble(load_experiment(write_shop(folder)))


def test_a_sound_cluster_survives_a_crash(tmp_path: Path) -> None:
    """The node comes back when the fault is over, all is as desired, and no invariant was broken."""
    outcome = run_trial(shop(tmp_path), TrialInput(seed=3, plan=CRASH), Bounds())
    assert outcome.findings == ()
    assert outcome.missed == ()
    assert outcome.virtual_seconds > 20 + 100 + Bounds().hold
    assert outcome.coverage["fault node.crash | Running"] == 1


def test_a_trial_is_a_function_of_its_input(tmp_path: Path) -> None:
    assembly = shop(tmp_path)
    trial = TrialInput(seed=3, plan=CRASH)
    first = run_trial(assembly, trial, Bounds())
    assert run_trial(assembly, trial, Bounds()) == first
    other = attrs.evolve(trial, schedule=parse_schedule("pct:3"))
    assert run_trial(assembly, other, Bounds()).digest != first.digest
    assert run_trial(assembly, other, Bounds()) == run_trial(assembly, other, Bounds())
    assert input_from_json(other.to_json(), "there") == other


def test_what_never_heals_is_healed_before_the_second_phase(tmp_path: Path) -> None:
    """A fault without an end lasts until everything is healed."""
    plan = Plan((attrs.evolve(CRASH.faults[0], seconds=None),))
    assert run_trial(shop(tmp_path), TrialInput(seed=3, plan=plan), Bounds()).passed


def test_a_reconciler_that_raises_is_found(tmp_path: Path) -> None:
    assembly = assemble(load_experiment(write_brittle(tmp_path)))
    outcome = run_trial(assembly, TrialInput(seed=3, plan=CRASH), Bounds())
    assert outcome.signature == ("raised", "brittle")
    assert "replicas are lacking" in outcome.findings[0].message
    assert outcome.coverage["probe a whole Deployment"] > 0
    assert outcome.coverage["probe a Deployment that is gone"] == 0


def test_what_does_not_settle_before_any_fault_is_no_failure_of_the_faults(tmp_path: Path) -> None:
    path = write_shop(tmp_path)
    path.write_text(SHOP.replace("zone: zone-b", 'zone: zone-b, capacity: {cpu: "1"}'))
    web = tmp_path / "web.yaml"
    web.write_text(web.read_text().replace("cpu: 100m", "cpu: 64"))
    outcome = run_trial(assemble(load_experiment(path)), TrialInput(seed=3, plan=CRASH), Bounds())
    assert [each.verdict for each in outcome.findings] == [Verdict.UNSETTLED]


def test_a_bound_that_is_too_short_is_missed(tmp_path: Path) -> None:
    """The verdict names the kinds that had not come to their desired state."""
    crash = attrs.evolve(CRASH.faults[0], seconds=None)
    later = PlannedFault(id="f1", type="node.reboot", target="b-0", at=At(seconds=200.0))
    plan = Plan((crash, later))  # the crash is noticed before everything is healed
    outcome = run_trial(shop(tmp_path), TrialInput(seed=3, plan=plan), Bounds(recover=0.5))
    assert [each.verdict for each in outcome.findings] == [Verdict.NOT_CONVERGED]
    assert "Pod" in outcome.findings[0].name


def test_a_fault_may_wait_for_what_happens(tmp_path: Path) -> None:
    """Here for the replacement of a pod that the first fault cost."""
    path = write_shop(tmp_path)
    path.write_text(SHOP + "  method:\n    - {at: 1s, scale: {deployment: web, replicas: 4}}\n")
    after = After(kind="Pod", change="created", occurrence=1, seconds=0.25)
    plan = Plan((PlannedFault(id="f0", type="node.reboot", target="a-1", at=after),))
    log = tmp_path / "run.wtl"
    outcome = run_trial(
        assemble(load_experiment(path)), TrialInput(seed=3, plan=plan), Bounds(), log=log
    )
    assert (outcome.findings, outcome.missed) == ((), ())
    never = Plan((attrs.evolve(plan.faults[0], at=attrs.evolve(after, occurrence=5)),))
    outcome = run_trial(assemble(load_experiment(path)), TrialInput(seed=3, plan=never), Bounds())
    assert outcome.missed == ("f0: it was never due, or was cut short",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "node.cras"}, "plan[0].type: unknown fault 'node.cras'; allowed: node.crash"),
        ({"target": ""}, "plan[0].target: node.crash: ''; allowed: a node, as node-1"),
        ({"parameters": {"x": 1}}, "plan[0].parameters: node.crash has no parameter 'x'"),
        ({"type": "node.reboot"}, "plan[0].seconds: node.reboot takes no time"),
    ],
)
def test_a_plan_that_cannot_be_struck_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    fault = attrs.evolve(CRASH.faults[0], **change)  # type: ignore[arg-type]  # fields of it
    with pytest.raises(BadInput) as refused:
        run_trial(shop(tmp_path), TrialInput(seed=3, plan=Plan((fault,))), Bounds())
    assert str(refused.value).startswith(said)
