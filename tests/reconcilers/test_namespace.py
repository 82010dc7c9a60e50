"""Namespaces come with an account and go with all they hold."""

from __future__ import annotations

import attrs
import pytest
import trio

from engine import (
    ConfigMap,
    Forbidden,
    Namespace,
    ObjectMeta,
    Pod,
    ServiceAccount,
    condition_of,
)
from reconcilers.deployment import DeploymentReconciler
from reconcilers.garbage_collector import GarbageCollector
from reconcilers.namespace import NamespaceReconciler
from reconcilers.replicaset import ReplicaSetReconciler
from reconcilers.service_account import ServiceAccountReconciler
from tests.reconcilers.workload_world import World, deployment, simulate

CONTROLLERS = (
    DeploymentReconciler(),
    ReplicaSetReconciler(),
    GarbageCollector(),
    NamespaceReconciler(),
    ServiceAccountReconciler(),
)


async def fill(world: World) -> None:
    """A namespace `shop` with a Deployment of three ready pods and a ConfigMap."""
    await world.client.create(Namespace(metadata=ObjectMeta(name="shop")))
    web = deployment()
    await world.client.create(
        attrs.evolve(web, metadata=attrs.evolve(web.metadata, namespace="shop"))
    )
    await world.client.create(ConfigMap(metadata=ObjectMeta(name="m", namespace="shop")))
    await trio.sleep(10)
    assert len(await world.pods("shop")) == 3


def problem(namespace: Namespace, type_: str) -> str:
    condition = condition_of(namespace.status.conditions, type_)
    return condition.message if condition is not None and condition.status == "True" else ""


def test_every_namespace_has_its_account() -> None:
    """Made with the namespace, and again when it is deleted."""

    async def test(world: World) -> None:
        await trio.sleep(1)
        assert await world.find(ServiceAccount, "default", "kube-system") is not None
        await world.client.create(Namespace(metadata=ObjectMeta(name="shop")))
        await trio.sleep(1)
        made = await world.client.get(ServiceAccount, "default", "shop")
        await world.client.delete(made)
        await trio.sleep(1)
        again = await world.client.get(ServiceAccount, "default", "shop")
        assert made.metadata.uid != again.metadata.uid

    simulate(test, *CONTROLLERS)


def test_a_deleted_namespace_waits_for_its_pods() -> None:
    """10.16: it says what remains, takes nothing new, and goes when the last pod has gone."""

    async def test(world: World) -> None:
        world.stop_seconds = 25.0
        await fill(world)
        await world.client.delete(Namespace, "shop")
        begun = world.now
        await trio.sleep(10)

        namespace = await world.client.get(Namespace, "shop")
        assert namespace.status.phase == "Terminating"
        remaining = "Some resources are remaining: pods. has 3 resource instances"
        assert remaining == problem(namespace, "NamespaceContentRemaining")
        assert problem(namespace, "NamespaceDeletionContentFailure") == ""
        with pytest.raises(Forbidden):
            await world.client.create(ConfigMap(metadata=ObjectMeta(name="n", namespace="shop")))

        async def gone() -> bool:
            return await world.find(Namespace, "shop", "") is None

        await world.until(gone)
        assert 30 <= world.now - begun <= 60
        left = [event.key for event in world.store.history() if "/shop/" in event.key]
        assert left
        assert await world.client.list(Pod, "shop") == []
        assert await world.client.list(ConfigMap, "shop") == []
        assert await world.client.list(ServiceAccount, "shop") == []

    simulate(test, *CONTROLLERS)


def test_finalizers_hold_it_and_are_told() -> None:
    """Whoever put the finalizer there must take it away."""

    async def test(world: World) -> None:
        await world.client.create(Namespace(metadata=ObjectMeta(name="shop")))
        held = ConfigMap(
            metadata=ObjectMeta(name="m", namespace="shop", finalizers=("example.com/keep",))
        )
        await world.client.create(held)
        await world.client.delete(Namespace, "shop")
        await trio.sleep(60)
        namespace = await world.client.get(Namespace, "shop")
        message = (
            "Some content in the namespace has finalizers remaining: "
            "example.com/keep in 1 resource instances"
        )
        assert message == problem(namespace, "NamespaceFinalizersRemaining")

        live = await world.client.get(ConfigMap, "m", "shop")
        metadata = attrs.evolve(live.metadata, finalizers=())
        await world.client.update(attrs.evolve(live, metadata=metadata))
        await trio.sleep(20)
        assert await world.find(Namespace, "shop", "") is None

    simulate(test, *CONTROLLERS)


def test_what_overstays_its_grace_is_an_error_and_tried_again() -> None:
    """A pod on a dead node: reported, with tries at most a minute apart, and noticed when it is
    gone.
    """

    async def test(world: World) -> None:
        world.stop_seconds = 400.0
        await fill(world)
        await world.client.delete(Namespace, "shop")
        await trio.sleep(200)
        namespace = await world.client.get(Namespace, "shop")
        message = (
            "Failed to delete all resource types, 1 remaining: unexpected items still remain in "
            "namespace: shop for gvr: /v1, Resource=pods"
        )
        assert message == problem(namespace, "NamespaceDeletionContentFailure")
        await trio.sleep(300)
        assert await world.find(Namespace, "shop", "") is None

    simulate(test, *CONTROLLERS)


@pytest.mark.parametrize("seed", range(4))
def test_it_may_crash_at_any_time(seed: int) -> None:
    """The namespace goes all the same."""

    async def test(world: World) -> None:
        await fill(world)
        await world.client.delete(Namespace, "shop")
        for round_ in range(8):
            await trio.sleep(world.simulation.draws.uniform("test/pause", round_, 0.0, 6.0))
            world.crash("namespace")
            world.start(CONTROLLERS[3])
        await trio.sleep(120)
        assert await world.find(Namespace, "shop", "") is None

    simulate(test, *CONTROLLERS, seed=seed)
