"""The faults of kubelets: what each does, as the API and the runtime show it."""

from __future__ import annotations

import pytest
import trio

from engine import Lease, Pod
from tests.wavetank.faults.playing import (
    condition,
    first,
    play,
    ready,
    reasons,
    shown,
    status,
    unhealthy,
)
from wavetank import BadInput, Cluster, Node, is_ready
from wavetank.faults.residue import residue

POD = "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: node-0, containers: [{{name: c, image: 'registry.example/{name}:1'}}]}}}}"


async def after(cluster: Cluster, seconds: float) -> None:
    await trio.sleep(seconds)
    await cluster.observer.caught_up(cluster.log.head)


def renewed(cluster: Cluster, node: str) -> float:
    """Seconds since the lease was renewed."""
    lease = cluster.view.the(Lease, node, "kube-node-lease")
    assert lease.spec.renew_time is not None
    return (cluster.clock.unix_us() - lease.spec.renew_time) / 1e6


# -- heartbeats ------------------------------------------------------------------------------------


def test_heartbeats_lost() -> None:
    """The node is given up while its kubelet still starts pods and reports them."""

    async def body(cluster: Cluster) -> None:
        lost = await cluster.chaos.strike("kubelet.heartbeats_lost", "node-0")
        await cluster.until(lambda view: unhealthy(view, "node-0"), "60s")
        assert "Unknown" == condition(cluster, "node-0", "Ready")
        await cluster.apply(POD.format(name="late"))
        await cluster.until(lambda view: is_ready(view.the(Pod, "late")), "30s")
        await lost.heal()
        await cluster.until(lambda view: not unhealthy(view, "node-0"), "15s")
        await cluster.settled()

    play(body)


def test_lost_heartbeats_stay_lost_when_the_kubelet_is_restarted() -> None:
    async def body(cluster: Cluster) -> None:
        await cluster.chaos.strike("kubelet.heartbeats_lost", "node-0", 300)
        await after(cluster, 5)
        await cluster.chaos.strike("kubelet.restart", "node-0")
        await cluster.until(lambda view: unhealthy(view, "node-0"), "60s")
        await after(cluster, 60)
        assert 100 < renewed(cluster, "node-0")
        await cluster.until(lambda view: not unhealthy(view, "node-0"), "5m")

    play(body)


def test_heartbeats_late() -> None:
    """Late is not lost: with less than the grace between two of them the node stays ready."""

    async def body(cluster: Cluster) -> None:
        late = await cluster.chaos.strike("kubelet.heartbeats_late", "node-0", delay="20s..25s")
        ages = []
        for _ in range(60):
            await after(cluster, 5)
            assert cluster.view.node("node-0").ready
            ages.append(renewed(cluster, "node-0"))
        assert 20 < max(ages) < 40
        await late.heal()
        await after(cluster, 10)
        assert renewed(cluster, "node-0") <= 10

    play(body)


def test_heartbeats_flap() -> None:
    """The node goes and comes, and for good when it is healed."""

    async def body(cluster: Cluster) -> None:
        flap = await cluster.chaos.strike(
            "kubelet.heartbeats_flap", "node-0", lost="90s", sent="40s"
        )
        for _ in range(2):
            await cluster.until(lambda view: unhealthy(view, "node-0"), "90s")
            await cluster.until(lambda view: not unhealthy(view, "node-0"), "90s")
        await flap.heal()
        assert residue(cluster.chaos.world) == []
        for _ in range(20):
            await after(cluster, 10)
            assert cluster.view.node("node-0").ready

    play(body)


# -- what it reaches, sees and says ----------------------------------------------------------------


def test_cut_off_gives_two_lives_to_one_pod() -> None:
    """Evicted on paper, its containers run on beside their replacement's, until the kubelet hears of it."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        node = pod.spec.node_name
        machine = cluster.machines[node]
        cut = await cluster.chaos.strike("kubelet.cut_off", node)
        await cluster.until(
            lambda view: view.deployment("web").complete and len(view.pods("app=web")) == 4, "10m"
        )
        assert shown(cluster, pod).metadata.deletion_timestamp is not None
        running = [
            r for m in cluster.machines.values() for r in m.runtime.running(cluster.clock.now_ns())
        ]
        assert 4 == len(running)
        assert machine.runtime.running_of(pod.metadata.uid, cluster.clock.now_ns())
        await cut.heal()
        await cluster.until(lambda view: len(view.pods("app=web")) == 3, "60s")
        assert machine.runtime.running(cluster.clock.now_ns()) == []
        await cluster.settled()

    play(body)


def test_status_lies() -> None:
    """Ready on paper and dead in truth, even for a new kubelet; healed the truth comes out, and the container back."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        machine = cluster.machines[pod.spec.node_name]
        lie = await cluster.chaos.strike("kubelet.status_lies", "Deployment/default/web#0")
        for _ in range(2):
            await after(cluster, 120)
            assert ready(shown(cluster, pod))
            assert status(cluster, pod).restart_count == 0
            assert machine.runtime.running_of(pod.metadata.uid, cluster.clock.now_ns()) == []
            await cluster.chaos.strike("kubelet.restart", machine.name)
        await lie.heal()
        await cluster.until(lambda _: not ready(shown(cluster, pod)), "5s")
        await cluster.settled()
        assert status(cluster, pod).restart_count == 1

    play(body)


def test_stuck_termination() -> None:
    """Deleted pods stay, and run; healed they go within their grace."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        machine = cluster.machines[pod.spec.node_name]
        stuck = await cluster.chaos.strike("kubelet.stuck_termination", machine.name)
        await cluster.client.delete(pod)
        await after(cluster, 300)
        assert shown(cluster, pod).metadata.deletion_timestamp is not None
        assert machine.runtime.running_of(pod.metadata.uid, cluster.clock.now_ns())
        await stuck.heal()
        await cluster.until(lambda view: view.get(Pod, pod.metadata.name) is None, "15s")
        await cluster.settled()

    play(body)


# -- pulls -----------------------------------------------------------------------------------------


def test_pull_slow() -> None:
    """A pull takes longer, and its healing shortens it."""

    async def body(cluster: Cluster) -> None:
        slow = await cluster.chaos.strike("kubelet.pull_slow", "node-0", extra="10m")
        began = cluster.clock.now()
        await cluster.apply(POD.format(name="a"))
        await cluster.apply(POD.format(name="b"))
        await after(cluster, 60)
        assert not is_ready(cluster.view.the(Pod, "a"))
        await slow.heal()
        await cluster.until(lambda view: is_ready(view.the(Pod, "a")), "10s")
        await cluster.until(lambda view: is_ready(view.the(Pod, "b")), "10s")
        assert cluster.clock.now() - began < 75

    play(body)


def test_pull_failing() -> None:
    """ErrImagePull, then ImagePullBackOff with the cause; the next try after the heal succeeds. Other images are pulled."""

    async def body(cluster: Cluster) -> None:
        failing = await cluster.chaos.strike(
            "kubelet.pull_failing", "node-0", image="*/a:*", error="no such host"
        )
        await cluster.apply(POD.format(name="a"))
        await cluster.apply(POD.format(name="b"))
        seen = {}
        for _ in range(60):
            await after(cluster, 1)
            state = cluster.view.the(Pod, "a").status.container_statuses
            if state and state[0].state is not None and state[0].state.waiting is not None:
                seen[state[0].state.waiting.reason] = state[0].state.waiting.message
        assert {
            "ContainerCreating": "",
            "ErrImagePull": "no such host",
            "ImagePullBackOff": 'Back-off pulling image "registry.example/a:1": ErrImagePull: no such host',
        } == seen
        assert {"Pulling", "Failed", "BackOff"} <= {*reasons(cluster, "a")}
        assert is_ready(cluster.view.the(Pod, "b"))
        await failing.heal()
        await cluster.settled()

    play(body)


# -- the process -----------------------------------------------------------------------------------


def test_pause() -> None:
    """Nothing is heard of it, and its containers run on."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        machine = cluster.machines[pod.spec.node_name]
        pause = await cluster.chaos.strike("kubelet.pause", machine.name)
        again = await cluster.chaos.strike("kubelet.pause", machine.name)
        await cluster.until(lambda view: unhealthy(view, machine.name), "60s")
        assert machine.runtime.running_of(pod.metadata.uid, cluster.clock.now_ns())
        await pause.heal()
        assert ("strike-2",) == machine.process.statistics().held_by
        await again.heal()
        await cluster.until(lambda view: not unhealthy(view, machine.name), "20s")
        await cluster.settled()
        assert status(cluster, pod).restart_count == 0

    play(body)


def test_restart() -> None:
    """Another incarnation, the same containers; without power it has no effect."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        machine = cluster.machines[pod.spec.node_name]
        starts = machine.kubelet.statistics().starts
        await cluster.chaos.strike("kubelet.restart", machine.name)
        await after(cluster, 30)
        assert machine.kubelet.statistics().starts == starts + 1
        assert status(cluster, pod).restart_count == 0
        await cluster.chaos.strike("node.crash", machine.name, 10)
        await cluster.chaos.strike("kubelet.restart", machine.name)
        assert machine.down
        await after(cluster, 30)
        assert not machine.down

    play(body)


def test_a_restart_while_containers_start_loses_none() -> None:
    """The kubelet that comes sees them run, though another one had begun to start them."""

    async def body(cluster: Cluster) -> None:
        machine = cluster.machines["node-0"]
        await cluster.apply(POD.format(name="a"))
        for _ in range(200):
            now = cluster.clock.now_ns()
            pods = machine.runtime.pods.values()
            made = [each[-1] for pod in pods for each in pod.containers.values()]
            if any(record.started_ns > now for record in made):
                break
            await trio.sleep(0.05)
        await cluster.chaos.strike("kubelet.restart", "node-0")
        await cluster.settled("10s")

    play(body)


def test_parameters_are_checked() -> None:
    """Bad values are errors that say what is allowed, and strike nothing."""

    async def body(cluster: Cluster) -> None:
        strike = cluster.chaos.strike
        with pytest.raises(BadInput, match=r"parameters\.delay: 'soon' is no duration"):
            await strike("kubelet.heartbeats_late", "node-0", delay="soon")
        with pytest.raises(BadInput, match=r"parameters\.kill: 1; allowed: true or false"):
            await strike("kubelet.status_lies", "Deployment/default/web#0", kill=1)
        with pytest.raises(BadInput, match=r"kubelet\.restart takes no time"):
            await strike("kubelet.restart", "node-0", 5)
        assert cluster.view.get(Node, "node-0", "") is not None
        assert residue(cluster.chaos.world) == []

    play(body)
