"""The garbage collector in a cluster, with built-in and custom kinds."""

from __future__ import annotations

import attrs
import pytest
import trio

from engine import (
    ConfigMap,
    Deployment,
    KubeObject,
    ObjectMeta,
    OwnerReference,
    Pod,
    Propagation,
    ReplicaSet,
    Resource,
    Scheme,
    ServiceAccount,
    Uid,
    Unstructured,
    default_scheme,
)
from reconcilers.deployment import DeploymentReconciler
from reconcilers.garbage_collector import GarbageCollector
from reconcilers.replicaset import ReplicaSetReconciler
from tests.reconcilers.workload_world import Wire, World, deployment, simulate

CONTROLLERS = (DeploymentReconciler(), ReplicaSetReconciler(), GarbageCollector())

WIDGET = Resource(
    group="example.com",
    version="v1",
    kind="Widget",
    plural="widgets",
    singular="widget",
    custom=True,
)


def with_widgets() -> Scheme:
    scheme = default_scheme()
    scheme.register(WIDGET)
    return scheme


def widget(name: str) -> Unstructured:
    return Unstructured(
        api_version="example.com/v1",
        kind="Widget",
        metadata=ObjectMeta(name=name, namespace="default"),
        body={"spec": {"size": 1}},
    )


def owned_by(*owners: KubeObject, name: str = "child", namespace: str = "default") -> ConfigMap:
    references = tuple(
        OwnerReference(
            api_version=owner.api_version,
            kind=owner.kind,
            name=owner.metadata.name,
            uid=owner.metadata.uid,
            block_owner_deletion=True,
        )
        for owner in owners
    )
    metadata = ObjectMeta(name=name, namespace=namespace, owner_references=references)
    return ConfigMap(metadata=metadata)


async def owner(world: World, name: str) -> ConfigMap:
    metadata = ObjectMeta(name=name, namespace="default")
    return await world.client.create(ConfigMap(metadata=metadata))


async def counts(world: World) -> tuple[int, int, int]:
    """Deployments, ReplicaSets and pods."""
    client = world.client
    return (
        len(await client.list(Deployment, "default")),
        len(await client.list(ReplicaSet, "default")),
        len(await client.list(Pod, "default")),
    )


def test_background_takes_the_dependants_afterwards() -> None:
    """The Deployment is gone at once, the ReplicaSet soon, the pods after their grace."""

    async def test(world: World) -> None:
        await world.client.create(deployment())
        await world.complete()
        live = await world.client.get(Deployment, "web", "default")
        await world.client.delete(live)
        assert (await counts(world))[0] == 0
        await trio.sleep(10)
        assert await counts(world) == (0, 0, 0)

    simulate(test, *CONTROLLERS)


def test_foreground_takes_the_owner_last() -> None:
    """10.17: finalizers are removed bottom-up."""

    async def test(world: World) -> None:
        world.stop_seconds = 10.0
        await world.client.create(deployment())
        await world.complete()
        live = await world.client.get(Deployment, "web", "default")
        await world.client.delete(live, propagation=Propagation.FOREGROUND)
        await trio.sleep(5)
        assert await counts(world) == (1, 1, 3)
        live = await world.client.get(Deployment, "web", "default")
        assert live.metadata.finalizers == ("foregroundDeletion",)
        assert live.metadata.deletion_timestamp is not None
        await trio.sleep(20)
        assert await counts(world) == (0, 0, 0)

    simulate(test, *CONTROLLERS)


def test_orphans_stay() -> None:
    """The ReplicaSet and its pods go on without the Deployment."""

    async def test(world: World) -> None:
        await world.client.create(deployment())
        await world.complete()
        live = await world.client.get(Deployment, "web", "default")
        await world.client.delete(live, propagation=Propagation.ORPHAN)
        await trio.sleep(20)
        assert await counts(world) == (0, 1, 3)
        (left,) = await world.client.list(ReplicaSet, "default")
        assert left.metadata.owner_references == ()

    simulate(test, *CONTROLLERS)


@pytest.mark.parametrize("seed", range(6))
def test_it_may_crash_at_any_time(seed: int) -> None:
    """Stopped again and again in the middle of a foreground deletion; what was missed is found at
    the start.
    """

    async def test(world: World) -> None:
        draws = world.simulation.draws
        await world.client.create(deployment(5))
        await world.complete()
        live = await world.client.get(Deployment, "web", "default")
        await world.client.delete(live, propagation=Propagation.FOREGROUND)
        for round_ in range(6):
            await trio.sleep(draws.uniform("test/pause", round_, 0.0, 0.4))
            world.crash("garbagecollector")
            await trio.sleep(draws.uniform("test/down", round_, 0.0, 0.4))
            world.start(CONTROLLERS[2])
        await trio.sleep(20)
        assert await counts(world) == (0, 0, 0)

    simulate(test, *CONTROLLERS, seed=seed)


@pytest.mark.parametrize("policy", list(Propagation))
@pytest.mark.parametrize("write", range(1, 6))
def test_a_cut_after_any_write_is_harmless(policy: Propagation, write: int) -> None:
    """It dies after its n-th write, not knowing that it was done, and starts anew."""

    async def test(world: World) -> None:
        wire = world.wires["garbagecollector"]

        def cut() -> None:
            world.crash("garbagecollector")
            world.start(GarbageCollector())

        wire.cut_at, wire.cut = write, cut
        top = await owner(world, "top")
        middle = await world.client.create(owned_by(top, name="middle"))
        for number in range(4):
            await world.client.create(owned_by(middle, name=f"leaf-{number}"))
        await trio.sleep(1)
        await world.client.delete(top, propagation=policy)
        await trio.sleep(30)

        left = [obj.metadata.name for obj in await world.client.list(ConfigMap, "default")]
        kept = ["leaf-0", "leaf-1", "leaf-2", "leaf-3", "middle"]
        assert (kept if policy is Propagation.ORPHAN else []) == left

    simulate(test, GarbageCollector())


def test_an_owner_deleted_while_nobody_looked() -> None:
    """The absence is found out by asking the server: at the start nobody saw the removal."""

    async def test(world: World) -> None:
        first = await owner(world, "first")
        await world.client.create(owned_by(first))
        await trio.sleep(1)
        world.crash("garbagecollector")
        await world.client.delete(first)
        await trio.sleep(1)
        assert await world.find(ConfigMap, "child") is not None
        world.start(GarbageCollector())
        await trio.sleep(1)
        assert await world.find(ConfigMap, "child") is None

    simulate(test, GarbageCollector())


def test_an_owner_that_was_never_seen() -> None:
    """It existed when it was asked for, and was gone before any watch told of it."""

    async def test(world: World) -> None:
        sight = trio.Event()
        world.wires["garbagecollector"] = Wire(world.endpoint, blind={"configmaps": sight})
        world.start(GarbageCollector())
        await trio.sleep(1)
        first = await owner(world, "first")
        child = ServiceAccount(metadata=owned_by(first).metadata)
        await world.client.create(child)
        await trio.sleep(1)
        assert await world.find(ServiceAccount, "child") is not None
        await world.client.delete(first)
        sight.set()
        await trio.sleep(60)
        assert await world.find(ServiceAccount, "child") is None

    simulate(test)


def test_one_owner_is_enough() -> None:
    """The reference to the other goes; with the last owner the object goes."""

    async def test(world: World) -> None:
        first, second = await owner(world, "first"), await owner(world, "second")
        await world.client.create(owned_by(first, second))
        await world.client.delete(first)
        await trio.sleep(1)
        child = await world.client.get(ConfigMap, "child", "default")
        assert [r.name for r in child.metadata.owner_references] == ["second"]
        await world.client.delete(second)
        await trio.sleep(1)
        assert await world.find(ConfigMap, "child") is None

    simulate(test, GarbageCollector())


def test_a_namesake_of_the_owner_owns_nothing() -> None:
    """Names come back, uids do not."""

    async def test(world: World) -> None:
        first = await owner(world, "first")
        await world.client.create(owned_by(first))
        world.crash("garbagecollector")
        await world.client.delete(first)
        await owner(world, "first")
        world.start(GarbageCollector())
        await trio.sleep(1)
        assert await world.find(ConfigMap, "child") is None
        assert await world.find(ConfigMap, "first") is not None

    simulate(test, GarbageCollector())


def test_an_owner_in_another_namespace_is_no_owner() -> None:
    """It is said, and the object goes: its owner does not exist where it would have to."""

    async def test(world: World) -> None:
        first = await owner(world, "first")
        await world.client.create(owned_by(first, namespace="kube-public"))
        await trio.sleep(1)
        assert await world.find(ConfigMap, "child", "kube-public") is None
        text = f"[v1/ConfigMap, namespace: kube-public, name: first, uid: {first.metadata.uid}]"
        message = f'ownerRef {text} does not exist in namespace "kube-public"'
        assert [message] == await world.messages("OwnerRefInvalidNamespace")

    simulate(test, GarbageCollector())


def test_owners_of_a_kind_nobody_serves_are_believed() -> None:
    """What cannot be asked for is not taken for absent."""

    async def test(world: World) -> None:
        child = owned_by()
        reference = OwnerReference(
            api_version="no.such/v1", kind="Thing", name="x", uid=Uid("u-no-such")
        )
        metadata = attrs.evolve(child.metadata, owner_references=(reference,))
        await world.client.create(attrs.evolve(child, metadata=metadata))
        await trio.sleep(60)
        assert await world.find(ConfigMap, "child") is not None

    simulate(test, GarbageCollector())


@pytest.mark.parametrize("policy", [Propagation.BACKGROUND, Propagation.FOREGROUND])
def test_custom_kinds_own_and_are_owned(policy: Propagation) -> None:
    """Kinds without a class take part as all others do."""

    async def test(world: World) -> None:
        top = await world.client.create(widget("top"))
        middle = widget("middle")
        references = owned_by(top).metadata.owner_references
        metadata = attrs.evolve(middle.metadata, owner_references=references)
        middle = await world.client.create(attrs.evolve(middle, metadata=metadata))
        await world.client.create(owned_by(middle))
        await trio.sleep(1)
        await world.client.delete(top, propagation=policy)
        await trio.sleep(5)
        left: list[KubeObject] = await world.client.list(WIDGET, "default")
        assert left == []
        assert await world.find(ConfigMap, "child") is None

    simulate(test, GarbageCollector(), scheme=with_widgets())


def test_a_circle_of_waiting_owners_is_broken() -> None:
    """Two objects that own each other, both deleted in the foreground, both go."""

    async def test(world: World) -> None:
        first = await owner(world, "first")
        second = await world.client.create(owned_by(first, name="second"))
        references = owned_by(second).metadata.owner_references
        metadata = attrs.evolve(first.metadata, owner_references=references)
        first = await world.client.update(attrs.evolve(first, metadata=metadata))
        await trio.sleep(1)
        await world.client.delete(first, propagation=Propagation.FOREGROUND)
        await trio.sleep(30)
        assert await world.find(ConfigMap, "first") is None
        assert await world.find(ConfigMap, "second") is None

    simulate(test, GarbageCollector())
