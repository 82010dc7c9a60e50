"""The faults of nodes: what each does, as the API and the runtime show it."""

from __future__ import annotations

import pytest
import trio

from engine import Fault, Lease, Pod
from tests.wavetank.faults.playing import (
    condition,
    first,
    play,
    reasons,
    shown,
    status,
    taints,
    unhealthy,
)
from wavetank import BadInput, Cluster, DurationRange, ImageBehaviour, Node, UnknownTarget
from wavetank.faults.catalogue import CATALOGUE
from wavetank.faults.residue import residue


async def struck(cluster: Cluster, seconds: float) -> None:
    await trio.sleep(seconds)
    await cluster.observer.caught_up(cluster.log.head)


# -- power -----------------------------------------------------------------------------------------


def test_crash() -> None:
    """All is gone at once, and noticed after the grace; healed the node comes back with its pods restarted."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        node = pod.spec.node_name
        active = await cluster.chaos.strike("node.crash", node)
        assert cluster.machines[node].runtime.running(cluster.clock.now_ns()) == []
        assert residue(cluster.chaos.world) == [f"node {node}: down"]
        await cluster.until(lambda view: unhealthy(view, node), "60s")
        await active.heal()
        await cluster.until(lambda view: not unhealthy(view, node), "60s")
        await cluster.settled()
        assert status(cluster, pod).restart_count == 1

    play(body)


def test_a_crash_heals_its_own_outage_only() -> None:
    """The node was started and has crashed again since: the first heal leaves that to the second."""

    async def body(cluster: Cluster) -> None:
        one = await cluster.chaos.strike("node.crash", "node-0")
        again = await cluster.chaos.strike("node.crash", "node-0")
        assert again.healed
        await cluster.machines["node-0"].restart()
        two = await cluster.chaos.strike("node.crash", "node-0")
        await one.heal()
        assert cluster.machines["node-0"].down
        await two.heal()
        assert not cluster.machines["node-0"].down
        effects = [each.spec.options.get("effect", "") for each in cluster.view.list(Fault)]
        assert ["", "none: the node is down", ""] == effects

    play(body)


@pytest.mark.parametrize(("containers", "restarts"), [("lost", 1), ("kept", 0)])
def test_reboot(containers: str, restarts: int) -> None:
    """Containers that are lost are started again, those that are kept have run on."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        active = await cluster.chaos.strike(
            "node.reboot", pod.spec.node_name, containers=containers
        )
        assert active.healed
        await struck(cluster, 30)
        await cluster.settled()
        assert status(cluster, pod).restart_count == restarts

    play(body)


def test_poweroff_is_for_good() -> None:
    """A crash that is healed later does not bring it back; its pods move in the end."""

    async def body(cluster: Cluster) -> None:
        node = first(cluster).spec.node_name
        crash = await cluster.chaos.strike("node.crash", node)
        await cluster.chaos.strike("node.poweroff", node)
        await crash.heal()
        assert cluster.machines[node].down
        assert residue(cluster.chaos.world) == []
        await cluster.until(lambda view: view.deployment("web").complete, "10m")
        assert not CATALOGUE["node.poweroff"].hunted

    play(body)


def test_zone_outage() -> None:
    """All nodes of the zone; back come those that it took, and not one that was down before."""

    async def body(cluster: Cluster) -> None:
        machines = cluster.machines
        before = await cluster.chaos.strike("node.crash", "node-2")
        outage = await cluster.chaos.strike("node.zone_outage", "zone-a")
        assert [True, False, True] == [machine.down for machine in machines.values()]
        await outage.heal()
        assert [False, False, True] == [machine.down for machine in machines.values()]
        await before.heal()
        with pytest.raises(UnknownTarget, match="no zone is called 'zone-z'; there are: zone-a"):
            await cluster.chaos.strike("node.zone_outage", "zone-z")

    play(body)


# -- standing still, slowness, clocks --------------------------------------------------------------


def test_pause_lets_containers_stand_still() -> None:
    """A container that would have ended in the pause ends as much later; nobody restarts it for it."""
    images = [ImageBehaviour(match="*/batch:*", runs=DurationRange.parse("100s"))]

    async def body(cluster: Cluster) -> None:
        await cluster.apply(
            "{apiVersion: v1, kind: Pod, metadata: {name: batch}, spec: {nodeName: node-0, restartPolicy: Never,"
            " containers: [{name: c, image: 'registry.example/batch:1'}]}}"
        )
        await cluster.settled()
        began = cluster.clock.now()
        await trio.sleep(10)
        await cluster.chaos.strike("node.pause", "node-0", 80)
        await struck(cluster, 75)
        machine = cluster.machines["node-0"]
        assert machine.runtime.frozen
        assert len(machine.runtime.running(cluster.clock.now_ns())) > 0
        assert not cluster.view.node("node-0").ready
        await cluster.until(lambda view: view.the(Pod, "batch").status.phase == "Succeeded", "5m")
        assert 170 < cluster.clock.now() - began < 200
        await cluster.until(lambda view: view.node("node-0").ready)
        assert residue(cluster.chaos.world) == []

    play(body, images=images)


def test_a_machine_that_is_started_again_is_not_paused_any_more() -> None:
    async def body(cluster: Cluster) -> None:
        machine = cluster.machines["node-0"]
        for again in (machine.restart_kubelet, machine.restart):
            active = await cluster.chaos.strike("node.pause", "node-0")
            await again()
            await trio.sleep(1)
            assert residue(cluster.chaos.world) == []
            await active.heal()
            machine.runtime.check()
        await cluster.settled()

    play(body)


def test_slow() -> None:
    """Pulls and starts take longer; healed, those under way take their usual time again."""

    async def body(cluster: Cluster) -> list[float]:
        took = []
        for number, factor in enumerate((1, 10)):
            await cluster.chaos.strike("node.slow", "node-0", 120, factor=factor, delay="0s")
            began = cluster.clock.now()
            await cluster.apply(
                f"{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}}}, spec: {{nodeName: node-0,"
                f" containers: [{{name: c, image: 'registry.example/p{number}:1'}}]}}}}"
            )
            await cluster.settled()
            took.append(cluster.clock.now() - began)
            await cluster.chaos.heal_all()
        slow = await cluster.chaos.strike("node.slow", "node-0", factor=1000, delay="1s..5s")
        await cluster.apply(
            "{apiVersion: v1, kind: Pod, metadata: {name: last}, spec: {nodeName: node-0, containers: [{name: c, image: last:1}]}}"
        )
        await trio.sleep(10)
        await slow.heal()
        await cluster.settled("10s")
        return took

    usual, longer = play(body)

    assert longer > 3 * usual


def test_slow_refuses_to_be_fast() -> None:
    async def body(cluster: Cluster) -> None:
        with pytest.raises(BadInput, match=r"parameters\.factor: 0\.5; allowed: a number, 1 or"):
            await cluster.chaos.strike("node.slow", "node-0", factor=0.5)
        with pytest.raises(BadInput, match=r"parameters\.delay: '5s\.\.1s'|the range"):
            await cluster.chaos.strike("node.slow", "node-0", delay="5s..1s")
        with pytest.raises(BadInput, match=r"parameters\.drift: 2; allowed: a number from -0\.5"):
            await cluster.chaos.strike("node.clock", "node-0", drift=2)
        assert residue(cluster.chaos.world) == []

    play(body)


@pytest.mark.parametrize("offset", [-3600, 3600])
def test_a_wrong_clock_shows_in_timestamps_and_evicts_nobody(offset: int) -> None:
    """Node lifecycle measures by its own clock how long a lease has not changed, so skew alone does nothing."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        node = pod.spec.node_name

        def ahead() -> float:
            lease = cluster.view.the(Lease, node, "kube-node-lease")
            assert lease.spec.renew_time is not None
            return (lease.spec.renew_time - cluster.clock.unix_us()) / 1e6

        clock = await cluster.chaos.strike("node.clock", node, offset=offset)
        for _ in range(20):
            await struck(cluster, 30)
            assert cluster.view.node(node).ready
            assert abs(ahead() - offset) <= 11
        await clock.heal()
        await struck(cluster, 30)
        assert abs(ahead()) <= 11
        assert shown(cluster, pod).metadata.uid == pod.metadata.uid
        assert status(cluster, pod).restart_count == 0

    play(body)


def test_a_drifting_clock_gets_further_off() -> None:
    async def body(cluster: Cluster) -> None:
        drift = await cluster.chaos.strike("node.clock", "node-0", offset=0, drift=0.5)
        await struck(cluster, 100)
        pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: node-0, containers: [{name: c, image: p:1}]}}"
        await cluster.apply(pod)
        await cluster.settled()
        start = cluster.view.the(Pod, "p").status.start_time
        assert start is not None
        assert 45 < (start - cluster.clock.unix_us()) / 1e6 < 55
        await drift.heal()
        await struck(cluster, 30)
        assert cluster.view.the(Pod, "p").status.start_time == start, "what was written stays"

    play(body)


# -- pressure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "type_", "event", "resource"),
    [
        ("disk", "DiskPressure", "NodeHasDiskPressure", "ephemeral-storage"),
        ("memory", "MemoryPressure", "NodeHasInsufficientMemory", "memory"),
        ("pid", "PIDPressure", "NodeHasInsufficientPID", "pids"),
    ],
)
def test_pressure(kind: str, type_: str, event: str, resource: str) -> None:
    """Condition, taint and Events; one pod a look is evicted; the condition outlasts the shortage by 5 minutes."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        node = pod.spec.node_name
        pressure = await cluster.chaos.strike("node.pressure", node, kind=kind, evictions=1)
        await struck(cluster, 15)
        assert "True" == condition(cluster, node, type_)
        assert [f"{kind}-pressure:NoSchedule"] == taints(cluster, node)
        assert {"EvictionThresholdMet", event} <= {*reasons(cluster, node)}
        evicted = [each for each in cluster.view.pods(node=node) if each.status.phase == "Failed"]
        assert any(
            each.status.reason == "Evicted"
            and each.status.message == f"The node was low on resource: {resource}. "
            for each in evicted
        )
        await cluster.settled()
        await pressure.heal()
        await struck(cluster, 280)
        assert "True" == condition(cluster, node, type_)
        await struck(cluster, 40)
        assert "False" == condition(cluster, node, type_)
        assert [] == taints(cluster, node)

    play(body)


def test_pressure_refuses_pods() -> None:
    """Under memory pressure those that request nothing; under disk pressure all but critical ones."""
    pod = "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: node-0, priority: {priority}, containers: [{{name: c, image: a, resources: {resources}}}]}}}}"

    async def body(cluster: Cluster) -> dict[str, str]:
        await cluster.chaos.strike("node.pressure", "node-0", 60, kind="memory", evictions=0)
        await cluster.apply(pod.format(name="best-effort", priority=0, resources="{}"))
        await cluster.apply(
            pod.format(name="burstable", priority=0, resources="{requests: {memory: 1Mi}}")
        )
        await struck(cluster, 30)
        return {
            name: f"{cluster.view.the(Pod, name).status.phase} {cluster.view.the(Pod, name).status.message}"
            for name in ("best-effort", "burstable")
        }

    found = play(body)

    assert (
        "Failed Pod was rejected: The node had condition: [MemoryPressure]. "
        == found["best-effort"]
    )
    assert "Running " == found["burstable"]


# -- the Node object -------------------------------------------------------------------------------


def test_taint() -> None:
    """Two on one key: it is there until both are healed; one that somebody else put there is left alone."""

    async def body(cluster: Cluster) -> None:
        chaos = cluster.chaos
        one = await chaos.strike("node.taint", "node-0", key="a/b", effect="NoExecute")
        two = await chaos.strike("node.taint", "node-0", key="a/b", effect="NoExecute")
        await cluster.until(
            lambda view: (
                not [p for p in view.pods(node="node-0") if p.metadata.deletion_timestamp is None]
            ),
            "30s",
        )
        await one.heal()
        await cluster.observer.caught_up(cluster.log.head)
        assert ["b:NoExecute"] == taints(cluster, "node-0")
        await two.heal()
        await cluster.observer.caught_up(cluster.log.head)
        assert [] == taints(cluster, "node-0")
        assert residue(chaos.world) == []
        with pytest.raises(BadInput, match=r"parameters\.effect: 'Never'; allowed: NoSchedule"):
            await chaos.strike("node.taint", "node-0", effect="Never")

    play(body)


def test_drain() -> None:
    """Cordoned and emptied but for pods of nobody; healed it takes pods again, unless it was cordoned before."""

    async def body(cluster: Cluster) -> None:
        await cluster.apply(
            "{apiVersion: v1, kind: Pod, metadata: {name: bare}, spec: {nodeName: node-0, containers: [{name: c, image: a}]}}"
        )
        await cluster.settled()
        drain = await cluster.chaos.strike("node.drain", "node-0")
        await cluster.settled()
        assert ["bare"] == [pod.metadata.name for pod in cluster.view.pods(node="node-0")]
        assert cluster.view.the(Node, "node-0", "").spec.unschedulable
        await drain.heal()
        await cluster.settled()
        assert not cluster.view.the(Node, "node-0", "").spec.unschedulable

    play(body)


def test_delete() -> None:
    """The kubelet does not register again by itself; healed it does, as another object."""

    async def body(cluster: Cluster) -> None:
        uid = cluster.view.the(Node, "node-0", "").metadata.uid
        delete = await cluster.chaos.strike("node.delete", "node-0")
        await struck(cluster, 120)
        assert cluster.view.get(Node, "node-0", "") is None
        assert cluster.machines["node-0"].process.living
        await delete.heal()
        await cluster.until(lambda view: view.node("node-0").ready, "30s")
        assert cluster.view.the(Node, "node-0", "").metadata.uid != uid
        await cluster.settled()

    play(body)


def test_unknown_targets() -> None:
    """Names that are not there are errors for every fault of nodes and kubelets, and so are parameters it does not have."""

    async def body(cluster: Cluster) -> None:
        for kind in CATALOGUE.values():
            if kind.family in {"node", "kubelet"} and kind.name != "node.zone_outage":
                target = "node-9" if kind.name != "kubelet.status_lies" else "default/no"
                with pytest.raises(UnknownTarget, match=r"node-9|there is no pod default/no"):
                    await cluster.chaos.strike(kind.name, target)
                with pytest.raises(BadInput, match="has no parameter 'no'"):
                    await cluster.chaos.strike(kind.name, "node-0", no=1)
        assert residue(cluster.chaos.world) == []

    play(body)
