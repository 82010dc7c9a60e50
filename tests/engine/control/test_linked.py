"""The endpoint at the far end of a link: what is applied, what is heard, and when."""

from __future__ import annotations

import pytest
import trio
from control_world import World, config_map, in_world

from engine import (
    AlreadyExists,
    Client,
    ConfigMap,
    Direction,
    DurationRange,
    Link,
    LinkedEndpoint,
    LinkQuality,
    NotFound,
    Process,
    Timeout,
)


def linked(world: World, timeout_seconds: float | None = 10) -> tuple[Process, Link, Client]:
    process = world.simulation.processes.start("writer", trio.sleep_forever)
    link = Link("writer", draws=world.draws, process=process)
    client = Client(
        endpoint=LinkedEndpoint(world.door, link, process),
        scheme=world.client.scheme,
        timeout_seconds=timeout_seconds,
    )
    return process, link, client


def test_a_write_whose_answer_is_lost_is_applied_and_times_out() -> None:
    """A cut on the way back: the caller gets Timeout, and the object is there."""

    async def main(world: World) -> None:
        _, link, client = linked(world)
        await trio.sleep(0.1)
        link.partition(Direction.TO_CLIENT)
        began = trio.current_time()
        with pytest.raises(Timeout, match="may have been applied"):
            await client.create(config_map("a"))

        assert trio.current_time() - began == pytest.approx(10)
        found: ConfigMap = await world.client.get(ConfigMap, "a", "default")
        assert found.metadata.name == "a"

    in_world(main)


def test_a_request_that_does_not_get_there_is_not_applied() -> None:
    """A cut on the way there: Timeout as well, and nothing happened; the caller cannot tell the two apart."""

    async def main(world: World) -> None:
        _, link, client = linked(world)
        await trio.sleep(0.1)
        link.partition(Direction.TO_SERVER)
        with pytest.raises(Timeout, match="may have been applied"):
            await client.create(config_map("a"))
        link.heal()
        await trio.sleep(60)

        with pytest.raises(NotFound):
            await client.get(ConfigMap, "a", "default")

    in_world(main)


def test_a_partition_that_begins_under_way_keeps_the_answer() -> None:
    """The request was carried out on an open link that is cut before the answer is back: heard when it is healed."""

    async def main(world: World) -> None:
        _, link, client = linked(world, timeout_seconds=None)
        await trio.sleep(0.1)

        def cut(_: object) -> None:
            link.partition()

        world.door.on_request = cut

        async def heal() -> None:
            await trio.sleep(20)
            link.heal()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(heal)
            await client.create(config_map("a"))

            assert trio.current_time() == pytest.approx(20.1)

    in_world(main)


def test_a_refusal_crosses_the_link_too() -> None:
    """An error is an answer: late when the link is slow, a Timeout when it is cut."""

    async def main(world: World) -> None:
        _, link, client = linked(world)
        await world.client.create(config_map("a"))
        await trio.sleep(0.1)
        link.quality = LinkQuality(delay=DurationRange(low=0.5, high=0.5))
        began = trio.current_time()
        with pytest.raises(AlreadyExists):
            await client.create(config_map("a"))
        assert trio.current_time() - began == pytest.approx(1)
        link.partition(Direction.TO_CLIENT)
        with pytest.raises(Timeout):
            await client.create(config_map("a"))

    in_world(main)


def test_a_paused_process_hears_its_timeouts_when_it_goes_on() -> None:
    """Nothing happens in it while it is paused, not even the raising of a Timeout: of a request or of a watch."""

    async def main(world: World) -> None:
        process, _, client = linked(world)
        heard: list[float] = []

        async def ask() -> None:
            with pytest.raises(Timeout):
                await client.create(config_map("a"))
            heard.append(trio.current_time())

        async def watch() -> None:
            with pytest.raises(Timeout):
                async with client.watch(ConfigMap):
                    pass
            heard.append(trio.current_time())

        await trio.sleep(1)
        hold = process.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(watch)
            await trio.sleep(99)
            process.resume(hold)

        assert [100.0, 100.0] == heard

    in_world(main)


def test_an_object_that_is_not_there_is_not_found() -> None:
    """The typed client raises the API's own errors, with their words."""

    async def main(world: World) -> None:
        _, _, client = linked(world)
        with pytest.raises(NotFound, match='configmaps "nope" not found'):
            await client.get(ConfigMap, "nope", "default")

    in_world(main)
