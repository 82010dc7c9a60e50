"""The faults of containers and workloads: what each does, as the API shows it."""

from __future__ import annotations

import pytest
import trio

from engine import ConfigMap, ObjectMeta
from tests.wavetank.faults.playing import first, play, ready, reasons, shown, status
from wavetank import BadInput, Cluster, Deployment, Pod, UnknownTarget
from wavetank.faults.residue import residue

POD = "Deployment/default/web#0"
WEB = "Deployment/default/web"


async def after(cluster: Cluster, seconds: float) -> None:
    await trio.sleep(seconds)
    await cluster.observer.caught_up(cluster.log.head)


@pytest.mark.parametrize(
    ("fault", "reason"), [("workload.kill", "Error"), ("workload.oom", "OOMKilled")]
)
def test_kill(fault: str, reason: str) -> None:
    """Exit code 137; the container is restarted."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        active = await cluster.chaos.strike(fault, POD)
        assert active.healed
        await after(cluster, 2)
        await cluster.settled()
        found = status(cluster, pod)
        assert found.restart_count == 1
        assert found.last_state is not None
        assert found.last_state.terminated is not None
        assert (137, reason) == (
            found.last_state.terminated.exit_code,
            found.last_state.terminated.reason,
        )
        with pytest.raises(UnknownTarget, match="no container is called 'side'; there are: main"):
            await cluster.chaos.strike(fault, POD, container="side")

    play(body)


def test_crash_loop() -> None:
    """CrashLoopBackOff while it lasts; healed, the container that runs goes on, and the next one too."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        loop = await cluster.chaos.strike("workload.crash_loop", POD, after="2s..4s")
        waiting = []
        for _ in range(240):
            await after(cluster, 1)
            state = status(cluster, pod).state
            if state is not None and state.waiting is not None:
                waiting.append(state.waiting.reason)
        assert {"CrashLoopBackOff"} == {*waiting}
        assert "BackOff" in reasons(cluster, pod.metadata.name)
        restarts = status(cluster, pod).restart_count
        assert restarts >= 3
        await loop.heal()
        await cluster.settled()
        await after(cluster, 600)
        assert status(cluster, pod).restart_count <= restarts + 1
        assert ready(shown(cluster, pod))

    play(body)


def test_a_healed_crash_loop_spares_the_container_that_runs() -> None:
    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        one = await cluster.chaos.strike("workload.crash_loop", POD, after="30s")
        two = await cluster.chaos.strike("workload.crash_loop", POD, after="20s")
        await after(cluster, 10)
        await two.heal()
        await after(cluster, 15)
        assert status(cluster, pod).restart_count == 0
        await one.heal()
        await after(cluster, 120)
        assert status(cluster, pod).restart_count == 0

    play(body)


def test_hang() -> None:
    """The liveness probe fails and the container is restarted, in vain until it is healed."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        hang = await cluster.chaos.strike("workload.hang", POD)
        await cluster.until(lambda _: status(cluster, pod).restart_count >= 2, "3m")
        assert not ready(shown(cluster, pod))
        assert "Unhealthy" in reasons(cluster, pod.metadata.name)
        await hang.heal()
        await cluster.settled()
        restarts = status(cluster, pod).restart_count
        await after(cluster, 120)
        assert status(cluster, pod).restart_count == restarts

    play(body)


def test_a_hang_that_nobody_probes_for_is_not_noticed() -> None:
    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        await cluster.chaos.strike("workload.hang", POD, 120)
        await after(cluster, 240)
        assert status(cluster, pod).restart_count == 0
        assert ready(shown(cluster, pod))
        flap = await cluster.chaos.strike("workload.readiness_flap", POD, 60)
        assert flap.healed, "it has no readiness probe"

    play(body, probes="imagePullPolicy: IfNotPresent")


def test_readiness_flap() -> None:
    """Ready and not, with no restart; healed it is ready for good."""

    async def body(cluster: Cluster) -> None:
        pod = first(cluster)
        flap = await cluster.chaos.strike(
            "workload.readiness_flap", POD, unready="20s", ready="20s"
        )
        for _ in range(3):
            await cluster.until(lambda _: not ready(shown(cluster, pod)), "40s")
            await cluster.until(lambda _: ready(shown(cluster, pod)), "40s")
        await cluster.until(lambda _: not ready(shown(cluster, pod)), "40s")
        await flap.heal()
        assert residue(cluster.chaos.world) == []
        await cluster.until(lambda _: ready(shown(cluster, pod)), "5s")
        for _ in range(30):
            await after(cluster, 5)
            assert ready(shown(cluster, pod))
        assert status(cluster, pod).restart_count == 0

    play(body)


# -- workloads -------------------------------------------------------------------------------------


def test_surge() -> None:
    """By a factor and to a number; two of them are taken out in any order."""

    async def body(cluster: Cluster) -> list[int]:
        found = []

        async def note() -> None:
            await cluster.observer.caught_up(cluster.log.head)
            found.append(cluster.view.deployment("web").desired)

        one = await cluster.chaos.strike("workload.surge", WEB)
        await note()
        two = await cluster.chaos.strike("workload.surge", WEB, factor=3)
        await note()
        await one.heal()
        await note()
        await two.heal()
        await note()
        three = await cluster.chaos.strike("workload.surge", WEB, replicas=5)
        await note()
        await three.heal()
        await note()
        return found

    assert [4, 12, 6, 2, 5, 2] == play(body, replicas=2)


def test_a_surge_leaves_alone_what_somebody_else_has_scaled() -> None:
    async def body(cluster: Cluster) -> None:
        one = await cluster.chaos.strike("workload.surge", WEB)
        await cluster.client.scale(Deployment, "web", "default", 4)
        two = await cluster.chaos.strike("workload.surge", WEB)
        await one.heal()
        await cluster.observer.caught_up(cluster.log.head)
        assert cluster.view.deployment("web").desired == 8
        await two.heal()
        await cluster.settled()
        assert cluster.view.deployment("web").desired == 4
        assert residue(cluster.chaos.world) == []

    play(body)


def test_rollout() -> None:
    """All pods are replaced, by another ReplicaSet."""

    async def body(cluster: Cluster) -> None:
        old = {pod.metadata.uid for pod in cluster.view.pods("app=web")}
        await cluster.chaos.strike("workload.rollout", WEB)
        await cluster.until(lambda view: view.deployment("web").complete, "5m")
        await cluster.settled()
        assert not old & {pod.metadata.uid for pod in cluster.view.pods("app=web")}
        deployment = cluster.view.the(Deployment, "web")
        assert deployment.spec.template is not None
        annotations = deployment.spec.template.metadata.annotations
        assert ["kubectl.kubernetes.io/restartedAt"] == list(annotations)

    play(body)


def test_recreate() -> None:
    """A Deployment and a pod come back under their names as others."""

    async def body(cluster: Cluster) -> None:
        before = cluster.view.the(Deployment, "web")
        await cluster.chaos.strike("workload.recreate", WEB)
        await cluster.settled()
        made = cluster.view.the(Deployment, "web")
        assert made.metadata.uid != before.metadata.uid
        assert made.spec == before.spec
        pod = first(cluster)
        await cluster.chaos.strike("workload.recreate", f"Pod/default/{pod.metadata.name}")
        await cluster.observer.caught_up(cluster.log.head)
        again = cluster.view.the(Pod, pod.metadata.name)
        assert again.metadata.uid != pod.metadata.uid
        assert again.status.phase == "Pending"
        await cluster.settled()
        assert 3 == len(cluster.view.pods("app=web"))

    play(body)


def test_what_cannot_be_is_said() -> None:
    """Unknown targets and parameters are errors; an object on which the fault can do nothing is left alone."""

    async def body(cluster: Cluster) -> None:
        strike = cluster.chaos.strike
        await cluster.apply(ConfigMap(metadata=ObjectMeta(name="data"), data={"a": "1"}))
        await cluster.observer.caught_up(cluster.log.head)
        for fault in ("workload.surge", "workload.rollout"):
            assert (await strike(fault, "ConfigMap/default/data")).healed
            with pytest.raises(UnknownTarget, match="there is no Deployment/default/wob"):
                await strike(fault, "Deployment/default/wob")
            with pytest.raises(UnknownTarget, match="there is no Deployment/web"):
                await strike(fault, "Deployment/web")
            with pytest.raises(UnknownTarget, match='no matches for kind "Deploymend"'):
                await strike(fault, "Deploymend/default/web")
        with pytest.raises(UnknownTarget, match="there is no pod default/no"):
            await strike("workload.kill", "default/no")
        with pytest.raises(UnknownTarget, match="Deployment/default/wob has no living pods"):
            await strike("workload.hang", "Deployment/default/wob#0")
        with pytest.raises(BadInput, match=r"parameters\.factor: -1; allowed: a number, 0 or more"):
            await strike("workload.surge", WEB, factor=-1)
        with pytest.raises(BadInput, match=r"parameters\.replicas: -1; allowed: a whole number"):
            await strike("workload.surge", WEB, replicas=-1)
        await cluster.chaos.strike("node.crash", first(cluster).spec.node_name, 5)
        kill = await strike("workload.kill", f"default/{first(cluster).metadata.name}")
        assert kill.healed
        await after(cluster, 10)
        assert residue(cluster.chaos.world) == []

    play(body)


def test_an_object_with_finalizers_is_not_recreated() -> None:
    async def body(cluster: Cluster) -> None:
        metadata = ObjectMeta(name="held", finalizers=("example.org/hold",))
        await cluster.apply(ConfigMap(metadata=metadata))
        await cluster.observer.caught_up(cluster.log.head)
        uid = cluster.view.the(ConfigMap, "held").metadata.uid
        await cluster.chaos.strike("workload.recreate", "ConfigMap/default/held")
        await cluster.observer.caught_up(cluster.log.head)
        held = cluster.view.the(ConfigMap, "held")
        assert (uid, None) == (held.metadata.uid, held.metadata.deletion_timestamp)

    play(body)
