"""Informer, controller runtime, recorder and election against a real API server, in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import attrs
import pytest
import trio

from engine import (
    Source,
    ApiServer,
    Client,
    ConfigMap,
    ControllerRuntime,
    Direction,
    Done,
    Draws,
    Event,
    EventRecorder,
    For,
    Informer,
    Key,
    KubeObject,
    LeaderElector,
    Lease,
    Link,
    LinkedEndpoint,
    NotFound,
    ObjectCodec,
    ObjectMeta,
    Owns,
    Pod,
    Reconciler,
    ReplicaSet,
    Requeue,
    RequeueAfter,
    Result,
    Settings,
    Simulation,
    Timeout,
    controller_ref,
    current_origin,
    default_scheme,
    open_api_server,
    run_simulation,
)
from store import Store, open_store


@attrs.frozen
class World:
    simulation: Simulation
    server: ApiServer
    store: Store
    client: Client

    @property
    def draws(self) -> Draws:
        return self.simulation.draws


@asynccontextmanager
async def open_world(simulation: Simulation) -> AsyncIterator[World]:
    scheme = default_scheme()
    clock = simulation.clock
    async with (
        open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store,
        open_api_server(store=store, scheme=scheme, clock=clock, draws=simulation.draws) as server,
    ):
        yield World(simulation, server, store, Client(endpoint=server, scheme=scheme))


def in_world(test: Callable[[World], Awaitable[None]], seed: int = 0) -> None:
    """Run `test` in a simulation with an empty cluster."""

    async def main(simulation: Simulation) -> None:
        async with open_world(simulation) as world:
            await test(world)

    run_simulation(main, seed=seed)


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


def informer_of(world: World, client: Client | None = None) -> Informer[ConfigMap]:
    return Informer(client or world.client, ConfigMap, Settings(), world.draws, "test")


def runtime_of(world: World, reconciler: Reconciler) -> ControllerRuntime:
    async def gate() -> None:
        return

    return ControllerRuntime(
        template=reconciler,
        client=world.client,
        clock=world.simulation.clock,
        draws=world.draws,
        settings=Settings(),
        gate=gate,
    )


def test_an_informer_shows_what_is_there_and_what_comes() -> None:
    """After it has synced the cache equals the API; each later change arrives once, with what was before."""

    async def main(world: World) -> None:
        await world.client.create(config_map("a", x="1"))
        informer = informer_of(world)
        changes = []
        informer.add_handler(
            lambda change: changes.append(
                (
                    change.type.value,
                    change.object.metadata.name,
                    dict(change.old.data) if change.old else None,
                )
            )
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(informer.run)
            await informer.synced()
            a = informer.get(Key("default", "a"))
            assert a is not None
            await world.client.update(attrs.evolve(a, data={"x": "2"}))
            await world.client.create(config_map("b"))
            await world.client.delete(ConfigMap, "a", "default")
            await trio.sleep(1)

            assert [
                ("added", "a", None),
                ("updated", "a", {"x": "1"}),
                ("added", "b", None),
                ("deleted", "a", {"x": "2"}),
            ] == [each for each in changes if each[1] != "kube-root-ca.crt"]
            informer.cache.check()
            nursery.cancel_scope.cancel()

    in_world(main)


def test_an_informer_behind_a_partition_learns_the_last_state() -> None:
    """What happened while it was cut off arrives when the link is healed."""

    async def main(world: World) -> None:
        process = world.simulation.processes.start("watcher", trio.sleep_forever)
        link = Link("watcher", draws=world.draws, process=process)
        client = Client(
            endpoint=LinkedEndpoint(world.server, link, process), scheme=world.client.scheme
        )
        informer = informer_of(world, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(informer.run)
            await informer.synced()
            link.partition()
            await world.client.create(config_map("a"))
            await trio.sleep(30)
            assert informer.get(Key("default", "a")) is None
            link.heal()
            await trio.sleep(1)

            assert informer.get(Key("default", "a")) is not None
            nursery.cancel_scope.cancel()

    in_world(main)


def test_a_write_whose_answer_is_lost_is_applied_and_times_out() -> None:
    """A cut on the way back: the caller gets Timeout, and the object is there."""

    async def main(world: World) -> None:
        process = world.simulation.processes.start("writer", trio.sleep_forever)
        link = Link("writer", draws=world.draws, process=process)
        client = Client(
            endpoint=LinkedEndpoint(world.server, link, process),
            scheme=world.client.scheme,
            timeout_seconds=10,
        )
        await trio.sleep(0.1)
        holds = link.partition(Direction.TO_CLIENT)
        began = trio.current_time()
        with pytest.raises(Timeout, match="may have been applied"):
            await client.create(config_map("a"))
        link.heal(holds)

        assert trio.current_time() - began == pytest.approx(10)
        found: ConfigMap = await client.get(ConfigMap, "a", "default")
        assert found.metadata.name == "a"

    in_world(main)


class Copier(Reconciler):
    """Keeps a pod-less ReplicaSet's sibling config map: enough to write and to own something."""

    name: ClassVar[str] = "copier"

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[object, ...]]] = []
        self.outcomes: list[Result | Exception] = []

    def sources(self) -> Sequence[Source]:
        return [For(ConfigMap), Owns(Pod)]

    async def reconcile(self, key: Key) -> Result:
        if key.namespace != "default" or not key.name.startswith("c-"):
            return Done()
        self.seen.append((str(key), current_origin().causes))
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        return Done()


def run_copier(outcomes: list[Result | Exception], seconds: float) -> tuple[Copier, World]:
    """One ConfigMap `c-1` reconciled with these outcomes for a while."""
    found: list[tuple[Copier, World]] = []

    async def main(world: World) -> None:
        template = Copier()
        template.outcomes = outcomes
        runtime = runtime_of(world, template)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.run)
            await trio.sleep(1)
            await world.client.create(config_map("c-1"))
            await trio.sleep(seconds)
            events = await world.client.list(Event, "default")
            found.append((template, world))
            template.events = events  # type: ignore[attr-defined]
            template.statistics = runtime.statistics()  # type: ignore[attr-defined]
            nursery.cancel_scope.cancel()

    in_world(main)
    return found[0]


def test_each_outcome_has_its_arm() -> None:
    """RequeueAfter looks again after that time, Requeue after back-off; both are counted."""
    copier, _ = run_copier([RequeueAfter(5), Requeue(), Done()], 60)

    statistics = copier.statistics  # type: ignore[attr-defined]
    assert 3 == len(copier.seen)
    assert (1, 1) == (statistics.requeued_after, statistics.requeued)


def test_a_reconciler_that_raises_is_tried_again_and_said_so() -> None:
    """Back-off, an Event on the object with the error, and the controller goes on."""
    copier, _ = run_copier([RuntimeError("no such luck"), Done()], 60)

    told = [event for event in copier.events if event.reason == "ReconcileError"]  # type: ignore[attr-defined]
    assert 2 == len(copier.seen)
    assert ["copier: RuntimeError: no such luck"] == [event.message for event in told]
    assert 1 == copier.statistics.failed  # type: ignore[attr-defined]


def test_a_reconcile_knows_the_revision_that_caused_it() -> None:
    """The cause of the first reconcile is the revision that created the object; of a timer's, the timer as well."""
    copier, _ = run_copier([RequeueAfter(5), Done()], 60)

    (_, first), (_, second) = copier.seen
    assert all(isinstance(cause, int) for cause in first)
    assert second == (*first, "timer:controller/copier")


def test_a_change_of_a_dependant_wakes_its_owner() -> None:
    """Owns: the controlling owner of the changed object is enqueued."""

    class OwnerOf(Reconciler):
        name: ClassVar[str] = "owner-of"

        def __init__(self) -> None:
            self.keys: list[str] = []

        def sources(self) -> Sequence[Source]:
            return [For(ReplicaSet), Owns(ConfigMap)]

        async def reconcile(self, key: Key) -> Result:
            self.keys.append(str(key))
            return None

    async def main(world: World) -> None:
        owner = ReplicaSet(metadata=ObjectMeta(name="web", namespace="default", uid=_UID))
        template = OwnerOf()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime_of(world, template).run)
            await trio.sleep(1)
            owned = config_map("owned")
            metadata = attrs.evolve(owned.metadata, owner_references=(controller_ref(owner),))
            await world.client.create(attrs.evolve(owned, metadata=metadata))
            await trio.sleep(1)

            assert ["default/web"] == template.keys
            nursery.cancel_scope.cancel()

    in_world(main)


_UID = ReplicaSet().metadata.uid.__class__("0b0e5a14-0000-4000-8000-000000000001")


def test_similar_events_are_combined_and_counted() -> None:
    """Ten distinct messages make ten Events; the same message again raises a count (client-go EventCorrelator)."""

    async def main(world: World) -> None:
        recorder = EventRecorder(
            client=world.client,
            clock=world.simulation.clock,
            draws=world.draws,
            component="test-controller",
        )
        about = await world.client.create(config_map("a"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for number in range(12):
                recorder.event(about, "Normal", "Created", f"Created pod: {number}")
            for _ in range(3):
                recorder.event(about, "Warning", "Broken", "no luck")
            await trio.sleep(1)
            events = await world.client.list(Event, "default")
            combined = [e for e in events if e.message.startswith("(combined from similar events)")]
            broken = [e for e in events if e.reason == "Broken"]

            assert [3] == [event.count for event in combined]
            assert [3] == [event.count for event in broken]
            assert 9 == sum(e.reason == "Created" for e in events) - len(combined)
            nursery.cancel_scope.cancel()

    in_world(main)


def test_one_replica_leads_and_another_takes_over_after_its_lease() -> None:
    """The second works only once the first's lease (15 s) has run out since its last renewal."""

    async def main(world: World) -> None:
        clock = world.simulation.clock
        times: dict[str, list[float]] = {"one": [], "two": []}

        def elector(identity: str) -> LeaderElector:
            recorder = EventRecorder(
                client=world.client, clock=clock, draws=world.draws, component="test"
            )
            return LeaderElector(
                client=world.client,
                clock=clock,
                draws=world.draws,
                settings=Settings(),
                recorder=recorder,
                name="test-lease",
                identity=identity,
            )

        def work(identity: str) -> Callable[[], Awaitable[None]]:
            async def lead() -> None:
                times[identity].append(clock.now())
                await trio.sleep_forever()

            return lead

        async def first() -> None:
            await elector("one").run(work("one"))

        process = world.simulation.processes.start("one", first)
        async with trio.open_nursery() as nursery:
            await trio.sleep(3)
            nursery.start_soon(elector("two").run, work("two"))
            await trio.sleep(60)
            assert (1, 0) == (len(times["one"]), len(times["two"]))
            stopped = clock.now()
            await process.crash()
            await trio.sleep(60)
            lease: Lease = await world.client.get(Lease, "test-lease", "kube-system")

            assert 13 <= times["two"][0] - stopped <= 20
            assert ("two", 1) == (lease.spec.holder_identity, lease.spec.lease_transitions)
            nursery.cancel_scope.cancel()

    in_world(main)


def test_a_deleted_object_is_not_found() -> None:
    """The typed client raises the API's own errors."""

    async def main(world: World) -> None:
        with pytest.raises(NotFound, match='configmaps "nope" not found'):
            await world.client.get(ConfigMap, "nope", "default")

    in_world(main)
