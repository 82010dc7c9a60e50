"""The seam of a process: fates of writes, listeners, and what is done to watches."""

from __future__ import annotations

import attrs
import pytest
import trio
from control_world import Seen, World, config_map, in_world, informer_of, listen, running

from engine import (
    AlreadyExists,
    Answer,
    ApiError,
    Client,
    Coalesced,
    ConfigMap,
    Delayed,
    DurationRange,
    Fate,
    Forgetting,
    Informer,
    Link,
    LinkedEndpoint,
    Matching,
    NotFound,
    NthWrite,
    Process,
    Request,
    Seam,
    Settings,
    StaleView,
    Stalled,
    State,
    Timeout,
    WatchEvent,
    WatchRequest,
)


@attrs.define(eq=False)
class Written:
    """A process that makes config maps a-0, a-1, ... until it is killed, and notes which it knows of."""

    client: Client
    known: list[str] = attrs.field(factory=list)
    errors: list[str] = attrs.field(factory=list)

    async def run(self) -> None:
        for number in range(4):
            await trio.sleep(1)
            try:
                made = await self.client.create(config_map(f"a-{number}"))
                self.known.append(made.metadata.name)
            except ApiError as error:
                self.errors.append(type(error).__name__)
        await trio.sleep_forever()


def wired(world: World) -> tuple[Process, Seam, Written]:
    writers: list[Written] = []

    async def main() -> None:
        await writers[0].run()

    process = world.simulation.processes.start("writer", main)
    seam = Seam(process)
    endpoint = LinkedEndpoint(
        world.door, Link("writer", draws=world.draws, process=process), process, seam
    )
    writers.append(
        Written(Client(endpoint=endpoint, scheme=world.client.scheme, timeout_seconds=10))
    )
    return process, seam, writers[0]


async def stored(world: World) -> list[str]:
    return [each.metadata.name for each in await world.client.list(ConfigMap, "default")]


@pytest.mark.parametrize(
    ("fate", "there", "known", "errors", "state"),
    [
        (Fate.KILLED_BEFORE, ["a-0"], ["a-0"], [], State.CRASHED),
        (Fate.KILLED_AFTER, ["a-0", "a-1"], ["a-0"], [], State.CRASHED),
        (
            Fate.ANSWER_LOST,
            ["a-0", "a-1", "a-2", "a-3"],
            ["a-0", "a-2", "a-3"],
            ["Timeout"],
            State.RUNNING,
        ),
    ],
)
def test_the_nth_write_meets_its_fate(
    fate: Fate, there: list[str], known: list[str], errors: list[str], state: State
) -> None:
    """The second write: never sent, applied by a process that is dead, or applied and never answered."""

    async def main(world: World) -> None:
        process, seam, writer = wired(world)
        nth = NthWrite(2, fate)
        seam.on_write(nth, "fault")
        await trio.sleep(60)

        assert await stored(world) == there
        assert (writer.known, writer.errors) == (known, errors)
        assert process.state is state
        assert nth.write is not None
        assert nth.write.name == "a-1"
        assert nth.struck.is_set()
        assert seam.reasons == ("fault",)

    in_world(main)


def test_only_writes_that_match_are_counted_and_none_after_the_release() -> None:
    """Three create calls, of which the hook saw two; an update of another kind is not its."""

    async def main(world: World) -> None:
        _, seam, writer = wired(world)
        other, mine = (
            NthWrite(1, Fate.KILLED_BEFORE, Matching(kind="Pod")),
            NthWrite(3, Fate.KILLED_BEFORE, Matching(verb="create", kind="ConfigMap")),
        )
        entries = [seam.on_write(other), seam.on_write(mine)]
        await trio.sleep(2.5)
        for entry in entries:
            entry.release()
        await trio.sleep(60)

        assert (other.seen, mine.seen) == (0, 2)
        assert len(writer.known) == 4
        assert seam.quiet

    in_world(main)


def test_listeners_hear_of_each_answer_and_each_arrival() -> None:
    """An answer, a refusal, and a request whose process dies over it."""

    async def main(world: World) -> None:
        _, seam, _ = wired(world)
        await world.client.create(config_map("a-1"))
        heard, arrived = list[tuple[str, str]](), list[str]()

        def hear(request: Request, answer: Answer | ApiError) -> None:
            heard.append((request.name, type(answer).__name__))

        seam.on_exchange(hear)
        seam.on_arrival(lambda request: arrived.append(request.name))
        seam.on_write(NthWrite(3, Fate.KILLED_AFTER))
        await trio.sleep(60)

        assert heard == [("a-0", "ConfigMap"), ("a-1", AlreadyExists.__name__)]
        assert arrived == ["a-0", "a-1", "a-2"]

    in_world(main)


def watching(world: World) -> tuple[Seam, Informer[ConfigMap], list[Seen]]:
    process = world.simulation.processes.start("watcher", trio.sleep_forever)
    seam = Seam(process)
    endpoint = LinkedEndpoint(
        world.door, Link("watcher", draws=world.draws, process=process), process, seam
    )
    informer = informer_of(world, Client(endpoint=endpoint, scheme=world.client.scheme))
    return seam, informer, listen(informer)


async def equal_to_the_log(world: World, informer: Informer[ConfigMap]) -> bool:
    objects = await world.client.list(ConfigMap, "default")
    return informer.list() == objects


async def put(world: World, name: str, x: str) -> None:
    await world.client.apply(config_map(name, x=x))


async def steps(world: World) -> None:
    """One made, changed twice and made again under its name; one that comes and goes; one a second."""
    for x in ("1", "2", "3"):
        await put(world, "kept", x)
        await trio.sleep(1)
    await put(world, "short", "1")
    await trio.sleep(1)
    await world.client.delete(ConfigMap, "short", "default")
    await trio.sleep(1)
    await world.client.delete(ConfigMap, "kept", "default")
    await put(world, "kept", "4")


def test_a_stalled_watch_tells_all_at_the_release() -> None:
    """Nothing for a minute on an open connection, then each event in order."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        async with running(informer.run):
            await informer.synced()
            entry = seam.stage(Stalled(), "stalled")
            await steps(world)
            await trio.sleep(60)
            assert seen == []
            assert len(world.door.watches) == 1
            entry.release()
            await trio.sleep(1)

            assert [(kind, name) for kind, name, _, _ in seen] == [
                ("added", "kept"),
                ("updated", "kept"),
                ("updated", "kept"),
                ("added", "short"),
                ("deleted", "short"),
                ("deleted", "kept"),
                ("added", "kept"),
            ]
            assert len(world.door.watches) == 1
            assert await equal_to_the_log(world, informer)

    in_world(main)


def test_a_stage_is_of_one_kind() -> None:
    """Watches of other kinds go on."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        async with running(informer.run):
            await informer.synced()
            seam.stage(Stalled(kind="Pod"))
            await put(world, "a", "1")
            await trio.sleep(1)

            assert len(seen) == 1

    in_world(main)


def test_delayed_events_come_later_and_in_order() -> None:
    """Three seconds each; at the release what waits comes at once."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        async with running(informer.run):
            await informer.synced()
            stage = Delayed(delay=DurationRange.parse("3s"), draws=world.draws, label="d")
            entry = seam.stage(stage)
            await put(world, "a", "1")
            await trio.sleep(2.9)
            assert seen == []
            await trio.sleep(0.2)
            assert len(seen) == 1
            await put(world, "a", "2")
            await trio.sleep(1)
            entry.release()
            await trio.sleep(0.1)

            assert [x for _, _, _, x in seen] == ["1", "2"]

    in_world(main)


@pytest.mark.parametrize(
    ("across", "told"),
    [
        (False, [("added", "kept", "3"), ("deleted", "kept", None), ("added", "kept", "4")]),
        (True, [("added", "kept", "3"), ("updated", "kept", "4")]),
    ],
)
def test_skipping_tells_the_last_state_of_each_object(
    across: bool, told: list[tuple[str, str, str | None]]
) -> None:
    """What came and went within the window was never there; a re-creation may look like an update."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        async with running(informer.run):
            await informer.synced()
            seam.stage(Coalesced(window=2.5, across_recreation=across))
            await steps(world)
            await trio.sleep(60)

            assert [(kind, name, x) for kind, name, _, x in seen] == told
            assert await equal_to_the_log(world, informer)

    in_world(main)


def test_a_broken_watch_goes_on_from_where_it_was() -> None:
    """The connection is closed in the middle; nothing is lost and nothing comes twice."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        async with running(informer.run):
            await informer.synced()
            await put(world, "a", "1")
            await trio.sleep(5)
            assert seam.break_watches("Pod") == 0
            assert seam.break_watches() == 1
            await put(world, "a", "2")
            await trio.sleep(5)

            assert [x for _, _, _, x in seen] == ["1", "2"]
            assert len(world.door.watches) == 2
            assert len(seam.watches) == 1

    in_world(main)


def test_gone_has_the_client_list_again() -> None:
    """Refused twice with 410, it lists twice, and then watches on."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        async with running(informer.run):
            await informer.synced()
            lists = len(world.door.requests)
            entry = seam.interpose(Forgetting(times=2), "gone")
            await put(world, "a", "1")
            await trio.sleep(5)
            seam.break_watches()
            await put(world, "a", "2")
            await trio.sleep(60)

            assert len(world.door.requests) == lists + 2
            assert [x for _, _, _, x in seen] == ["1", "2"]
            entry.release()
            assert seam.quiet

    in_world(main)


def test_a_stale_view_shows_the_past_to_those_who_start_and_nothing_to_those_who_run() -> None:
    """An informer that runs sees nothing new; one that starts sees the old state; at the release both see everything, step by step."""

    async def main(world: World) -> None:
        seam, informer, seen = watching(world)
        await put(world, "a", "1")
        async with running(informer.run) as nursery:
            await informer.synced()
            await trio.sleep(5)
            view = StaleView(revision=world.store.head)
            entries = [seam.interpose(view, "pinned"), seam.stage(view, "pinned")]
            await put(world, "a", "2")
            await world.client.delete(ConfigMap, "a", "default")
            await put(world, "b", "3")
            late = informer_of(world, informer.client)
            seen_late = listen(late)
            nursery.start_soon(late.run)
            await trio.sleep(60)
            assert [x for _, _, _, x in seen] == ["1"]
            assert [x for _, _, _, x in seen_late] == ["1"]
            old: ConfigMap = await informer.client.get(
                ConfigMap, "a", "default", resource_version="0"
            )
            assert old.data == {"x": "1"}
            with pytest.raises(NotFound):
                await informer.client.get(ConfigMap, "b", "default", resource_version="0")
            with pytest.raises(NotFound):  # the newest state is right
                await informer.client.get(ConfigMap, "a", "default")
            with pytest.raises(Timeout, match="Too large resource version"):
                await informer.client.list(
                    ConfigMap, "default", resource_version=str(world.store.head)
                )
            for entry in entries:
                entry.release()
            await trio.sleep(5)

            whole = ["1", "2", None, "3"]
            assert [x for _, _, _, x in seen] == whole
            assert [x for _, _, _, x in seen_late] == whole
            assert await equal_to_the_log(world, late)
            assert seam.quiet

    in_world(main)


def test_listeners_hear_of_each_batch() -> None:
    """What the informer got, after all stages."""

    async def main(world: World) -> None:
        seam, informer, _ = watching(world)
        told = list[tuple[str, int]]()

        def hear(request: WatchRequest, events: tuple[WatchEvent, ...]) -> None:
            told.append((request.resource.kind, len(events)))

        seam.on_batch(hear)
        seam.stage(Coalesced(window=10, across_recreation=True))
        async with running(informer.run):
            await informer.synced()
            await steps(world)
            await trio.sleep(60)

            assert told == [("ConfigMap", 1)]

    in_world(main, settings=Settings())
