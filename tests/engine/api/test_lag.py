"""A server whose watch cache is behind its store: nobody may notice.

The store is a real one; only what its watch delivers is held back until the test lets it through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import attrs
import pytest
import trio
import trio.testing
from api_world import World, config_map, drain, pod, told

from engine.api.errors import AlreadyExists, Conflict, NotFound
from engine.api.server import ApiServer
from engine.control.client import Client
from engine.objects.core import ConfigMap, Namespace
from engine.objects.meta import ObjectMeta
from engine.objects.pod import Pod
from engine.sim.draws import Draws
from store import Store, Watch, WatchBatch


@attrs.define
class Gate:
    """Holds back what passes while it is closed."""

    opened: trio.Event = attrs.field(factory=trio.Event)

    def close(self) -> None:
        self.opened = trio.Event()

    def open(self) -> None:
        self.opened.set()


@attrs.frozen
class HeldWatch:
    """A watch of the store behind a gate."""

    watch: Watch
    gate: Gate

    async def receive(self) -> WatchBatch:
        batch = await self.watch.receive()
        await self.gate.opened.wait()
        return batch


@attrs.frozen
class LaggingStore:
    """A store whose watches lag; all else goes straight through."""

    store: Store
    gate: Gate

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    @asynccontextmanager
    async def watch(
        self, key: str, *, range_end: str | None = None, start_revision: int = 0
    ) -> AsyncIterator[HeldWatch]:
        async with self.store.watch(
            key, range_end=range_end, start_revision=start_revision
        ) as watch:
            yield HeldWatch(watch, self.gate)


@attrs.frozen
class Lagging:
    """A client of a server that is behind from now on, until the gate opens."""

    client: Client
    gate: Gate


@pytest.fixture
async def lagging(world: World) -> AsyncIterator[Lagging]:
    gate = Gate()
    gate.open()
    server = ApiServer(
        store=cast("Store", LaggingStore(world.store, gate)),
        scheme=world.scheme,
        clock=world.clock,
        draws=Draws(5),
    )
    await world.nursery.start(server.run)
    gate.close()
    yield Lagging(attrs.evolve(world.client, endpoint=server), gate)
    gate.open()
    await trio.testing.wait_all_tasks_blocked()
    server.check()


async def test_get_reads_the_store(lagging: Lagging) -> None:
    """Both what is new and what is gone."""
    made = await lagging.client.create(config_map(x="1"))
    assert await lagging.client.get(ConfigMap, "cm", "default") == made
    await lagging.client.delete(made)
    with pytest.raises(NotFound):
        await lagging.client.get(ConfigMap, "cm", "default")


async def test_list_waits_for_the_cache(lagging: Lagging, nursery: trio.Nursery) -> None:
    """A list without a version shows all that was written before it; "0" shows what the cache has."""
    await lagging.client.create(config_map())
    assert await lagging.client.list(ConfigMap, resource_version="0") == []
    found: list[ConfigMap] = []

    async def look() -> None:
        found.extend(await lagging.client.list(ConfigMap))

    nursery.start_soon(look)
    await trio.testing.wait_all_tasks_blocked()
    assert found == []
    lagging.gate.open()
    await trio.testing.wait_all_tasks_blocked()
    assert [obj.metadata.name for obj in found] == ["cm"]


async def test_writes_follow_each_other(lagging: Lagging) -> None:
    """Each starts from the one before: own writes, and those of another server."""
    made = await lagging.client.create(config_map())
    for number in range(3):
        made = await lagging.client.update(attrs.evolve(made, data={"n": str(number)}))
    patched = await lagging.client.patch(ConfigMap, "cm", "default", {"data": {"m": "x"}})
    assert patched.data == {"n": "2", "m": "x"}


async def test_another_servers_writes_are_respected(lagging: Lagging, world: World) -> None:
    """What only the store knows decides: no lost update, no false conflict, no write that changes nothing on a stale view."""
    lagging.gate.open()
    made = await lagging.client.create(config_map(x="1"))
    await trio.testing.wait_all_tasks_blocked()
    lagging.gate.close()
    second = await world.client.update(attrs.evolve(made, data={"x": "2"}))

    with pytest.raises(Conflict):
        await lagging.client.update(attrs.evolve(made, data={"x": "3"}))
    third = await lagging.client.update(attrs.evolve(second, data={"x": "1"}))
    assert third.data == {"x": "1"}
    fourth = await world.client.update(attrs.evolve(third, data={"x": "4"}))
    back = await lagging.client.patch(ConfigMap, "cm", "default", {"data": {"x": "1"}})
    assert int(back.metadata.resource_version) > int(fourth.metadata.resource_version)
    with pytest.raises(Conflict):
        await lagging.client.delete(
            ConfigMap, "cm", "default", resource_version=made.metadata.resource_version
        )
    await world.client.delete(back)
    with pytest.raises(NotFound):
        await lagging.client.update(config_map(x="5"))
    await world.client.create(config_map())
    with pytest.raises(AlreadyExists):
        await lagging.client.create(config_map())


async def test_binding_twice_through_two_servers(lagging: Lagging, world: World) -> None:
    """A pod is bound once, though the second server has not heard of the first binding."""
    made = await lagging.client.create(pod())
    await world.client.bind(made, "n1")
    with pytest.raises(Conflict, match='already assigned to node "n1"'):
        await lagging.client.bind(made, "n2")


async def test_watches_start_where_they_are_asked_to(
    lagging: Lagging, nursery: trio.Nursery
) -> None:
    """Without a version, with all that was written before; after a version, without what came before it."""
    made = await lagging.client.create(config_map())
    made = await lagging.client.update(attrs.evolve(made, data={"x": "0"}))
    seen: list[tuple[str, str]] = []

    async def look() -> None:
        async with lagging.client.watch(ConfigMap) as stream:
            seen.extend(told(list(await stream.receive())))

    nursery.start_soon(look)
    async with lagging.client.watch(
        ConfigMap, resource_version=made.metadata.resource_version
    ) as stream:
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        lagging.gate.open()
        assert await drain(stream) == []
        await lagging.client.update(attrs.evolve(made, data={"x": "1"}))
        assert told(await drain(stream)) == [("MODIFIED", "cm")]
    assert seen == [("ADDED", "cm")]


async def test_admission_asks_again_before_it_refuses(
    lagging: Lagging, world: World, nursery: trio.Nursery
) -> None:
    """A namespace that another server made a moment ago is waited for."""
    await world.client.create(Namespace(metadata=ObjectMeta(name="fresh")))
    made: list[ConfigMap] = []

    async def create() -> None:
        made.append(await lagging.client.create(config_map(namespace="fresh")))

    nursery.start_soon(create)
    await trio.testing.wait_all_tasks_blocked()
    assert made == []
    lagging.gate.open()
    await trio.testing.wait_all_tasks_blocked()
    assert [obj.metadata.namespace for obj in made] == ["fresh"]


async def test_the_kubelets_last_delete_is_two_writes(lagging: Lagging) -> None:
    """MODIFIED with grace 0 and DELETED, also when the cache still shows the pod unbound."""
    made = await lagging.client.create(pod())
    await lagging.client.bind(made, "n1")
    await lagging.client.delete(made)
    await lagging.client.delete(made, grace_period_seconds=0)
    lagging.gate.open()
    async with lagging.client.watch(Pod, resource_version=made.metadata.resource_version) as stream:
        events = await drain(stream)
    assert [event.type.value for event in events] == ["MODIFIED"] * 3 + ["DELETED"]
