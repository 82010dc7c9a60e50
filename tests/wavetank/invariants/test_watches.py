"""watchEqualsLog and visibleAfterDurable: a server that does not hand out the log is found out, whatever it does wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
import trio

import wavetank
from engine import (
    ConfigMap,
    Gone,
    Lease,
    LeaseSpec,
    ObjectMeta,
    WatchEvent,
    WatchEventType,
    WatchRequest,
)
from tests.wavetank.contract import DEPLOYMENT
from wavetank import Cluster, NotFound
from wavetank.invariants import (
    InvariantChecker,
    Surroundings,
    VisibleAfterDurable,
    WatchEqualsLog,
    WatchListener,
    surroundings_of,
)

Batch = tuple[WatchEvent, ...]
Distort = Callable[[Batch], Sequence[Batch]]
"""What a broken server would hand out in place of a batch."""


@attrs.define(eq=False)
class Distorting:
    """Tells of another server: as the real one, but for the batches of ConfigMaps."""

    listener: WatchListener
    distort: Distort
    watches: dict[int, bool] = attrs.field(factory=dict)

    def opened(self, watch: int, request: WatchRequest, after: int, *, from_state: bool) -> None:
        self.watches[watch] = request.resource.kind == "ConfigMap"
        self.listener.opened(watch, request, after, from_state=from_state)

    def delivered(self, watch: int, events: Batch) -> None:
        for batch in self.distort(events) if self.watches[watch] else (events,):
            self.listener.delivered(watch, batch)

    def ended(self, watch: int, upto: int | None) -> None:
        self.listener.ended(watch, upto)


def config(name: str, value: object, **labels: str) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace="default", labels=labels),
        data={"value": f"{value}"},
    )


async def follow(cluster: Cluster, version: str | None = None, **options: str) -> None:
    """Read one watch of ConfigMaps for ever."""
    revision = f"{cluster.log.head}" if version is None else version
    async with cluster.client.watch(ConfigMap, resource_version=revision, **options) as stream:
        while True:
            await stream.receive()


async def busy(cluster: Cluster) -> None:
    """Three objects: made, changed, relabelled, removed; a client reads in between and at the end."""
    client = cluster.client
    for name in ("a", "b", "c"):
        await client.create(config(name, 0, app="x"))
    await trio.sleep(1)
    for turn in range(1, 3):
        for name in ("a", "b"):
            await client.update(config(name, turn, app="x" if turn == 1 else "y"))
        await trio.sleep(1)
    await client.update(config("a", 9, app="x"))
    await client.delete(ConfigMap, "b", "default")
    await trio.sleep(1)
    await client.update(config("c", 9, app="x"))
    await trio.sleep(1)


def watched(distort: Distort, options: Sequence[dict[str, str]] = ({},)) -> list[str]:
    """What is found of a server that distorts so; a watch for each of the options."""
    checker = InvariantChecker([WatchEqualsLog()])

    async def main(cluster: Cluster) -> None:
        around = surroundings_of(cluster)
        assert around.listen is not None
        listen = around.listen
        checker.begin(
            attrs.evolve(around, listen=lambda listener: listen(Distorting(listener, distort)))
        )
        cluster.observer.add(checker)
        async with trio.open_nursery() as nursery:
            for each in options:
                nursery.start_soon(lambda each=each: follow(cluster, **each))
            await trio.sleep(1)
            await busy(cluster)
            nursery.cancel_scope.cancel()
        await cluster.observer.caught_up(cluster.log.head)
        checker.finish(cluster.view, cluster.clock.now_ns())

    wavetank.run(main, nodes=0, reconcilers=[], invariants=())
    return [violation.message for violation in checker.violations]


def as_it_is(batch: Batch) -> Sequence[Batch]:
    return (batch,)


EVERY_OPTION = (
    {},
    {"version": ""},
    {"namespace": "default"},
    {"namespace": "elsewhere"},
    {"label_selector": "app=x"},
    {"field_selector": "metadata.name=a"},
    {"field_selector": "metadata.name!=a", "label_selector": "app in (x)"},
    {"namespace": "default", "field_selector": "metadata.name=b", "version": ""},
)


def test_the_real_server_hands_out_the_log() -> None:
    """With every kind of selector, from a revision and from the state."""
    assert [] == watched(as_it_is, EVERY_OPTION)


def drops(revision_of_batch: int) -> Distort:
    """Leaves out the n-th event it meets."""
    count = 0

    def distort(batch: Batch) -> Sequence[Batch]:
        nonlocal count
        kept = []
        for event in batch:
            count += 1
            if count != revision_of_batch:
                kept.append(event)
        return (tuple(kept),) if kept else ()

    return distort


def test_an_event_that_is_left_out() -> None:
    """In the middle it shows with the next one, at the end when the watch ends."""
    assert "was not handed ADDED r" in watched(drops(2))[0]
    assert "was never handed MODIFIED r" in watched(drops(10))[0]
    assert 1 == len(watched(drops(2)))


def once(change: Callable[[WatchEvent], WatchEvent], type_: WatchEventType) -> Distort:
    """Changes the first event of a type."""
    done = False

    def distort(batch: Batch) -> Sequence[Batch]:
        nonlocal done
        events = list(batch)
        for place, event in enumerate(events):
            if event.type is type_ and not done:
                done = True
                events[place] = change(event)
        return (tuple(events),)

    return distort


def older(event: WatchEvent) -> WatchEvent:
    """With content that is not the log's."""
    assert isinstance(event.object, ConfigMap)
    return attrs.evolve(event, object=attrs.evolve(event.object, data={"value": "stale"}))


def as_added(event: WatchEvent) -> WatchEvent:
    return attrs.evolve(event, type=WatchEventType.ADDED)


def of_another_revision(event: WatchEvent) -> WatchEvent:
    """The object does not carry the revision of the event."""
    assert isinstance(event.object, ConfigMap)
    metadata = attrs.evolve(event.object.metadata, resource_version="7")
    return attrs.evolve(event, object=attrs.evolve(event.object, metadata=metadata))


@pytest.mark.parametrize(
    ("change", "type_"),
    [
        (older, WatchEventType.ADDED),
        (older, WatchEventType.MODIFIED),
        (older, WatchEventType.DELETED),
        (as_added, WatchEventType.MODIFIED),
        (of_another_revision, WatchEventType.ADDED),
    ],
    ids=["content", "changed content", "previous value", "type", "resourceVersion"],
)
def test_an_event_that_says_something_else(
    change: Callable[[WatchEvent], WatchEvent], type_: WatchEventType
) -> None:
    """Its type, its content, the last state of a deletion, its resourceVersion."""
    found = watched(once(change, type_), ({}, {"label_selector": "app=x"}))

    assert 1 == len(found)
    assert "; the log says " in found[0]


def test_an_event_twice() -> None:
    """In one batch, and in two."""
    within = watched(lambda batch: ((batch[0], *batch),))
    between = watched(lambda batch: (batch, batch))

    assert "was handed ADDED a r" in within[0] or "was not handed" in within[0]
    assert "in a batch after the one that ended with" in between[0]


def test_a_revision_that_is_split() -> None:
    """Two Leases of one transaction cannot be made by the API; the rule is held by hand: two batches of one revision."""
    event = WatchEvent(WatchEventType.ADDED, config("a", 1), 5)
    found = watched(lambda batch: (batch, (attrs.evolve(event, revision=batch[-1].revision),)))

    assert "in a batch after the one that ended with" in found[0]


def test_events_out_of_order() -> None:
    """Newest first."""
    found = watched(lambda batch: (tuple(reversed(batch)),) if len(batch) > 1 else (batch,))

    assert "was not handed ADDED r" in found[0]


def test_what_was_not_asked_for() -> None:
    """The filter is not applied: an object of another name, an object that left the selector."""
    stranger = config("stranger", 1)

    def distort(batch: Batch) -> Sequence[Batch]:
        revision = batch[-1].revision + 1
        metadata = attrs.evolve(stranger.metadata, resource_version=f"{revision}")
        shown = attrs.evolve(stranger, metadata=metadata)
        return ((*batch, WatchEvent(WatchEventType.ADDED, shown, revision)),)

    found = watched(distort, ({"field_selector": "metadata.name=a"},))

    assert (
        "(metadata.name=a) was handed ADDED stranger r" in found[0] or "was not handed" in found[0]
    )


def test_a_bookmark_that_comes_too_early() -> None:
    """It promises that nothing up to its revision is to come; a true one is well."""

    def marks(ahead: int) -> Distort:
        def distort(batch: Batch) -> Sequence[Batch]:
            revision = batch[-1].revision + ahead
            return (batch, (WatchEvent(WatchEventType.BOOKMARK, None, revision),))

        return distort

    early = watched(marks(1))
    low = watched(lambda b: (b, (WatchEvent(WatchEventType.BOOKMARK, None, b[0].revision - 1),)))

    assert "was never handed " in early[0] or "in a batch after" in early[0]
    assert "in a batch after the one that ended with" in low[0]


def test_a_state_with_an_object_twice() -> None:
    """A watch that begins with the state."""

    async def main(cluster: Cluster) -> list[str]:
        await cluster.client.create(config("a", 1))
        checker = InvariantChecker([WatchEqualsLog()])
        around = surroundings_of(cluster)
        assert around.listen is not None
        listen = around.listen
        distort: Distort = lambda batch: ((*batch, *batch),)  # noqa: E731 - the shape of the others
        checker.begin(
            attrs.evolve(around, listen=lambda listener: listen(Distorting(listener, distort)))
        )
        cluster.observer.add(checker)
        with trio.move_on_after(1):
            await follow(cluster, "")
        await cluster.client.create(config("b", 1))
        await cluster.observer.caught_up(cluster.log.head)
        checker.finish(cluster.view, 0)
        return [violation.message for violation in checker.violations]

    found = wavetank.run(main, nodes=0, reconcilers=[], invariants=()).value or []

    assert 1 == len(found)
    assert "began with an object twice" in found[0]


def test_a_late_listener_joins_every_open_watch() -> None:
    """The watches of a cluster that is up already are followed from where they are, and what comes next is compared."""
    heard: list[tuple[int, int]] = []
    delivered: dict[int, int] = {}

    @attrs.define(eq=False)
    class Listener:
        def opened(
            self, watch: int, request: WatchRequest, after: int, *, from_state: bool
        ) -> None:
            del request
            assert not from_state
            heard.append((watch, after))

        def delivered(self, watch: int, events: Batch) -> None:
            delivered[watch] = delivered.get(watch, 0) + len(events)

        def ended(self, watch: int, upto: int | None) -> None:
            del watch, upto

    async def main(cluster: Cluster) -> int:
        await cluster.apply(DEPLOYMENT.format(name="web", replicas=2, version=1))
        await cluster.settled()
        checker = InvariantChecker([WatchEqualsLog()])
        around = surroundings_of(cluster)
        checker.begin(around)
        assert around.listen is not None
        around.listen(Listener())
        cluster.observer.add(checker)
        head = cluster.log.head
        await cluster.apply(DEPLOYMENT.format(name="web", replicas=2, version=2))
        await cluster.settled()
        await trio.sleep(60)
        checker.finish(cluster.view, cluster.clock.now_ns())
        assert [] == checker.violations
        return head

    head = wavetank.run(main, invariants=()).value

    assert len(heard) > 20
    assert [] == [(w, after, head) for w, after in heard if after != head]
    assert len(delivered) > 10


def test_watches_that_break_off_and_resume() -> None:
    """Partitions and restarts: every stream is the log, from wherever it begins; a compacted past is refused, not invented."""

    async def main(cluster: Cluster) -> None:
        await cluster.apply(DEPLOYMENT.format(name="web", replicas=4, version=1))
        await cluster.settled()
        await cluster.chaos.partition("node-0", 90)
        for version in range(2, 5):
            await cluster.apply(DEPLOYMENT.format(name="web", replicas=4, version=version))
            await trio.sleep(20)
            for name in list(cluster.control_plane.controllers):
                await cluster.chaos.restart_reconciler(name)
        await trio.sleep(300)
        with pytest.raises(Gone):
            async with cluster.client.watch(wavetank.Pod, resource_version="1"):
                pass

    settings = wavetank.Settings(watch_cache_window=50)
    checker = WatchEqualsLog()

    async def followed(cluster: Cluster) -> None:
        whole = InvariantChecker([checker])
        whole.begin(surroundings_of(cluster))
        cluster.observer.add(whole)
        await main(cluster)
        await cluster.processes.aclose()
        await cluster.observer.caught_up(cluster.log.head)
        whole.finish(cluster.view, cluster.clock.now_ns())
        assert [] == whole.violations

    wavetank.run(followed, settings=settings, invariants=())


@pytest.mark.parametrize(("durable", "found"), [(lambda head: head, 0), (lambda head: head - 1, 1)])
def test_nothing_is_shown_before_it_is_durable(durable: Callable[[int], int], found: int) -> None:
    """Held against a store that says what is durable: all of it, or all but the last revision."""
    checker = InvariantChecker([VisibleAfterDurable()], limit=1)

    async def main(cluster: Cluster) -> None:
        around: Surroundings = surroundings_of(cluster)
        checker.begin(attrs.evolve(around, durable=lambda: durable(cluster.log.head)))
        cluster.observer.add(checker)
        lease = Lease(
            metadata=ObjectMeta(name="l", namespace="default"),
            spec=LeaseSpec(holder_identity="x"),
        )
        await cluster.client.create(lease)
        with trio.move_on_after(5):
            await follow(cluster, "")
        try:
            await cluster.client.delete(ConfigMap, "none", "default")
        except NotFound:
            await cluster.client.create(config("a", 1))
        with trio.move_on_after(5):
            await follow(cluster, "")
        checker.finish(cluster.view, 0)

    wavetank.run(main, nodes=1, invariants=())

    assert found == len(checker.violations)
