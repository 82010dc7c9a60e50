"""ReplicaSets and ReplicationControllers in a cluster."""

from __future__ import annotations

import attrs
import pytest
import trio

from engine import (
    Forbidden,
    LabelSelector,
    ObjectMeta,
    Pod,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicationController,
    ReplicationControllerSpec,
    condition_of,
    is_active,
)
from reconcilers.replicaset import ReplicaSetReconciler
from reconcilers.replication_controller import ReplicationControllerReconciler
from tests.reconcilers.workload_world import World, refuse_pods, simulate, template

CONTROLLERS = (ReplicaSetReconciler(), ReplicationControllerReconciler())


def replica_set(replicas: int = 3, min_ready: int = 0) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=min_ready,
            selector=LabelSelector(match_labels={"app": "web"}),
            template=template(1),
        ),
    )


async def settled(world: World, replicas: int) -> None:
    async def holds() -> bool:
        live = await world.client.get(ReplicaSet, "web", "default")
        status = live.status
        return status.replicas == status.available_replicas == replicas

    await world.until(holds)


def test_a_deleted_pod_is_replaced_at_once() -> None:
    """10.3: the replacement does not wait for the end of the old pod."""

    async def test(world: World) -> None:
        world.stop_seconds = 20.0
        await world.client.create(replica_set())
        await settled(world, 3)
        victim = (await world.pods())[0]
        await world.client.delete(victim)
        await trio.sleep(1)

        pods = await world.pods()
        assert (len(pods), sum(map(is_active, pods))) == (4, 3)
        await settled(world, 3)
        await trio.sleep(30)
        assert len(await world.pods()) == 3

    simulate(test, *CONTROLLERS)


def test_orphans_are_adopted_and_strangers_released() -> None:
    """A matching orphan counts; a pod that ceases to match is let go and replaced."""

    async def test(world: World) -> None:
        orphan = Pod(
            metadata=ObjectMeta(name="orphan", namespace="default", labels={"app": "web"}),
            spec=template(1).spec,
        )
        await world.client.create(orphan)
        await world.client.create(replica_set())
        await settled(world, 3)
        adopted = await world.client.get(Pod, "orphan", "default")
        assert adopted.metadata.controller is not None

        patch = {"metadata": {"labels": {"app": "debug"}}}
        await world.client.patch(Pod, "orphan", "default", patch)
        await settled(world, 3)
        await trio.sleep(5)
        released = await world.client.get(Pod, "orphan", "default")
        assert released.metadata.controller is None
        assert len(await world.pods()) == 4

    simulate(test, *CONTROLLERS)


def test_scaling_down_keeps_the_pods_that_serve() -> None:
    """10.23: the one that is not ready goes first."""

    async def test(world: World) -> None:
        await world.client.create(replica_set(4))
        await settled(world, 4)
        sick = (await world.pods())[2].metadata.name
        await world.report(sick, ready=False)
        await world.client.scale(ReplicaSet, "web", "default", 3)
        await trio.sleep(10)

        names = [pod.metadata.name for pod in await world.pods()]
        assert len(names) == 3
        assert sick not in names
        assert [f"Deleted pod: {sick}"] == await world.messages("SuccessfulDelete")

    simulate(test, *CONTROLLERS)


def test_min_ready_seconds_delay_availability() -> None:
    """Ready first, available when the time has come, without any event to wake the controller."""

    async def test(world: World) -> None:
        await world.client.create(replica_set(2, min_ready=30))
        await trio.sleep(10)
        live = await world.client.get(ReplicaSet, "web", "default")
        assert (live.status.ready_replicas, live.status.available_replicas) == (2, 0)

        await trio.sleep(25)
        live = await world.client.get(ReplicaSet, "web", "default")
        assert live.status.available_replicas == 2

    simulate(test, *CONTROLLERS)


def test_refused_creates_back_off_and_are_told() -> None:
    """10.25: slow start stops at the first failure, the condition is set, and goes when pods can be
    made.
    """

    async def test(world: World) -> None:
        wire = world.wires["replicaset"]
        wire.refuse = refuse_pods(Forbidden("exceeded quota: q"))
        await world.client.create(replica_set(50))
        await trio.sleep(60)
        live = await world.client.get(ReplicaSet, "web", "default")
        failure = condition_of(live.status.conditions, "ReplicaFailure")
        assert failure is not None
        assert (failure.reason, failure.message) == ("FailedCreate", "exceeded quota: q")
        asked = sum(1 for r in wire.requests if wire.refuse(r) is not None)
        assert 5 < asked < 20, "one per try, and tries ever further apart"
        assert await world.messages("FailedCreate") == ["Error creating: exceeded quota: q"]

        wire.refuse = lambda _request: None
        await settled(world, 50)
        live = await world.client.get(ReplicaSet, "web", "default")
        assert None is condition_of(live.status.conditions, "ReplicaFailure")

    simulate(test, *CONTROLLERS)


@pytest.mark.parametrize("seed", range(6))
def test_no_pod_is_made_twice(seed: int) -> None:
    """10.19: however often the controller is stopped, so many pods are made as were asked for."""

    async def test(world: World) -> None:
        draws = world.simulation.draws
        await world.client.create(replica_set(20))
        for round_ in range(6):
            await trio.sleep(draws.uniform("test/pause", round_, 0.0, 0.01))
            world.crash("replicaset")
            world.start(CONTROLLERS[0])
        await settled(world, 20)
        await trio.sleep(10)

        # A create in flight when the controller was stopped is made and not known of until the
        # cache has synced.
        assert len(await world.pods()) == 20
        assert world.made("pods") <= 20 + 6

    simulate(test, *CONTROLLERS, seed=seed)


@pytest.mark.parametrize("lag", [0.5, 20.0])
def test_a_stale_cache_makes_no_pod_twice(lag: float) -> None:
    """Expectations: what was asked for and not yet seen is neither made nor deleted again."""

    async def test(world: World) -> None:
        world.start_seconds = 0.2
        world.start(ReplicaSetReconciler(), lag=lag)
        await world.client.create(replica_set(10))
        await trio.sleep(8 * lag + 10)
        await world.client.scale(ReplicaSet, "web", "default", 4)
        await trio.sleep(8 * lag + 10)

        assert len(await world.pods()) == 4
        assert world.made("pods") == 10

    simulate(test)


def test_a_replication_controller_does_the_same() -> None:
    """Pods, references and status, through the same engine."""

    async def test(world: World) -> None:
        spec = ReplicationControllerSpec(
            replicas=3,
            selector={"app": "old"},
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels={"app": "old"}), spec=template(1).spec
            ),
        )
        metadata = ObjectMeta(name="old", namespace="default")
        await world.client.create(ReplicationController(metadata=metadata, spec=spec))
        await trio.sleep(10)

        live = await world.client.get(ReplicationController, "old", "default")
        assert (live.status.replicas, live.status.available_replicas) == (3, 3)
        owners = [pod.metadata.controller for pod in await world.pods()]
        assert [owner.kind for owner in owners if owner] == ["ReplicationController"] * 3
        smaller = attrs.evolve(live, spec=attrs.evolve(live.spec, replicas=1))
        await world.client.update(smaller)
        await trio.sleep(10)
        assert len(await world.pods()) == 1

    simulate(test, *CONTROLLERS)
