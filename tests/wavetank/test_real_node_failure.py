"""The node failure that was recorded on real Kubernetes, through the whole cluster: manifest to log.

The recording (../shared/data/real-node-failure.txt) is read by the test, and each of its facts is looked for in our run: same change, same
reason, message, taint and Event, within one monitor period of its time, and in the same order.
"""

from __future__ import annotations

import itertools
from typing import Final

import pytest
import trio

import wavetank
from engine import Time
from tests.wavetank.recorded import NODE, RECORDING, Fact, Facts, Recorder, read_recording
from wavetank import DurationRange, ImageBehaviour, Lease, Settings, SimulatedNode

pytestmark = pytest.mark.skipif(not RECORDING.exists(), reason=f"{RECORDING} is not here")

MONITOR_PERIOD: Final = 5.0
BACK: Final = 440.03
"""When the heartbeats of the recorded node resume."""
SEEDS: Final = (1, 2, 3, 4)

MANIFEST: Final = """
apiVersion: v1
kind: Namespace
metadata: {name: nodefail}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: nodefail}
spec:
  replicas: 20
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "pause:3"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: fast, namespace: nodefail}
spec:
  replicas: 10
  selector: {matchLabels: {app: fast}}
  template:
    metadata: {labels: {app: fast}}
    spec:
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
      containers: [{name: c, image: "pause:3"}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: nodefail}
spec: {nodeName: fake-0, containers: [{name: c, image: "pause:3"}]}
"""


async def fail_node(cluster: wavetank.Cluster) -> Recorder:
    """Settle, take fake-0's kubelet away at its next heartbeat, and give it back at 440 s."""

    def renewed() -> str:
        lease = cluster.view.get(Lease, NODE, "kube-node-lease")
        assert lease is not None
        return lease.metadata.resource_version

    await cluster.apply(MANIFEST)
    await cluster.settled()
    await trio.sleep(30)
    before = renewed()
    await cluster.until(lambda _: renewed() != before)
    names = tuple(pod.metadata.name for pod in cluster.view.pods(node=NODE))
    recorder = Recorder(cluster.clock.now(), Facts(names))
    cluster.observer.add(recorder)
    await cluster.chaos.crash(NODE)
    await trio.sleep(BACK)
    await cluster.chaos.restart(NODE, containers="kept")
    await trio.sleep(60)
    return recorder


@pytest.fixture(scope="module", params=SEEDS)
def ours(request: pytest.FixtureRequest) -> Recorder:
    fast = ImageBehaviour(pull=DurationRange.fixed(0.01), start=DurationRange.fixed(0.02))
    result = wavetank.run(
        fail_node,
        nodes=[SimulatedNode(name=f"fake-{number}") for number in range(5)],
        settings=Settings.for_version("1.20"),
        images=[fast],
        seed=request.param,
    )
    assert result.passed, result.checks
    assert result.value is not None
    return result.value


@pytest.fixture(scope="module")
def recorded() -> Facts:
    return read_recording()


def test_the_recording_is_read_as_it_stands(recorded: Facts) -> None:
    """Guards the reader: the pods of the node, and what each went through."""
    assert 7 == len(recorded.on_node)
    assert 5 == recorded.counted("web")
    for name in recorded.on_node:
        assert 4 == len(recorded.pods[name]), name
    assert len(recorded.times) > 30


def test_settings_are_those_of_the_recorded_version() -> None:
    assert 40.0 == Settings.for_version("1.20").node_monitor_grace_period


def test_every_recorded_fact_comes_in_time(recorded: Facts, ours: Recorder) -> None:
    """Reasons, messages, taints, Events: all there, each within 5 s of its time."""
    missing = [fact for fact in recorded.times if fact not in ours.facts.times]
    late = [
        (fact, at, ours.facts.times[fact])
        for fact, at in recorded.times.items()
        if fact in ours.facts.times
        and not all(
            abs(theirs - mine) <= MONITOR_PERIOD
            for theirs, mine in zip(at, ours.facts.times[fact], strict=True)
        )
        and not _repeated(fact)
    ]

    assert missing == []
    assert late == []


def _repeated(fact: Fact) -> bool:
    """A Deployment's conditions stand in each of its statuses, and "some" replicas are missing twice: first and last say nothing."""
    return fact[0] == "deployment" or fact[-1] == "some"


def test_nothing_else_comes(recorded: Facts, ours: Recorder) -> None:
    """What ours does beyond the recording is what the recording's fake kubelets leave out: containers take time to start and to stop."""
    beyond = [fact for fact in ours.facts.times if fact not in recorded.times]

    assert [fact for fact in beyond if not _of_a_real_kubelet(fact)] == []


def _of_a_real_kubelet(fact: Fact) -> bool:
    match fact:
        case ("pod", str(role), "Pending", "bound", "not deleted", "", "", *ready):
            return role.startswith("new") and ready[:2] in (
                ["", ""],
                ["False", "ContainersNotReady"],
            )
        case ("pod", str(role), "Running", "bound", "deleted with grace 30", "", "", *ready):
            return role.startswith("old") and ready[0] in ("True", "False")
        case ("ready replicas missing", _, "some"):
            return True
    return False


def test_the_order_is_the_recorded_one(recorded: Facts, ours: Recorder) -> None:
    """Whatever was over more than a second before something else began there was so here.

    But for the old pods' end: it does not wait for the monitor's next pass, nor that for it (4.9 s and 0.75 s in the two recorded runs).
    """
    facts = [fact for fact in recorded.times if not _repeated(fact)]
    wrong = [
        (one, other)
        for one, other in itertools.permutations(facts, 2)
        if recorded.times[one][1] + 1 < recorded.times[other][0]
        and ours.facts.times[one][1] > ours.facts.times[other][0]
        and not (one[0] == "pod" and recorded.times[one][0] > BACK)
    ]

    assert wrong == []


def test_every_pod_of_the_node_goes_the_recorded_way(recorded: Facts, ours: Recorder) -> None:
    """Not one pod is forgotten: each of a workload's goes through what the recorded ones went through, in time."""
    for workload in ("web", "fast", "bare"):
        way = next(recorded.pods[n] for n in recorded.on_node if recorded.workload(n) == workload)
        mine = [name for name in ours.facts.on_node if ours.facts.workload(name) == workload]
        assert mine
        for name in mine:
            for fact, seconds in way.items():
                assert ours.facts.pods[name][fact] == pytest.approx(seconds, abs=MONITOR_PERIOD)


def test_the_distances_that_kubernetes_promises(ours: Recorder) -> None:
    """Unknown after 40 to 50 s; NoSchedule at once, NoExecute a pass later; deletion 30 s and 300 s after it, with 30 s of grace."""
    ready_unknown, taints = 0.0, dict.fromkeys(("NoSchedule", "NoExecute"), 0.0)
    for seconds, node in ours.nodes:
        for taint in node.spec.taints:
            if not taints[taint.effect]:
                taints[taint.effect] = seconds
                assert taint.time_added is not None
        ready = node.status.conditions[-1]
        if ready.status == "Unknown" and not ready_unknown:
            ready_unknown = seconds

    assert 40 <= ready_unknown <= 50
    assert taints["NoSchedule"] == pytest.approx(ready_unknown, abs=0.1)
    assert taints["NoExecute"] == pytest.approx(ready_unknown + 5.2, abs=0.5)
    deleted: dict[str, float] = {}
    for seconds, pod in ours.old_pods:
        when = pod.metadata.deletion_timestamp
        if when is not None and pod.metadata.name not in deleted:
            deleted[pod.metadata.name] = seconds
            assert when == Time(_unix_us(ours, seconds) + 30_000_000) // 1_000_000 * 1_000_000
    for name, seconds in deleted.items():
        patience = 30 if name.startswith("fast") else 300
        assert seconds - taints["NoExecute"] == pytest.approx(patience, abs=0.2)
    assert sorted(ours.facts.on_node) == sorted(deleted)


def _unix_us(ours: Recorder, seconds: float) -> int:
    added = next(taint for _, node in ours.nodes for taint in node.spec.taints).time_added
    at = next(seconds for seconds, node in ours.nodes if node.spec.taints)
    assert added is not None
    return added + round((seconds - at) * 1_000_000)


def test_old_pods_stay_until_the_node_is_back(ours: Recorder) -> None:
    """Terminating for as long as it takes, and gone within seconds of the return."""
    gone = [
        seconds
        for name in ours.facts.on_node
        for fact, seconds in ours.facts.pods[name].items()
        if fact == ("gone",)
    ]

    assert len(ours.facts.on_node) == len(gone)
    assert all(BACK < seconds < BACK + MONITOR_PERIOD for seconds in gone)


def test_similar_events_are_combined_as_recorded(ours: Recorder) -> None:
    """20 and 10 pods were created before: from the tenth on the creations are one Event that counts."""
    lost = {name: ours.facts.counted(name) for name in ("web", "fast")}

    assert list(range(12, 12 + lost["web"])) == ours.counts["web"]
    assert list(range(2, 2 + lost["fast"])) == ours.counts["fast"]


def test_it_is_deployments_that_recover(ours: Recorder) -> None:
    """The bare pod is not replaced."""
    assert all(fact[1] != "new bare" for fact in ours.facts.times)
