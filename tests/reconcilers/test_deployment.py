"""Deployments in a cluster: API server, the two controllers, and hands that play the kubelets."""

from __future__ import annotations

import attrs
import pytest
import trio

from engine import Deployment, Reconciler, ReplicaSet, condition_of, is_active
from reconcilers.deployment import DeploymentReconciler
from reconcilers.deployment_revision import ROLLBACK_TO
from reconcilers.deployment_rollout import max_replicas, max_unavailable, total
from reconcilers.replicaset import ReplicaSetReconciler
from tests.reconcilers.workload_world import (
    REVISION,
    World,
    deployment,
    simulate,
    template,
)

CONTROLLERS = (DeploymentReconciler(), ReplicaSetReconciler())


async def change(world: World, name: str = "web", **spec: object) -> None:
    """Change fields of the Deployment's spec, as a user does."""
    live = await world.client.get(Deployment, name, "default")
    await world.client.update(attrs.evolve(live, spec=attrs.evolve(live.spec, **spec)))


def never_beyond_surge(world: World) -> None:
    """At no revision of the log did the ReplicaSets specify more than the desired replicas and the
    surge.
    """
    sets: dict[str, ReplicaSet] = {}
    allowed = 0
    for event in world.store.history():
        if isinstance(event.value, Deployment):
            allowed = max(allowed, max_replicas(event.value))
        if event.key.startswith("/registry/replicasets/"):
            if isinstance(event.value, ReplicaSet):
                sets[event.key] = event.value
            else:
                sets.pop(event.key, None)
            assert total(sets.values()) <= allowed, f"revision {event.revision}"


def test_a_deployment_becomes_available_and_rests() -> None:
    """controllers.md 10.1, with the events and the conditions."""

    async def test(world: World) -> None:
        await world.client.create(deployment())
        await world.complete()
        await trio.sleep(5)

        live = await world.client.get(Deployment, "web", "default")
        (made,) = await world.client.list(ReplicaSet, "default")
        name = made.metadata.name
        assert live.metadata.annotations[REVISION] == "1"
        reasons = {c.type: (c.status, c.reason, c.message) for c in live.status.conditions}
        assert {
            "Available": (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            ),
            "Progressing": (
                "True",
                "NewReplicaSetAvailable",
                f'ReplicaSet "{name}" has successfully progressed.',
            ),
        } == reasons
        scaled = await world.messages("ScalingReplicaSet")
        assert [f"Scaled up replica set {name} from 0 to 3"] == scaled
        pods = await world.pods()
        created = await world.messages("SuccessfulCreate")
        assert sorted(f"Created pod: {pod.metadata.name}" for pod in pods) == sorted(created)
        assert world.runtimes["deployment"].statistics().refused == 0
        head = world.store.head
        await trio.sleep(2000)
        assert head == world.store.head

    simulate(test, *CONTROLLERS)


@pytest.mark.parametrize("seed", range(5))
def test_a_rolling_update_keeps_its_promises(seed: int) -> None:
    """10.2: never more than 13 specified, never fewer than 8 available; the old ReplicaSet stays,
    empty.
    """

    async def test(world: World) -> None:
        await world.client.create(deployment(10))
        await world.complete()
        begun = world.store.head
        await change(world, template=template(2))
        await world.complete()

        never_beyond_surge(world)
        assert await world.replica_sets() == {"web:1": 0, "web:2": 10}
        statuses = [
            event.value.status.available_replicas
            for event in world.store.history(begun)
            if isinstance(event.value, Deployment)
        ]
        live = await world.client.get(Deployment, "web", "default")
        assert 10 - max_unavailable(live) <= min(statuses)
        assert live.metadata.annotations[REVISION] == "2"

    simulate(test, *CONTROLLERS, seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_controllers_may_crash_at_any_time(seed: int) -> None:
    """Both are stopped again and again in the middle of a rollout; it completes, within its bounds,
    and no pod too many is left.
    """

    async def test(world: World) -> None:
        draws = world.simulation.draws
        await world.client.create(deployment(6))
        for round_ in range(12):
            if round_ == 4:
                await change(world, template=template(2))
            await trio.sleep(draws.uniform("test/pause", round_, 0.0, 1.5))
            for reconciler in CONTROLLERS:
                if draws.chance(f"test/crash/{reconciler.name}", round_, 0.7):
                    world.crash(reconciler.name)
                    world.start(reconciler)
        await world.complete()
        await trio.sleep(30)

        never_beyond_surge(world)
        assert await world.replica_sets() == {"web:1": 0, "web:2": 6}
        assert sum(map(is_active, await world.pods())) == 6

    simulate(test, *CONTROLLERS, seed=seed)


@pytest.mark.parametrize("reconciler", CONTROLLERS, ids=lambda each: each.name)
@pytest.mark.parametrize("write", range(1, 29))
def test_a_cut_after_any_write_is_harmless(reconciler: Reconciler, write: int) -> None:
    """The controller dies after its n-th write, not knowing that it was done, and starts anew."""

    async def test(world: World) -> None:
        wire = world.wires[reconciler.name]

        def cut() -> None:
            world.crash(reconciler.name)
            world.start(reconciler)

        wire.cut_at, wire.cut = write, cut
        await world.client.create(deployment(4))
        await world.complete()
        await change(world, template=template(2))
        await world.complete()
        await trio.sleep(10)

        assert wire.writes > write, "the cut came within the test"
        never_beyond_surge(world)
        assert {"web:1": 0, "web:2": 4} == await world.replica_sets()
        assert 4 == len(await world.pods())
        assert 2 == world.made("replicasets")

    simulate(test, *CONTROLLERS)


def test_rollback_pause_and_scale() -> None:
    """Undo by annotation; a paused Deployment scales but does not roll; resuming rolls."""

    async def test(world: World) -> None:
        await world.client.create(deployment(4))
        await world.complete()
        await change(world, template=template(2))
        await world.complete()
        patch = {"metadata": {"annotations": {ROLLBACK_TO: "1"}}}
        await world.client.patch(Deployment, "web", "default", patch)
        await trio.sleep(5)
        await world.complete()
        assert await world.replica_sets() == {"web:2": 0, "web:1": 4}
        message = 'Rolled back deployment "web" to revision 1'
        assert [message] == await world.messages("DeploymentRollback")

        await change(world, paused=True, template=template(3), replicas=7)
        await trio.sleep(30)
        assert await world.replica_sets() == {"web:2": 0, "web:1": 7}
        live = await world.client.get(Deployment, "web", "default")
        progressing = condition_of(live.status.conditions, "Progressing")
        assert progressing is not None
        assert progressing.reason == "DeploymentPaused"

        await change(world, paused=False)
        await world.complete()
        assert await world.replica_sets() == {"web:2": 0, "web:1": 0, "web:3": 7}

    simulate(test, *CONTROLLERS)


def test_scaling_in_the_middle_of_a_rollout_keeps_the_proportions() -> None:
    """10 of 13 pods, stuck half way; 20 desired: 25 are shared out as they were."""

    async def test(world: World) -> None:
        await world.client.create(deployment(10))
        await world.complete()
        world.holding = True
        await change(world, template=template(2))
        await trio.sleep(20)
        assert await world.replica_sets() == {"web:1": 8, "web:2": 5}

        await world.client.scale(Deployment, "web", "default", 20)
        await trio.sleep(20)
        assert await world.replica_sets() == {"web:1": 15, "web:2": 10}

    simulate(test, *CONTROLLERS)


def test_a_stuck_rollout_misses_its_deadline() -> None:
    """600 s after the last progress, to the second that conditions have, and with one event of the
    log.
    """

    async def test(world: World) -> None:
        world.holding = True
        await world.client.create(deployment())
        await trio.sleep(30)
        live = await world.client.get(Deployment, "web", "default")
        before = condition_of(live.status.conditions, "Progressing")
        assert before is not None
        assert before.last_update_time is not None

        await trio.sleep(700)
        live = await world.client.get(Deployment, "web", "default")
        after = condition_of(live.status.conditions, "Progressing")
        assert after is not None
        assert after.last_update_time is not None
        assert (after.status, after.reason) == ("False", "ProgressDeadlineExceeded")
        assert 600 <= after.last_update_time.seconds - before.last_update_time.seconds <= 602

    simulate(test, *CONTROLLERS)


def test_recreate_stops_everything_first() -> None:
    """No pod of the new version is made while one of the old is there, terminating or not."""

    async def test(world: World) -> None:
        world.stop_seconds = 7.0
        await world.client.create(deployment(strategy="Recreate"))
        await world.complete()
        await change(world, template=template(2))

        async def rolled() -> bool:
            images = {pod.spec.containers[0].image for pod in await world.pods()}
            assert len(images) <= 1
            return images == {"web:2"}

        await world.until(rolled)
        await world.complete()

    simulate(test, *CONTROLLERS)


def test_an_orphaned_replica_set_is_adopted_and_a_changed_one_released() -> None:
    """Adoption by selector, and the release of what no longer matches."""

    async def test(world: World) -> None:
        await world.client.create(deployment())
        await world.complete()
        (made,) = await world.client.list(ReplicaSet, "default")
        metadata = attrs.evolve(made.metadata, owner_references=())
        await world.client.update(attrs.evolve(made, metadata=metadata))
        await trio.sleep(5)

        (again,) = await world.client.list(ReplicaSet, "default")
        assert made.metadata.uid == again.metadata.uid
        assert made.metadata.owner_references == again.metadata.owner_references

        metadata = attrs.evolve(again.metadata, labels={"app": "else"})
        await world.client.update(attrs.evolve(again, metadata=metadata))
        await trio.sleep(5)
        released = await world.client.get(ReplicaSet, made.metadata.name, "default")
        assert released.metadata.owner_references == ()

    simulate(test, *CONTROLLERS)


def test_the_same_seed_gives_the_same_log() -> None:
    """Twice the same run; and another seed is another run."""

    async def test(world: World) -> None:
        await world.client.create(deployment(5))
        await world.complete()
        await change(world, template=template(2))
        await world.complete()

    assert simulate(test, *CONTROLLERS, seed=3) == simulate(test, *CONTROLLERS, seed=3)
    assert simulate(test, *CONTROLLERS, seed=3) != simulate(test, *CONTROLLERS, seed=4)
