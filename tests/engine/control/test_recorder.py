"""The event recorder against a real API server: what is stored, in what order, and what happens when nobody answers."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import trio
from control_world import World, config_map, in_world, running

from engine import (
    Event,
    EventRecorder,
    Forbidden,
    KubeObject,
    Timeout,
    Uid,
    Unavailable,
    Verb,
    acting,
)
from store import Origin


def recorder_of(world: World) -> EventRecorder:
    return EventRecorder(
        client=world.guarded,
        clock=world.simulation.clock,
        draws=world.draws,
        component="test-controller",
    )


async def stored(world: World) -> list[Event]:
    return await world.client.list(Event, "default")


async def subject(world: World, name: str = "a") -> KubeObject:
    return await world.client.create(config_map(name))


def test_similar_events_are_combined_and_counted() -> None:
    """Nine distinct messages make nine Events, those after them one with a count; the same message again raises its count."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)
        async with running(recorder.run):
            for number in range(12):
                recorder.event(about, "Normal", "Created", f"Created pod: {number}")
            for _ in range(3):
                recorder.event(about, "Warning", "Broken", "no luck")
            await trio.sleep(1)
            events = await stored(world)
            combined = [e for e in events if e.message.startswith("(combined from similar events)")]

            assert [3] == [event.count for event in combined]
            assert [3] == [event.count for event in events if event.reason == "Broken"]
            assert 9 == sum(e.reason == "Created" for e in events) - len(combined)
            assert recorder.idle
            statistics = recorder.statistics()
            assert (15, 15, 0) == (statistics.told, statistics.sent, statistics.dropped)

    in_world(main)


def test_an_event_in_modern_style_is_counted_too() -> None:
    """Told again it has a count and a last time, about the object as it was when it was told first."""

    async def main(world: World) -> None:
        recorder = attrs.evolve(recorder_of(world), modern=True)
        about = await subject(world)
        async with running(recorder.run):
            recorder.event(about, "Warning", "FailedScheduling", "no room")
            await trio.sleep(60)
            newer = await world.client.update(attrs.evolve(config_map("a"), data={"k": "v"}))
            recorder.event(newer, "Warning", "FailedScheduling", "no room")
            await trio.sleep(1)
            (event,) = await stored(world)
        assert event.count == 2
        assert event.event_time is not None
        assert event.last_timestamp == event.event_time + 60_000_000
        assert event.involved_object.resource_version == about.metadata.resource_version

    in_world(main)


def test_an_event_has_the_times_it_was_told_at() -> None:
    """First and last are when it was said, however long it waited to be sent."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)
        epoch = world.simulation.clock.unix_us()
        recorder.event(about, "Normal", "Said", "a")
        await trio.sleep(5)
        recorder.event(about, "Normal", "Said", "a")
        await trio.sleep(5)
        async with running(recorder.run):
            await trio.sleep(1)
            (event,) = await stored(world)

            assert (epoch, epoch + 5_000_000, 2) == (
                event.first_timestamp,
                event.last_timestamp,
                event.count,
            )

    in_world(main)


def test_an_event_that_expired_is_told_anew_with_its_count() -> None:
    """The server has forgotten it (TTL, or somebody deleted it): the next count creates it again."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)
        async with running(recorder.run):
            recorder.event(about, "Normal", "Said", "a")
            await trio.sleep(1)
            (event,) = await stored(world)
            await world.client.delete(event)
            recorder.event(about, "Normal", "Said", "a")
            await trio.sleep(1)
            (again,) = await stored(world)

            assert (2, event.first_timestamp) == (again.count, again.first_timestamp)

    in_world(main)


def test_another_object_of_the_name_has_events_of_its_own() -> None:
    """Recreated under the same name, an object does not raise the count of its predecessor's Event."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        async with running(recorder.run):
            for uid in ("1", "2"):
                about = config_map("a")
                metadata = attrs.evolve(about.metadata, uid=Uid(uid))
                recorder.event(attrs.evolve(about, metadata=metadata), "Normal", "Said", "a")
            await trio.sleep(1)

            assert [1, 1] == [event.count for event in await stored(world)]

    in_world(main)


def test_the_name_of_an_event_does_not_depend_on_others() -> None:
    """One more Event before it does not rename it: runs that differ in a fault can be compared object by object."""
    names: list[str] = []

    def told(*before: str) -> None:
        async def main(world: World) -> None:
            recorder = recorder_of(world)
            about = await subject(world)
            async with running(recorder.run):
                for message in (*before, "the one"):
                    recorder.event(about, "Normal", "Said", message)
                await trio.sleep(1)
                names.extend(
                    event.metadata.name
                    for event in await stored(world)
                    if event.message == "the one"
                )

        in_world(main)

    told()
    told("another")

    assert 2 == len(names)
    assert names[0] == names[1]


@pytest.mark.parametrize("error", [Unavailable, Timeout])
def test_while_no_server_answers_events_wait_in_order(error: type[Exception]) -> None:
    """Tried again after a drawn part of 10 s and then every 10 s; those behind it wait, and none is lost."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)

        def refuse(_: object) -> None:
            if trio.current_time() < 35:
                raise error("nobody there")

        world.door.on_request = refuse
        async with running(recorder.run):
            recorder.event(about, "Normal", "Said", "first")
            recorder.event(about, "Normal", "Said", "second")
            await trio.sleep(60)
            events = await stored(world)
            times = [at for at, request in world.door.requests if request.verb is Verb.CREATE]

            assert {"first", "second"} == {event.message for event in events}
            assert 0 < times[1] - times[0] < 10
            assert [10.0] * 3 == [
                pytest.approx(after - before) for before, after in pairwise(times[1:5])
            ]

    in_world(main)


def test_after_twelve_tries_an_event_is_given_up() -> None:
    """maxTriesPerEvent: the next one has its turn."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)
        tries = 0

        def refuse(_: object) -> None:
            nonlocal tries
            tries += 1
            if tries <= 12:
                raise Unavailable("nobody there")

        world.door.on_request = refuse
        async with running(recorder.run):
            recorder.event(about, "Normal", "Said", "first")
            recorder.event(about, "Normal", "Said", "second")
            await trio.sleep(600)

            assert ["second"] == [event.message for event in await stored(world)]
            assert (13, 1) == (tries, recorder.statistics().dropped)

    in_world(main)


def test_an_event_that_is_refused_is_dropped() -> None:
    """The server says no: not tried again, and the next goes through (client-go recordEvent)."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)

        def refuse(_: object) -> None:
            if len(world.door.requests) == 1:
                raise Forbidden("the namespace is being deleted")

        world.door.on_request = refuse
        async with running(recorder.run):
            recorder.event(about, "Normal", "Said", "first")
            recorder.event(about, "Normal", "Said", "second")
            await trio.sleep(60)

            assert ["second"] == [event.message for event in await stored(world)]
            assert 2 == len(world.door.requests)

    in_world(main)


def test_no_more_than_a_thousand_wait() -> None:
    """maxQueuedEvents: what finds the queue full is dropped, and was never counted."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        for number in range(1001):
            recorder.event(config_map(f"a{number}"), "Normal", "Said", "a")
        assert 1 == recorder.statistics().dropped
        async with running(recorder.run):
            await trio.sleep(1)
            recorder.event(config_map("a1000"), "Normal", "Said", "a")
            await trio.sleep(1)

            assert 1001 == len(await stored(world))
            assert [1] == [
                e.count for e in await stored(world) if e.involved_object.name == "a1000"
            ]

    in_world(main)


def test_an_event_is_written_because_of_what_made_it_be_told() -> None:
    """The origin in force at the telling is that of the write, though a task of its own sends it."""

    async def main(world: World) -> None:
        recorder = recorder_of(world)
        about = await subject(world)
        origin = Origin(actor="controller/test", reconcile="controller/test#4", causes=(3,))
        async with running(recorder.run):
            with acting(origin):
                recorder.event(about, "Normal", "Said", "a")
            await trio.sleep(1)
            last = list(world.store.history())[-1]

            assert origin == last.origin
            assert last.key.startswith("/registry/events/")

    in_world(main)


def test_only_two_types_are_allowed() -> None:
    """Normal and Warning, as in Kubernetes."""

    async def main(world: World) -> None:
        with pytest.raises(ValueError, match="Error"):
            recorder_of(world).event(config_map("a"), "Error", "Said", "a")

    in_world(main)
