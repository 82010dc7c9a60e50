"""The informer against a real API server: what it shows, what it tells, and how it goes on when a watch ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import attrs
import pytest
import trio
from control_world import World, config_map, in_world, informer_of, key, listen, running

from engine import (
    BadRequest,
    Client,
    ConfigMap,
    Direction,
    Forbidden,
    Gone,
    Link,
    LinkedEndpoint,
    Settings,
    TooManyRequests,
    Unavailable,
    Verb,
    current_origin,
)


def forbid(_: object) -> None:
    raise Forbidden("no watch")


async def set_x(world: World, name: str, value: str) -> ConfigMap:
    found: ConfigMap = await world.client.get(ConfigMap, name, "default")
    return await world.client.update(attrs.evolve(found, data={"x": value}))


def test_it_shows_what_is_there_and_tells_each_change_once() -> None:
    """After it has synced the cache equals the API; each later change arrives once, with what was before."""

    async def main(world: World) -> None:
        await world.client.create(config_map("a", x="1"))
        informer = informer_of(world)
        seen = listen(informer)
        async with running(informer.run):
            await informer.synced()
            await set_x(world, "a", "2")
            await world.client.create(config_map("b"))
            await world.client.delete(ConfigMap, "a", "default")
            await trio.sleep(1)

            assert [
                ("added", "a", None, "1"),
                ("updated", "a", "1", "2"),
                ("added", "b", None, ""),
                ("deleted", "a", "2", None),
            ] == seen
            informer.cache.check()

    in_world(main)


def test_a_watch_that_the_server_ends_is_opened_again_without_a_list() -> None:
    """EndOfChannel is the ordinary end: the next watch begins at the last revision seen, at once, and nothing is told twice."""

    async def main(world: World) -> None:
        world.door.watch_seconds = 5
        informer = informer_of(world, world.guarded)
        seen = listen(informer)
        async with running(informer.run):
            for value in range(4):
                await world.client.create(config_map(f"a{value}"))
                await trio.sleep(4)

            assert [f"a{value}" for value in range(4)] == [name for _, name, _, _ in seen]
            assert [0, 5, 10, 15] == [round(at) for at, _ in world.door.watches]
            assert 1 == len(world.door.requests)

    in_world(main)


def test_a_watch_that_ends_at_once_is_a_failure() -> None:
    """A server that ends every watch as it opens is not asked again without a wait (client-go, "very short watch")."""

    async def main(world: World) -> None:
        world.door.watch_seconds = 0
        informer = informer_of(world, world.guarded)
        async with running(informer.run):
            await trio.sleep(60)
            times = [at for at, _ in world.door.watches]
            waits = [after - before for before, after in pairwise(times)]

            assert len(times) < 10
            for number, wait in enumerate(waits):
                least = min(0.8 * 2**number, 30)
                assert least <= wait <= 2 * least

    in_world(main)


def test_gone_leads_to_a_list_that_tells_what_was_missed() -> None:
    """History is compacted while it is cut off: it learns the last states, deletions by absence, and no step twice."""

    async def main(world: World) -> None:
        process = world.simulation.processes.start("watcher", trio.sleep_forever)
        link = Link("watcher", draws=world.draws, process=process)
        client = Client(
            endpoint=LinkedEndpoint(world.door, link, process), scheme=world.client.scheme
        )
        informer = informer_of(world, client)
        for name in ("kept", "changed", "removed"):
            await world.client.create(config_map(name, x="1"))
        seen = listen(informer)
        async with running(informer.run):
            await informer.synced()
            seen.clear()
            link.partition()
            for step in range(2, 30):
                await set_x(world, "changed", str(step))
            await world.client.create(config_map("came"))
            await world.client.create(config_map("went"))
            await world.client.delete(ConfigMap, "went", "default")
            await world.client.delete(ConfigMap, "removed", "default")
            await trio.sleep(30)
            assert [] == seen
            link.heal()
            await trio.sleep(10)

            # What the server had sent before it gave up arrives first, then what the list shows.
            steps = [(old, new) for _, name, old, new in seen if name == "changed"]
            assert ("1", "29") == (steps[0][0], steps[-1][1])
            assert all(one[1] == two[0] for one, two in pairwise(steps))
            assert len(steps) < 10
            rest = [change for change in seen if change[1] != "changed"]
            assert [("added", "came", None, ""), ("deleted", "removed", "1", None)] == rest
            lists = [request for _, request in world.door.requests if request.verb is Verb.LIST]
            assert 2 == len(lists)
            informer.cache.check()

    # A server that keeps little: it ends a watch that is three events behind, and cannot resume one five behind.
    in_world(lambda world: _with_buffer(world, main), settings=Settings(watch_cache_window=5))


async def _with_buffer(world: World, test: Callable[[World], Awaitable[None]]) -> None:
    world.server._feed.limits = attrs.evolve(world.server._feed.limits, watch_buffer=3)
    await test(world)


def test_an_object_made_again_meanwhile_is_one_update_to_another_uid() -> None:
    """Delete and create that fall between two lists are coalesced, as in client-go: UPDATED, with the old and the new uid."""

    async def main(world: World) -> None:
        first = await world.client.create(config_map("a", x="1"))
        informer = informer_of(world, world.guarded)
        uids: list[tuple[str, str | None, str | None]] = []
        informer.add_handler(
            lambda change: uids.append(
                (
                    change.type.value,
                    change.old.metadata.uid if change.old else None,
                    change.new.metadata.uid if change.new else None,
                )
            )
        )
        world.door.on_watch = forbid  # each cycle lists
        async with running(informer.run):
            await informer.synced()
            await world.client.delete(ConfigMap, "a", "default")
            second = await world.client.create(config_map("a", x="2"))
            await trio.sleep(10)

            assert first.metadata.uid != second.metadata.uid
            assert [
                ("added", None, first.metadata.uid),
                ("updated", first.metadata.uid, second.metadata.uid),
            ] == uids

    in_world(main)


def test_a_server_that_cannot_be_reached_is_asked_less_and_less() -> None:
    """Unavailable: the waits grow from 0.8 s to 30 s, each between once and twice that; when it answers, nothing was missed."""

    async def main(world: World) -> None:
        def refuse(_: object) -> None:
            raise Unavailable("connection refused")

        world.door.on_watch = refuse
        informer = informer_of(world, world.guarded)
        async with running(informer.run):
            await informer.synced()
            await world.client.create(config_map("a"))
            await trio.sleep(300)
            times = [at for at, _ in world.door.watches]
            world.door.on_watch = lambda _: None
            await trio.sleep(60)

            for number, (before, after) in enumerate(pairwise(times)):
                least = min(0.8 * 2**number, 30)
                assert least <= after - before <= 2 * least
            assert informer.get(key("a")) is not None
            assert 1 == len(world.door.requests), "it listed though only the watch had failed"

    in_world(main)


@pytest.mark.parametrize(
    ("refusal", "lists"),
    [(TooManyRequests, 1), (Unavailable, 1), (Gone, 2), (Forbidden, 2), (BadRequest, 2)],
)
def test_what_ends_a_watch_decides_whether_it_lists(refusal: type[Exception], lists: int) -> None:
    """Nobody answered: watch on; refused for any other reason: list (client-go's reflector). Either way after a wait."""

    async def main(world: World) -> None:
        def refuse_once(_: object) -> None:
            if len(world.door.watches) == 1:
                raise refusal("no")

        world.door.on_watch = refuse_once
        informer = informer_of(world, world.guarded)
        async with running(informer.run):
            await trio.sleep(30)

            assert lists == len(world.door.requests)
            assert 2 == len(world.door.watches)
            assert world.door.watches[1][0] >= 0.8

    in_world(main)


def test_the_first_list_takes_what_is_at_hand_and_a_later_one_does_not_go_back() -> None:
    """ResourceVersion "0", then the last one seen; the newest, at once, when the server says that one is gone."""

    async def main(world: World) -> None:
        informer = informer_of(world, world.guarded)

        def refuse(_: object) -> None:
            if len(world.door.watches) in (1, 2):
                raise Gone("too old")

        def too_old(_: object) -> None:
            if len(world.door.requests) == 3:
                raise Gone("too old")

        world.door.on_watch, world.door.on_request = refuse, too_old
        async with running(informer.run):
            await trio.sleep(30)
            asked = [r.resource_version for _, r in world.door.requests if r.verb is Verb.LIST]

            assert ["0", str(informer.revision), str(informer.revision), ""] == asked
            assert world.door.requests[2][0] == world.door.requests[3][0]

    in_world(main)


def test_a_server_started_again_is_watched_on() -> None:
    """The API server stops and starts: the informer of a client goes on where it was."""

    async def main(world: World) -> None:
        informer = informer_of(world, world.guarded)
        seen = listen(informer)
        async with running(informer.run) as nursery:
            await world.client.create(config_map("a"))
            await trio.sleep(5)
            world.stop_server()
            await trio.sleep(5)
            with pytest.raises(Unavailable):
                await world.client.create(config_map("b"))
            await nursery.start(world.serve)
            await world.client.create(config_map("b"))
            await trio.sleep(20)

            assert ["a", "b"] == [name for _, name, _, _ in seen]

    in_world(main)


def test_a_partition_holds_changes_back_and_a_pause_does_too() -> None:
    """What happened meanwhile arrives when the link is healed, or the process goes on: nothing before, all of it then."""

    async def main(world: World) -> None:
        process = world.simulation.processes.start("watcher", trio.sleep_forever)
        link = Link("watcher", draws=world.draws, process=process)
        client = Client(
            endpoint=LinkedEndpoint(world.server, link, process), scheme=world.client.scheme
        )
        informer = informer_of(world, client)
        async with running(informer.run):
            await informer.synced()
            holds = link.partition(Direction.TO_CLIENT)
            await world.client.create(config_map("a"))
            await trio.sleep(90)
            assert informer.get(key("a")) is None
            link.heal(holds)
            await trio.sleep(1)
            assert informer.get(key("a")) is not None

            hold = process.pause()
            await world.client.create(config_map("b"))
            await trio.sleep(90)
            assert informer.get(key("b")) is None
            process.resume(hold)
            await trio.sleep(1)
            assert informer.get(key("b")) is not None

    in_world(main)


def test_the_end_of_a_watch_does_not_cross_a_cut_link() -> None:
    """The server ends a watch of a client that is cut off: the client hears of it, and asks again, when the link is healed."""

    async def main(world: World) -> None:
        process = world.simulation.processes.start("watcher", trio.sleep_forever)
        link = Link("watcher", draws=world.draws, process=process)
        world.door.watch_seconds = 10
        client = Client(
            endpoint=LinkedEndpoint(world.door, link, process), scheme=world.client.scheme
        )
        informer = informer_of(world, client)
        async with running(informer.run):
            await trio.sleep(5)
            link.partition()
            await trio.sleep(100)
            assert 1 == len(world.door.watches)
            link.heal()
            await trio.sleep(1)
            assert 2 == len(world.door.watches)

    in_world(main)


def test_handlers_act_because_of_the_revision_delivered() -> None:
    """The origin in force in a handler names the object's revision; of one found missing, that of the list."""

    async def main(world: World) -> None:
        created = await world.client.create(config_map("a"))
        informer = informer_of(world, world.guarded)
        causes: list[object] = []
        informer.add_handler(lambda _: causes.append(current_origin().causes))
        world.door.on_watch = forbid
        async with running(informer.run):
            await informer.synced()
            await world.client.delete(ConfigMap, "a", "default")
            await trio.sleep(10)

            assert [(int(created.metadata.resource_version),), (informer.revision,)] == causes

    in_world(main)
