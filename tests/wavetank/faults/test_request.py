"""Requests and random plans: every choice is made before the run, by the seed; what cannot be is said with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    Deployment,
    DeploymentSpec,
    Draws,
    DurationRange,
    LabelSelector,
    ObjectMeta,
    PodTemplateSpec,
    Settings,
)
from reconcilers import default_reconcilers
from sim_nodes import SimulatedNode
from tests.wavetank.conftest import Call
from tests.wavetank.hunting.hunted import SHOP, write_shop
from wavetank.errors import BadInput
from wavetank.experiment.assembly import Assembly, assemble
from wavetank.experiment.load import load_experiment
from wavetank.faults.catalogue import CATALOGUE, check_plan
from wavetank.faults.drawing import PlanDrawing, types_of
from wavetank.faults.inventory import inventory_of
from wavetank.faults.model import TargetKind
from wavetank.faults.plan import After, At, Plan, PlannedFault, plan_from_json
from wavetank.faults.request import FaultRequest, Mode, TargetRequest, materialise

SPEC = DeploymentSpec(selector=LabelSelector(), template=PodTemplateSpec())
SPAN = DurationRange.parse("10s..20s")


@pytest.fixture
def assembly(tmp_path: Path) -> Assembly:
    return assemble(load_experiment(write_shop(tmp_path)))


def made(assembly: Assembly, *requests: FaultRequest, seed: int = 1) -> Plan:
    return materialise(requests, assembly.inventory, Draws(seed))


def test_what_is_left_to_chance_is_drawn_once(assembly: Assembly) -> None:
    request = FaultRequest(type="node.crash", at=SPAN, lasts=SPAN)
    plans = [made(assembly, request, seed=seed) for seed in range(40)]
    assert plans == [made(assembly, request, seed=seed) for seed in range(40)]
    targets = {plan.faults[0].target for plan in plans}
    assert targets == {"a-0", "a-1", "b-0"}
    for plan in plans:
        (fault,) = plan.faults
        assert isinstance(fault.at, At)
        assert 10 <= fault.at.seconds <= 20
        assert fault.seconds is not None
        assert 10 <= fault.seconds <= 20


def test_one_request_more_changes_none_of_the_others(assembly: Assembly) -> None:
    first = FaultRequest(type="node.crash", at=SPAN, lasts=SPAN)
    more = FaultRequest(type="node.reboot", at=SPAN)
    assert made(assembly, first, more).faults[0] == made(assembly, first).faults[0]


@pytest.mark.parametrize(
    ("target", "struck"),
    [
        (TargetRequest(mode=Mode.ALL), ["a-0", "a-1", "b-0"]),
        (TargetRequest(mode=Mode.ALL, zone="zone-a"), ["a-0", "a-1"]),
        (TargetRequest(mode=Mode.ALL, selector="topology.kubernetes.io/zone=zone-b"), ["b-0"]),
        (TargetRequest(names=("a-1",)), ["a-1"]),
        (TargetRequest(mode=Mode.FIXED, value=7), ["a-0", "a-1", "b-0"]),
        (TargetRequest(mode=Mode.PERCENT, value=100), ["a-0", "a-1", "b-0"]),
    ],
)
def test_targets(assembly: Assembly, target: TargetRequest, struck: list[str]) -> None:
    """Names, labels, zone and mode choose among the nodes, in the order of the cluster."""
    plan = made(assembly, FaultRequest(type="node.crash", target=target))
    assert [fault.target for fault in plan.faults] == struck


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (TargetRequest(), 1),
        (TargetRequest(mode=Mode.FIXED, value=2), 2),
        (TargetRequest(mode=Mode.PERCENT, value=34), 2),  # rounded up
    ],
)
def test_how_many_are_struck(assembly: Assembly, target: TargetRequest, count: int) -> None:
    plan = made(assembly, FaultRequest(type="node.crash", target=target))
    assert len(plan) == count
    assert len({fault.id for fault in plan.faults}) == count


def test_what_a_cluster_offers(assembly: Assembly) -> None:
    offered = {kind: assembly.inventory.candidates(kind) for kind in TargetKind}
    assert offered[TargetKind.ZONE] == ("zone-a", "zone-b")
    assert "controller/replicaset" in offered[TargetKind.PROCESS]
    assert "kubelet/b-0" in offered[TargetKind.PROCESS]
    assert offered[TargetKind.POD] == tuple(f"Deployment/default/web#{n}" for n in range(3))
    assert offered[TargetKind.OBJECT] == ("Deployment/default/web", "ConfigMap/default/colours")
    assert offered[TargetKind.NOTHING] == ("",)


INVENTORY = inventory_of(
    nodes=[SimulatedNode(name=f"node-{n}", zone=f"zone-{n % 2}") for n in range(3)],
    reconcilers=default_reconcilers(),
    settings=Settings(),
    api_servers=2,
    objects=[Deployment(metadata=ObjectMeta(name="web", namespace="default"), spec=SPEC)],
)


@given(seed=st.integers(0, 10**6), swarm=st.booleans())
def test_random_plans_can_be_struck_and_written_down(seed: int, swarm: bool) -> None:
    """Whatever is drawn has a target that is there, and parameters that are allowed; as JSON and back it is the same plan."""
    plan = PlanDrawing(types=types_of([]), swarm=swarm).plan(INVENTORY, Draws(seed))
    check_plan(plan, "plan")
    assert 1 <= len(plan) <= 4
    for fault in plan.faults:
        assert fault.target in INVENTORY.candidates(CATALOGUE[fault.type].target)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


FAULTS = """\
  faults:
    - {type: node.crash, at: 10s..20s, for: 30s, target: {zone: zone-a, mode: all}}
    - {type: process.restart, target: controller/replicaset, after: {kind: Pod, change: created, occurrence: 2, wait: 1s}}
"""


def test_an_experiment_has_faults(wavetank_command: Call, tmp_path: Path) -> None:
    """They are made a plan of the seed, which the log carries; the log replays."""
    path = write_shop(tmp_path)
    path.write_text(SHOP + FAULTS)
    experiment = load_experiment(path)
    after = After(kind="Pod", change="created", occurrence=2, seconds=1.0)
    assert experiment.faults[1].at == after
    assert experiment.until == 20 + 30 + 600
    log = tmp_path / "run.wtl"
    called = wavetank_command("run", path, "--log", log, "--json")
    assert called.code == 0, called.err
    kinds = [(each["kind"], each["target"]) for each in json.loads(called.out)["faults"]]
    assert ("node.crash", "a-0") in kinds
    assert ("node.crash", "a-1") in kinds
    replayed = wavetank_command("replay", log)
    assert (replayed.code, replayed.out[:2]) == (0, "ok")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "{type: node.crush}",
            "spec.faults[0].type: unknown fault 'node.crush'; allowed: node.crash",
        ),
        (
            "{type: node.reboot, for: 3s}",
            "spec.faults[0].for: node.reboot takes no time: leave it out",
        ),
        (
            "{type: node.crash, parameters: {x: 1}}",
            "node.crash has no parameter 'x'; allowed: none",
        ),
        ("{type: node.crash, at: soon}", "spec.faults[0].at: "),
        ("{type: node.crash, at: 1s, after: {kind: Pod}}", "at and after are both given"),
        ("{type: node.crash, after: {kind: Pot}}", "spec.faults[0].after.kind: "),
        ("{type: node.crash, target: {mode: some}}", "spec.faults[0].target.mode: "),
        ("{type: node.crash, target: {nam: x}}", "spec.faults[0].target.nam: unknown field"),
        ("{type: node.crash, target: nowhere}", "there is no 'nowhere'; there are: a-0, a-1, b-0"),
        ("{type: node.crash, target: {zone: zone-z}}", "nothing matches; there are: a-0"),
        ("{type: node.crash, target: {selector: '=='}}", "spec.faults[0].target.selector: "),
        ("{type: process.crash, target: {zone: zone-a}}", "only nodes have labels"),
    ],
)
def test_what_is_wrong_with_a_request_is_one_line(
    wavetank_command: Call, tmp_path: Path, line: str, said: str
) -> None:
    path = write_shop(tmp_path)
    path.write_text(f"{SHOP}  faults:\n    - {line}\n")
    called = wavetank_command("run", path)
    assert called.code == 2
    assert said in called.err
    assert str(path) in called.err
    assert "\n" not in called.err.strip()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "plan: must be a list of faults"),
        ([{"id": "a", "type": "t", "at": -1}], "plan[0].at: -1 is negative"),
        ([{"id": "a", "type": "t", "at": 1, "seconds": -1}], "plan[0].seconds: -1 is negative"),
        ([{"type": "t", "at": 1}], "plan[0]: id is missing"),
        ([{"id": "a", "type": "t", "at": 1}] * 2, "plan[1].id: 'a' is there twice"),
        (
            [{"id": "a", "type": "t", "at": {"after": {"kind": "Pod", "change": "x"}}}],
            "'x'; allowed: created",
        ),
        (
            [{"id": "a", "type": "t", "at": {"after": {"kind": "Pod", "occurrence": 0}}}],
            "0 is under 1",
        ),
        ([{"id": "a", "type": "t", "at": 1, "colour": 1}], "unknown field 'colour'"),
        ([{"id": 1, "type": "t", "at": 1}], "plan[0].id: must be str, is int"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(document: object, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        plan_from_json(document)  # type: ignore[arg-type]  # JSON
    assert said in str(refused.value)


def test_plans_are_told_in_lines() -> None:
    plan = Plan(
        (
            PlannedFault(id="f0", type="node.crash", target="a-0", at=At(seconds=1.5), seconds=3.0),
            PlannedFault(
                id="f1", type="store.slow", parameters={"delay": "1s"},
                at=After(kind="Pod", namespace="shop", name="web", occurrence=2, seconds=0.5),
            ),
        )
    )  # fmt: skip
    assert str(plan).splitlines() == [
        "f0: node.crash a-0 at 1.5s for 3s",
        "f1: store.slow after Pod shop/web created #2 + 0.5s delay=1s",
    ]
    assert str(Plan()) == "no faults"
    assert plan.keeping(["f1"]).faults == plan.faults[1:]
