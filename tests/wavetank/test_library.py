"""The library's contract: run, Cluster, what a program may ask and do, and what it is told when it cannot be."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import trio

import wavetank
from engine import Fault, Json, Lease, load_manifests
from reconcilers import default_reconcilers
from tests.wavetank.contract import DEPLOYMENT
from wavetank import (
    BadInput,
    Cluster,
    ConfigMap,
    Deployment,
    Done,
    Event,
    For,
    Invalid,
    Key,
    ManifestError,
    Node,
    NotReached,
    ObjectMeta,
    Pod,
    Reconciler,
    Settings,
    UnknownTarget,
    View,
)
from wavetank.logs import open_log

EXAMPLES = Path(__file__).parents[2] / "examples"
WEB = DEPLOYMENT.format(name="web", replicas=3, version=1)


def test_the_program_of_the_contract(tmp_path: Path) -> None:
    """Settle, crash the busiest node, wait; the Result says what happened, and the log is there."""

    async def main(cluster: Cluster) -> str:
        await cluster.apply(EXAMPLES / "shop.yaml")
        await cluster.settled(timeout="5m")
        node = cluster.busiest_node()
        await cluster.chaos.crash(node)
        await cluster.until(lambda view: not view.node(node).ready, timeout="2m")
        await cluster.until(lambda view: view.deployment("frontend").available, timeout="10m")
        assert len(await cluster.client.list(Node)) == 10
        assert cluster.log.head > 500
        assert len(cluster.log.digest) >= 32
        return node

    log = tmp_path / "run.wtl"
    result = wavetank.run(main, nodes=10, seed=7, log=log)
    again = wavetank.run(main, nodes=10, seed=7)

    assert result.passed
    assert result.value == again.value
    assert result.digest == again.digest
    assert log.exists()
    assert [("crashNode", result.value)] == [(fault.kind, fault.target) for fault in result.faults]
    assert result.deployments
    assert (7, result.head - 1) == (result.seed, result.events)
    verified = open_log(log).reader.verify()
    assert (result.events, result.head, result.digest) == (
        verified.events,
        verified.head,
        verified.digest,
    )
    assert 50 < result.virtual_seconds < 600


def test_apply_takes_a_path_a_text_data_and_objects() -> None:
    """As kubectl apply: creating, then updating; the namespace may be given."""
    data: dict[str, Json] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "data"},
        "data": {"a": "1"},
    }

    async def main(cluster: Cluster) -> list[str]:
        await cluster.apply(EXAMPLES / "shop.yaml")
        await cluster.apply(str(EXAMPLES / "shop.yaml"))
        await cluster.apply(WEB)
        await cluster.apply(data)
        changed_data: dict[str, Json] = {**data, "data": {"a": "2"}}
        await cluster.apply(changed_data)
        one = ConfigMap(metadata=ObjectMeta(name="object"), data={"b": "1"})
        await cluster.apply(one)
        await cluster.apply([one, data], namespace="kube-system")
        changed = await cluster.client.get(ConfigMap, "data", "default")
        assert dict(changed.data) == {"a": "2"}
        maps = await cluster.client.list(ConfigMap)
        return [f"{each.metadata.namespace}/{each.metadata.name}" for each in maps]

    found = wavetank.run(main).value

    assert found is not None
    assert {"default/data", "default/object", "kube-system/data", "kube-system/object"} <= set(
        found
    )


def test_apply_says_what_is_wrong() -> None:
    """Errors come as they are, not wrapped in groups."""

    async def unreadable(cluster: Cluster) -> None:
        await cluster.apply("kind: Nothing\napiVersion: v1\n")

    async def refused(cluster: Cluster) -> None:
        await cluster.apply(WEB.replace("matchLabels: {app: web}", "matchLabels: {app: wob}"))

    with pytest.raises(ManifestError, match=r'<text>:1: kind: no matches for kind "Nothing"'):
        wavetank.run(unreadable)
    with pytest.raises(Invalid, match=r'Deployment\.apps "web" is invalid'):
        wavetank.run(refused)


def test_what_main_raises_comes_out() -> None:
    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        wavetank.run(main)


def test_not_reached_says_what_was_left() -> None:
    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB.replace("cpu: 500m", "cpu: 3"))
        await cluster.settled(timeout=60)

    with pytest.raises(NotReached) as caught:
        wavetank.run(main, nodes=2)

    assert str(caught.value).startswith(
        "a settled cluster was not reached within 60s: Deployment default/web: 2 of 3 available; ReplicaSet default/web-"
    )
    assert "not scheduled: 0/2 nodes are available: 2 Insufficient cpu." in str(caught.value)
    assert 60 == caught.value.timeout


def test_until_waits_for_what_is_not_there_yet() -> None:
    """A LookupError means not yet; and is told when it stays."""

    async def main(cluster: Cluster) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.until, lambda view: view.deployment("web").available, "5m")
            await trio.sleep(10)
            await cluster.apply(WEB)
        with pytest.raises(NotReached, match="within 5s: no Deployment default/wob at revision"):
            await cluster.until(lambda view: view.deployment("wob").available, "5s")

    assert wavetank.run(main).passed


def test_a_predicate_that_fails_fails_in_the_program() -> None:
    """Not in the observer, where it would take the cluster down."""

    async def main(cluster: Cluster) -> None:
        def late(view: View) -> bool:
            return view.seconds > 5 and 1 / 0 > 0

        with pytest.raises(ZeroDivisionError):
            await cluster.until(late, "1m")
        await cluster.apply(WEB)
        await cluster.settled()

    assert wavetank.run(main).passed


def test_the_view_answers() -> None:
    """The view tells of deployments, nodes and pods as the log shows them."""

    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB)
        await cluster.settled()
        view = cluster.view
        web = view.deployment("web")
        assert (web.desired, web.available, web.complete) == (3, True, True)
        assert [node.zone for node in view.nodes()] == ["zone-a", "zone-b", "zone-c"]
        pods = view.pods("app=web", "default")
        assert len(pods) == 3
        assert view.pods("app in (db)") == []
        for pod in pods:
            assert pod in view.pods(node=pod.spec.node_name)
            assert view.get(Pod, pod.metadata.name) == pod
            assert pod == await cluster.client.get(Pod, pod.metadata.name, "default")
        assert view.get("no", "node-1") == view.node("node-1").object
        assert view.list("deploy", "kube-system") == []
        assert view.time == "2026-01-01T00:00:" + view.time[17:]
        assert view.unsettled() == []
        with pytest.raises(LookupError, match="no Node node-9"):
            view.node("node-9")

    assert wavetank.run(main).passed


def test_the_busiest_node_is_ready_and_has_most_pods() -> None:
    pinned = "{apiVersion: v1, kind: Pod, metadata: {name: p%d}, spec: {nodeName: node-2, containers: [{name: c, image: i}]}}"

    async def main(cluster: Cluster) -> None:
        await cluster.until(
            lambda view: len(view.nodes()) == 3 and all(n.ready for n in view.nodes())
        )
        assert cluster.busiest_node() == "node-0"
        for number in range(2):
            await cluster.apply(pinned % number)
        await cluster.settled()
        assert cluster.busiest_node() == "node-2"
        for name in ("node-0", "node-1", "node-2"):
            await cluster.chaos.crash(name)
        await cluster.until(lambda view: not any(node.ready for node in view.nodes()), "5m")
        with pytest.raises(UnknownTarget, match="no node is ready"):
            cluster.busiest_node()

    assert wavetank.run(main).passed


# -- chaos -----------------------------------------------------------------------------------------


def test_every_fault_leaves_nothing_behind() -> None:
    """Overlapping faults of all kinds; when they are over, no process is held, no link is cut, and every record is healed."""

    async def main(cluster: Cluster) -> None:
        chaos = cluster.chaos
        await cluster.apply(WEB)
        await cluster.settled()
        await chaos.partition("node-0", 90)
        heal = await chaos.partition("node-0")
        resume = await chaos.pause_kubelet("node-1")
        await chaos.pause_kubelet("node-1", 20)
        await chaos.crash("node-2")
        await chaos.crash("node-2")
        await chaos.pause_kubelet("node-2", 5)
        await chaos.restart_reconciler("deployment")
        await trio.sleep(100)
        assert not cluster.view.node("node-0").ready
        heal()
        heal()
        resume()
        await chaos.restart("node-2")
        await cluster.until(lambda view: all(node.ready for node in view.nodes()), "5m")
        await cluster.settled()
        await trio.sleep(10)
        for machine in cluster.machines.values():
            assert machine.process.statistics().held_by == ()
            assert machine.process.living
            assert machine.link.statistics().partitions == ()
        records = cluster.view.list(Fault)
        assert len(records) == 9
        assert {record.status.phase for record in records} == {"Healed"}
        assert all(record.status.healed is not None for record in records)
        assert cluster.view.node("node-2").object.spec.taints == ()

    assert wavetank.run(main).passed


def test_a_partition_ends_when_told() -> None:
    """The kubelet's writes wait, and arrive when the link is back."""

    async def main(cluster: Cluster) -> None:
        await cluster.until(lambda view: all(n.ready for n in view.nodes()) and view.nodes(), "1m")
        await cluster.chaos.partition("node-0", 70)
        struck = cluster.clock.now()
        await cluster.until(lambda view: not view.node("node-0").ready, "2m")
        assert 40 <= cluster.clock.now() - struck <= 62
        await cluster.until(lambda view: view.node("node-0").ready, "2m")
        assert 70 <= cluster.clock.now() - struck <= 85

    assert wavetank.run(main).passed


def test_a_short_pause_is_not_noticed() -> None:
    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB)
        await cluster.settled()
        await cluster.chaos.pause_kubelet("node-1", 20)
        await trio.sleep(100)
        seen = [event.reason for event in cluster.view.list(Event)]
        assert "NodeNotReady" not in seen

    assert wavetank.run(main).passed


def test_what_follows_a_fault_has_it_as_its_cause(tmp_path: Path) -> None:
    """The fault is an object in the log, written by the actor chaos before it strikes."""

    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB)
        await cluster.settled()
        await cluster.chaos.restart("node-0")
        await trio.sleep(30)

    wavetank.run(main, log=tmp_path / "run.wtl")
    events = list(open_log(tmp_path / "run.wtl").events())
    fault = next(event for event in events if isinstance(event.value, Fault))

    assert ("chaos", ("experiment:restartNode",)) == (fault.origin.actor, fault.origin.causes)
    caused = [event for event in events if fault.revision in event.origin.causes]
    assert "kubelet/node-0" in {event.origin.actor for event in caused}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda chaos: chaos.crash("node-9"),
            "no node is called 'node-9'; there are: node-0, node-1, node-2",
        ),
        (lambda chaos: chaos.partition("x", 5), "no node is called 'x'"),
        (lambda chaos: chaos.pause_kubelet("x"), "no node is called 'x'"),
        (lambda chaos: chaos.restart("x"), "no node is called 'x'"),
        (
            lambda chaos: chaos.restart_reconciler("deploy"),
            "no reconciler is called 'deploy'; there are: "
            + ", ".join(reconciler.name for reconciler in default_reconcilers()),
        ),
    ],
    ids=["crash", "partition", "pause", "restart", "reconciler"],
)
def test_unknown_targets_are_told_with_those_there_are(call: object, said: str) -> None:
    async def main(cluster: Cluster) -> None:
        assert callable(call)
        await call(cluster.chaos)

    with pytest.raises(UnknownTarget) as caught:
        wavetank.run(main)

    assert str(caught.value).startswith(said)


# -- reconcilers of one's own ----------------------------------------------------------------------


class Fussy(Reconciler):
    """Raises for ConfigMaps named bad, counts the others."""

    name: ClassVar[str] = "fussy"
    tries: ClassVar[list[float]] = []
    seen: ClassVar[list[str]] = []

    def sources(self) -> Sequence[For[ConfigMap]]:
        return [For(ConfigMap)]

    async def reconcile(self, key: Key) -> Done:
        if key.name == "bad":
            self.tries.append(self.clock.now())
            raise KeyError("replicas")
        self.seen.append(key.name)
        return Done()


def test_a_reconciler_that_raises() -> None:
    """It is tried again with exponential back-off, an Event tells of it, and the cluster goes on."""
    Fussy.tries.clear()
    Fussy.seen.clear()

    async def main(cluster: Cluster) -> None:
        await cluster.client.create(ConfigMap(metadata=ObjectMeta(name="bad", namespace="default")))
        await trio.sleep(1)
        await cluster.client.create(
            ConfigMap(metadata=ObjectMeta(name="good", namespace="default"))
        )
        await cluster.apply(WEB)
        await cluster.settled()
        await trio.sleep(60)
        event = next(e for e in cluster.view.list(Event) if e.reason == "ReconcileError")
        assert (event.type, event.involved_object.name) == ("Warning", "bad")
        assert event.message == "fussy: KeyError: 'replicas'"
        assert set(cluster.failures) == {"fussy default/bad: KeyError: 'replicas'"}

    result = wavetank.run(main, reconcilers=[*default_reconcilers(), Fussy()])
    waits = [later - earlier for earlier, later in zip(Fussy.tries, Fussy.tries[1:], strict=False)]

    assert result.passed
    assert [0.005, 0.01, 0.02, 0.04, 0.08] == pytest.approx(waits[:5], abs=0.001)
    assert "good" in Fussy.seen
    assert len(Fussy.tries) < 20


class Stubborn(Reconciler):
    """Never yields."""

    name: ClassVar[str] = "stubborn"

    def sources(self) -> Sequence[For[ConfigMap]]:
        return [For(ConfigMap)]

    async def reconcile(self, key: Key) -> Done:
        while key.name == "spin":
            pass
        return Done()


def test_a_reconciler_that_never_yields() -> None:
    """It is stopped and named, with the line it was at."""

    async def main(cluster: Cluster) -> None:
        await cluster.client.create(
            ConfigMap(metadata=ObjectMeta(name="spin", namespace="default"))
        )
        await cluster.settled()

    limits = wavetank.SimulationLimits(ticks=3, tick_seconds=0.05)
    with pytest.raises(wavetank.NeverYields) as caught:
        wavetank.run(main, reconcilers=[*default_reconcilers(), Stubborn()], limits=limits)

    assert str(caught.value).startswith(
        "controller/stubborn (controller/stubborn worker 0) never yields"
    )
    assert "test_library.py" in caught.value.stack[0]
    assert caught.value.stack[0].endswith("in reconcile")


def test_the_example_of_a_reconciler() -> None:
    """examples/websites: it converges, and one seed is one run."""
    websites = runpy.run_path(str(EXAMPLES / "websites/websites.py"), run_name="websites")
    first, second = websites["run"](seed=1), websites["run"](seed=1)

    assert first.passed
    assert first.digest == second.digest
    assert 340 < first.value < 380


# -- other ways to run -----------------------------------------------------------------------------


async def test_real_time() -> None:
    """Entered outside a simulation, a cluster lives in real time."""
    started = trio.current_time()
    async with Cluster(nodes=1, seed=3) as cluster:
        await cluster.client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
        await cluster.until(lambda view: view.get(ConfigMap, "a") is not None, "10s")
        await cluster.until(lambda view: view.node("node-0").ready, "10s")
        assert cluster.log.head > 1

    assert trio.current_time() - started < 10


def test_two_replicas_elect_a_leader_and_survive_its_crash() -> None:
    """The other takes over when the Lease has run out, and never before: oneLeader holds."""

    async def main(cluster: Cluster) -> str:
        def leader() -> str:
            lease: Lease = cluster.view.the(Lease, "kube-controller-manager", "kube-system")
            return (lease.spec.holder_identity or "").partition("_")[0]

        await cluster.apply(WEB)
        await cluster.settled()
        first = leader()
        crashed = cluster.clock.now()
        await cluster.control_plane.candidates[first].crash()
        await cluster.client.scale(Deployment, "web", "default", 5)
        await cluster.until(lambda _: leader() != first, "1m")
        assert 13 <= cluster.clock.now() - crashed <= 15 + 4.4 + 1
        await cluster.until(lambda view: view.deployment("web").complete, "2m")
        cluster.control_plane.candidates[first].start()
        await trio.sleep(60)
        assert leader() != first
        return first

    settings = Settings(control_plane_replicas=2)
    result = wavetank.run(main, settings=settings, seed=2)

    assert result.passed, result.checks
    assert result.value in {"kube-controller-manager-0", "kube-controller-manager-1"}


def test_invariants_of_ones_own() -> None:
    """A function of the view; by its name in the result, with the revision at which it broke."""

    def few_pods(view: View) -> object:
        count = len(view.pods("app=web"))
        return None if count <= 2 else f"{count} pods"

    def broken(view: View) -> object:
        raise ValueError("oops")

    async def main(cluster: Cluster) -> None:
        await cluster.apply(WEB)
        await cluster.settled()

    result = wavetank.run(main, invariants=[few_pods, broken, "boundOnce"])
    checks = {check.name: check for check in result.checks}

    assert not result.passed
    assert (False, False, True) == tuple(
        checks[n].passed for n in ("few_pods", "broken", "boundOnce")
    )
    assert "3 pods" in checks["few_pods"].message
    assert "ValueError: oops" in checks["broken"].message
    with pytest.raises(BadInput, match="unknown invariant 'x'; allowed: withinSurge"):
        wavetank.run(main, invariants=["x"])


def test_bad_arguments() -> None:
    """Arguments that mean nothing are refused with what is wrong with them."""

    async def main(cluster: Cluster) -> None:
        await cluster.settled(timeout="5 minutes")

    node = wavetank.SimulatedNode(name="n")
    with pytest.raises(BadInput, match="'5 minutes' is no duration"):
        wavetank.run(main)
    with pytest.raises(BadInput, match="two nodes are called n"):
        wavetank.run(main, nodes=[node, node])


def test_the_shop_is_what_the_demo_promises() -> None:
    """At least six Deployments, with probes, requests, labels, services and config maps."""
    loaded = [
        each.object for each in load_manifests(EXAMPLES / "shop.yaml", wavetank.default_scheme())
    ]
    deployments = [obj for obj in loaded if isinstance(obj, Deployment)]

    assert len(deployments) >= 6
    assert {"Service", "ConfigMap"} <= {obj.kind for obj in loaded}
    for each in deployments:
        container = each.spec.template.spec.containers[0]
        assert container.readiness_probe is not None, each.metadata.name
        assert container.resources is not None, each.metadata.name
        assert container.resources.requests, each.metadata.name
