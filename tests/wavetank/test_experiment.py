"""An experiment with every key of the contract, and what its result and its log say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import jsonschema
import pytest
import yaml

from engine import Deployment, Fault, Node, Pod, TypedObject
from tests.wavetank.conftest import Call
from tests.wavetank.contract import CONTRACT, write_contract, write_small
from wavetank.cli.run import schema
from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment
from wavetank.experiment.schema import SCHEMA
from wavetank.logs import Log, open_log
from wavetank.replaying import replay
from wavetank.result import Result

T = TypeVar("T", bound=TypedObject)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result[None], Log]:
    folder = tmp_path_factory.mktemp("contract")
    experiment = load_experiment(write_contract(folder))
    result = run_experiment(experiment, log=folder / "run.wtl")
    return result, open_log(folder / "run.wtl")


@pytest.fixture
def result(outcome: tuple[Result[None], Log]) -> Result[None]:
    return outcome[0]


@pytest.fixture
def log(outcome: tuple[Result[None], Log]) -> Log:
    return outcome[1]


def objects(log: Log, kind: type[T], name: str = "") -> Iterator[tuple[float, T]]:
    """What was written of a kind, with its time in seconds."""
    for event in log.events():
        value = event.value
        if isinstance(value, kind) and name in ("", value.metadata.name):
            yield event.time_ns / 1e9, value


def started(log: Log) -> float:
    """When the settled start was: the first fault is told to strike 60 s after it."""
    return next(at for at, _ in objects(log, Fault)) - 60


def test_the_contract_runs_and_holds(result: Result[None]) -> None:
    """Checks before the method and at the end, invariants over the whole run."""
    steady = [
        "deploymentAvailable default/frontend",
        "podsReady app=frontend",
        "nodeReady a-0",
        "python mychecks:no_orphans",
    ]
    invariants = ["withinSurge", "noOvercommit", "oneLeader", "boundOnce"]

    assert result.passed, [check for check in result.checks if not check.passed]
    assert [*steady, *steady, *invariants] == [check.name for check in result.checks]
    assert [0.0] * 4 + [1200.0] * 8 == [check.at for check in result.checks]
    assert 7 == result.seed
    assert result.events == result.head - 1


def test_faults_strike_when_told(result: Result[None], log: Log) -> None:
    """In order of time, whatever the order in the file; the busiest node is chosen once."""
    kinds = ["crashNode", "partitionNode", "pauseKubelet", "restartReconciler", "restartNode"]
    faults = {fault.kind: fault for fault in result.faults}

    assert kinds == [fault.kind for fault in result.faults]
    assert [60, 120, 180, 480, 720] == [fault.at for fault in result.faults]
    assert faults["crashNode"].target == faults["restartNode"].target
    assert (
        30 <= (faults["crashNode"].detected_seconds or 0) <= 45
    )  # of a heartbeat up to 10 s before
    recorded = {obj.spec.kind: obj for _, obj in objects(log, Fault)}
    assert sorted(kinds) == sorted(recorded)
    assert {"Healed"} == {obj.status.phase for obj in recorded.values()}
    assert {"for": "90s"} == dict(recorded["partitionNode"].spec.options)


def test_the_other_actions_do_what_they_say(log: Log) -> None:
    """Scale at 4 m, the second version at 5 m, the deleted pods at 6 m, cordon at 7 m."""
    start = started(log)
    frontend = list(objects(log, Deployment, "frontend"))
    scaled = next(at for at, obj in frontend if obj.spec.replicas == 5)
    second = next(
        at for at, obj in frontend if obj.spec.template.spec.containers[0].image.endswith(":2")
    )
    cordoned = next(at for at, node in objects(log, Node, "b-0") if node.spec.unschedulable)
    deleted = [
        event.time_ns / 1e9 - start
        for event in log.events()
        if isinstance(event.value, Pod)
        and event.origin.actor == "user"
        and event.value.metadata.deletion_timestamp is not None
    ]

    assert [240, 300, 420] == pytest.approx([each - start for each in (scaled, second, cordoned)])
    assert deleted
    assert [360.0] * len(deleted) == pytest.approx(deleted)
    assert 5 == frontend[-1][1].status.available_replicas


def test_node_groups_become_nodes(log: Log) -> None:
    nodes = {node.metadata.name: node for _, node in objects(log, Node)}

    assert ["a-0", "a-1", "a-2", "a-3", "b-0", "b-1", "b-2"] == sorted(nodes)
    assert "ssd" == nodes["a-3"].metadata.labels["disk"]
    assert "zone-b" == nodes["b-0"].metadata.labels["topology.kubernetes.io/zone"]
    assert "8Gi" == str(nodes["a-0"].status.capacity["memory"])
    assert ("dedicated", "batch") in [(t.key, t.value) for t in nodes["b-1"].spec.taints]


def test_images_behave_as_told(log: Log) -> None:
    """The busybox pod runs 30 s and succeeds, on the tainted zone that it tolerates."""
    states = list(objects(log, Pod, "batch"))
    running = next(at for at, pod in states if pod.status.phase == "Running")
    ended, last = next((at, pod) for at, pod in states if pod.status.phase == "Succeeded")

    assert ended - running == pytest.approx(30, abs=1.5)
    assert last.spec.node_name.startswith("b-")
    state = last.status.container_statuses[0].state
    assert state is not None
    assert state.terminated is not None
    assert 0 == state.terminated.exit_code
    frontends = [pod for _, pod in objects(log, Pod) if pod.metadata.name.startswith("frontend")]
    assert {"a"} == {pod.spec.node_name[0] for pod in frontends if pod.spec.node_name}


def test_the_log_alone_is_enough_to_run_it_again(log: Log, result: Result[None]) -> None:
    """Manifests, second version and the user's own check are in its header."""
    again = replay(log.path)

    assert again.divergence is None
    assert (result.digest, result.events) == (again.digest, again.events)


def test_the_result_as_json(result: Result[None]) -> None:
    """The fields of `wavetank run --json`."""
    data = json.loads(json.dumps(result.to_json()))

    assert [
        "passed",
        "seed",
        "digest",
        "head",
        "events",
        "virtual_seconds",
        "wall_seconds",
        "checks",
        "faults",
        "deployments",
    ] == list(data)
    assert {"name", "at", "passed", "message"} == set(data["checks"][0])
    assert {"at", "kind", "target"} <= set(data["faults"][0])
    assert {"name", "unavailable_seconds"} <= set(data["deployments"][0])


def test_the_schema_is_valid_and_accepts_the_contract(wavetank_command: Call) -> None:
    """It ships with the command line: `wavetank schema`."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(yaml.safe_load(CONTRACT), SCHEMA)

    assert SCHEMA == json.loads(wavetank_command("schema").out)
    assert "schema" == schema.name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: Experiment", "kind: Experimant"),
        ("seed: 7", "seed: -1"),
        ("seed: 7", "seed: many"),
        ("count: 4", "count: 0"),
        ("prefix: a,", "prefix: A_,"),
        ("effect: NoSchedule", "effect: Never"),
        ("busiest: true", "busiest: false"),
        ("for: 90s", "for: 90"),
        ("replicas: 5", "replicas: -5"),
        ("mychecks:no_orphans", "mychecks.no_orphans"),
        ("until: 20m", "untill: 20m"),
        ("{at: 7m, cordon: {node: b-0}}", "{cordon: {node: b-0}}"),
        ("{at: 7m, cordon: {node: b-0}}", "{at: 7m, cordon: {node: b-0}, uncordon: {node: b-0}}"),
        ("cluster:", "clusters:"),
    ],
)
def test_the_schema_rejects(old: str, new: str) -> None:
    """The JSON Schema that ships refuses what the loader refuses."""
    assert old in CONTRACT

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(CONTRACT.replace(old, new, 1)), SCHEMA)


def test_a_steady_state_that_does_not_hold_ends_the_experiment(
    tmp_path: Path, wavetank_command: Call
) -> None:
    """Exit 1, the method is not tried."""
    path = write_small(tmp_path, "count: 2}", "count: 9}")
    outcome = wavetank_command("run", path, "--json")
    data = json.loads(outcome.out)

    assert 1 == outcome.code
    assert not data["passed"]
    assert [] == data["faults"]
    assert {
        "name": "podsReady app=web",
        "at": 0.0,
        "passed": False,
        "message": "2 of 9 ready",
    } in data["checks"]


def test_a_cluster_that_does_not_settle_says_what_is_left(
    tmp_path: Path, wavetank_command: Call
) -> None:
    app = "{apiVersion: v1, kind: Pod, metadata: {name: big}, spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 99}}}]}}"
    path = write_small(tmp_path, "until: 1m", "until: 1m\n  settleTimeout: 30s", app=app)
    outcome = wavetank_command("run", path, "--json")
    check = json.loads(outcome.out)["checks"][0]

    assert 1 == outcome.code
    assert "settled" == check["name"]
    assert (
        "a settled cluster was not reached within 30s: Pod default/big: not scheduled: "
        "0/2 nodes are available: 2 Insufficient cpu."
    ) in check["message"]


def test_a_check_of_ones_own_may_fail_in_words_or_by_raising(tmp_path: Path) -> None:
    path = write_small(tmp_path, "deploymentAvailable: {name: web}", "python: own:fails")
    text = path.read_text().replace("podsReady:", "python: own:raises\n    - podsReady:")
    path.write_text(text)
    own = "def fails(view):\n    return f'saw {len(view.nodes())} nodes'\n\ndef raises(view):\n    view.node('x')\n"
    (tmp_path / "own.py").write_text(own)
    checks = run_experiment(load_experiment(path)).checks

    assert ("saw 2 nodes", False) == (checks[0].message, checks[0].passed)
    assert checks[1].message.startswith("LookupError: no Node x at revision")


def test_the_seed_of_the_command_line_counts(tmp_path: Path) -> None:
    path = write_small(tmp_path)

    assert 1 == load_experiment(path).seed
    assert 5 == load_experiment(path, seed=5).seed


def test_until_defaults_to_ten_minutes_after_the_last_step(tmp_path: Path) -> None:
    path = write_small(tmp_path, "  until: 1m\n", "")

    assert 640.0 == load_experiment(path).until
