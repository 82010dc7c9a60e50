"""Watches: what watchers with and without selectors see, where they can start, and how they end."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from api_world import World, config_map, drain, pod, told
from trio.testing import MockClock

from engine.api.errors import BadRequest, Gone, Unavailable
from engine.api.feed import Limits
from engine.api.request import WatchEventType, WatchRequest
from engine.api.server import ApiServer
from engine.control.client import Client
from engine.objects.core import ConfigMap, Namespace
from engine.objects.meta import ObjectMeta
from engine.objects.pod import Pod
from engine.settings import Settings
from engine.sim.draws import Draws


@pytest.fixture
def settings() -> Settings:
    return Settings(watch_cache_window=20)


async def test_a_watch_begins_with_what_there_is(client: Client) -> None:
    """With no resourceVersion and with "0": an ADDED for every object in key order, then what happens."""
    await client.create(config_map("b"))
    await client.create(config_map("a"))
    for version in ("", "0"):
        async with client.watch(ConfigMap, resource_version=version) as stream:
            events = await drain(stream)
            assert told(events) == [("ADDED", "a"), ("ADDED", "b")]
            await client.update(config_map("b", x=version or "unset"))
            assert told(await drain(stream)) == [("MODIFIED", "b")]


async def test_a_watch_without_a_version_is_never_behind(client: Client) -> None:
    """What was written before the watch was opened is among what it begins with."""
    await client.create(config_map())
    async with client.watch(ConfigMap) as stream:
        assert told(list(await stream.receive())) == [("ADDED", "cm")]


async def test_a_watch_resumes_after_a_version(client: Client) -> None:
    """Exactly the later changes, each once, in order, old and new ones alike."""
    first = await client.create(config_map(x="0"))
    for number in range(1, 4):
        await client.update(config_map(x=str(number)))
    version = first.metadata.resource_version
    async with client.watch(ConfigMap, resource_version=version) as stream:
        await client.update(config_map(x="4"))
        events = await drain(stream)

    assert [e.object.data["x"] for e in events if isinstance(e.object, ConfigMap)] == list("1234")
    revisions = [event.revision for event in events]
    assert revisions == sorted(revisions)


async def test_a_watch_may_start_where_the_cache_is_not_yet(client: Client) -> None:
    """From the version of a write just made: nothing of it is delivered again."""
    made = await client.create(config_map())
    async with client.watch(ConfigMap, resource_version=made.metadata.resource_version) as stream:
        await client.update(config_map(x="1"))
        assert told(await drain(stream)) == [("MODIFIED", "cm")]


async def test_a_version_that_has_left_the_window_is_gone(client: Client) -> None:
    """410 with the wording of Kubernetes; a list and a watch from there go on."""
    first = await client.create(config_map())
    for number in range(30):
        await client.update(config_map(x=str(number)))
    await client.list(ConfigMap)
    with pytest.raises(Gone, match=r"^too old resource version: \d+ \(\d+\)$"):
        async with client.watch(ConfigMap, resource_version=first.metadata.resource_version):
            pass
    page = await client.list_page(ConfigMap)
    async with client.watch(ConfigMap, resource_version=page.resource_version) as stream:
        assert await drain(stream) == []


async def test_another_kinds_changes_do_not_age_a_watch(client: Client) -> None:
    made = await client.create(config_map())
    for number in range(30):
        await client.create(pod(f"p{number}"))
    async with client.watch(ConfigMap, resource_version=made.metadata.resource_version) as stream:
        assert await drain(stream) == []


# -- selectors -------------------------------------------------------------------------------------


async def test_selector_mapping(client: Client) -> None:
    """Entering the selection is ADDED, staying MODIFIED, leaving DELETED with the old content and the new version; the rest is silence."""
    async with client.watch(ConfigMap, label_selector="app=web") as stream:
        await client.create(config_map(x="0"))
        await _label(client, {"app": "web"})
        await client.patch(ConfigMap, "cm", "default", {"data": {"x": "1"}})
        left = await _label(client, {"app": None, "tier": "db"})
        await _label(client, {"tier": None})
        await client.delete(ConfigMap, "cm", "default")
        events = await drain(stream)

    assert told(events) == [("ADDED", "cm"), ("MODIFIED", "cm"), ("DELETED", "cm")]
    gone = events[-1].object
    assert isinstance(gone, ConfigMap)
    assert gone.metadata.labels == {"app": "web"}
    assert gone.metadata.resource_version == left.metadata.resource_version
    assert events[-1].revision == int(left.metadata.resource_version)


async def _label(client: Client, labels: dict[str, str | None]) -> ConfigMap:
    return await client.patch(ConfigMap, "cm", "default", {"metadata": {"labels": {**labels}}})


async def test_real_deletion_of_a_selected_object(client: Client) -> None:
    """DELETED with the last state; its version is that of the deletion, later than any before."""
    made = await client.create(pod())
    async with client.watch(Pod, field_selector="metadata.name=p") as stream:
        await client.delete(made)
        events = await drain(stream)
    assert told(events) == [("ADDED", "p"), ("MODIFIED", "p"), ("DELETED", "p")]
    assert events[2].revision == events[1].revision + 1


async def test_a_kubelet_sees_its_own_pods_only(client: Client) -> None:
    """Bound: ADDED. Pods of other nodes and unbound ones are not offered to it at all."""
    async with client.watch(Pod, field_selector="spec.nodeName=n1") as stream:
        for name, node in (("a", "n1"), ("b", "n2"), ("c", "")):
            made = await client.create(pod(name))
            if node:
                await client.bind(made, node)
        assert told(await drain(stream)) == [("ADDED", "a")]
        found = await client.get(Pod, "a", "default")
        status = attrs.evolve(found.status, phase="Running")
        await client.update_status(attrs.evolve(found, status=status))
        await client.delete(found, grace_period_seconds=0)
        assert told(await drain(stream)) == [
            ("MODIFIED", "a"),
            ("MODIFIED", "a"),
            ("DELETED", "a"),
        ]


async def test_selectors_together(client: Client) -> None:
    """Namespace, field and label selectors all must match, whichever of them the watch is filed under."""
    await client.create(Namespace(metadata=ObjectMeta(name="other")))
    async with client.watch(
        Pod,
        "default",
        label_selector="app",
        field_selector="spec.nodeName=n1,status.phase!=Succeeded,metadata.name!=x",
    ) as stream:
        for name, namespace, labels in (
            ("a", "default", {"app": "1"}),
            ("b", "default", {}),
            ("c", "other", {"app": "1"}),
            ("x", "default", {"app": "1"}),
        ):
            metadata = ObjectMeta(name=name, namespace=namespace, labels=labels)
            made = await client.create(attrs.evolve(pod(), metadata=metadata))
            await client.bind(made, "n1")
        found = await client.get(Pod, "a", "default")
        status = attrs.evolve(found.status, phase="Succeeded")
        await client.update_status(attrs.evolve(found, status=status))
        events = await drain(stream)
    assert told(events) == [("ADDED", "a"), ("DELETED", "a")]


async def test_resuming_with_a_selector_maps_history_too(client: Client) -> None:
    made = await client.create(pod())
    await client.bind(made, "n1")
    await client.delete(made, grace_period_seconds=0)
    async with client.watch(
        Pod, field_selector="spec.nodeName=n1", resource_version=made.metadata.resource_version
    ) as stream:
        assert told(await drain(stream)) == [("ADDED", "p"), ("MODIFIED", "p"), ("DELETED", "p")]


async def test_bad_selectors(client: Client) -> None:
    """A watch that cannot be understood is refused when it is opened, with the reason."""
    for options, message in (
        ({"label_selector": "a b"}, "found 'b', expected: "),
        ({"field_selector": "spec.foo=x"}, "field label not supported: spec.foo"),
        ({"resource_version": "abc"}, 'resourceVersion: Invalid value: "abc"'),
    ):
        with pytest.raises(BadRequest, match=message):
            async with client.watch(Pod, **options):
                pass


# -- how watches end -------------------------------------------------------------------------------


async def test_a_watch_ends_at_its_time(world: World, autojump_clock: MockClock) -> None:
    """The server closes it cleanly; the client watches on from the last version it saw."""
    request = WatchRequest(
        resource=world.scheme.resource_of(ConfigMap), resource_version="1", timeout_seconds=30
    )
    start = trio.current_time()
    async with world.server.watch(request) as stream:
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
    assert trio.current_time() - start == pytest.approx(30)


async def test_a_slow_watch_is_ended_and_loses_nothing_before(world: World) -> None:
    """It gets a gapless beginning, then the end; the server counts it, and forgets it."""
    server = ApiServer(
        store=world.store,
        scheme=world.scheme,
        clock=world.clock,
        draws=Draws(2),
        limits=Limits(watch_buffer=3),
    )
    await world.nursery.start(server.run)
    client = attrs.evolve(world.client, endpoint=server)
    async with client.watch(ConfigMap) as stream:
        for number in range(6):
            await client.create(config_map(f"c{number}"))
        await client.list(ConfigMap)
        seen = told(list(await stream.receive()))
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
    assert seen == [("ADDED", f"c{number}") for number in range(3)]
    statistics = server.statistics()
    assert statistics.watches_overflowed == 1
    assert [kind.watchers for kind in statistics.kinds] == [0] * len(statistics.kinds)


async def test_many_events_are_one_batch(client: Client) -> None:
    """A watcher that was away finds all that happened in one receive."""
    async with client.watch(ConfigMap) as stream:
        for number in range(10):
            await client.create(config_map(f"c{number}"))
        await client.list(ConfigMap)
        assert len(await stream.receive()) == 10


async def test_a_cancelled_receive_loses_nothing(client: Client, autojump_clock: MockClock) -> None:
    async with client.watch(ConfigMap) as stream:
        with trio.move_on_after(1):
            await stream.receive()
        await client.create(config_map())
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive()
        assert told(list(await stream.receive())) == [("ADDED", "cm")]


async def test_a_stopped_server_ends_its_watches_and_refuses(world: World) -> None:
    """A crash of the server ends streams and requests; started again, it serves the same cluster with an empty window."""
    server = ApiServer(store=world.store, scheme=world.scheme, clock=world.clock, draws=Draws(3))
    client = attrs.evolve(world.client, endpoint=server)
    with pytest.raises(Unavailable, match="the server is currently unable to handle the request"):
        await client.list(ConfigMap)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        made = await client.create(config_map())
        async with client.watch(ConfigMap) as stream:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
                assert not server.running
                assert told(list(await stream.receive())) == [("ADDED", "cm")]
                with pytest.raises(trio.EndOfChannel):
                    await stream.receive()
    with pytest.raises(Unavailable):
        await client.get(ConfigMap, "cm", "default")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        assert await client.get(ConfigMap, "cm", "default") == made
        with pytest.raises(Gone):
            async with client.watch(ConfigMap, resource_version="1"):
                pass
        nursery.cancel_scope.cancel()


async def test_statistics_count_watchers(world: World) -> None:
    """Open watches are counted by kind, and no longer when they are closed."""
    async with world.client.watch(Pod), world.client.watch(Pod, field_selector="spec.nodeName=n"):
        kinds = {kind.kind: kind for kind in world.server.statistics().kinds}
        assert kinds["Pod"].watchers == 2
    assert "Pod" not in [kind.kind for kind in world.server.statistics().kinds]
    assert WatchEventType.ADDED.value == "ADDED"
