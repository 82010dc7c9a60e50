"""What the tests of the store share: a codec, an origin, and a way to look at a store's watches without waiting for ever."""

from __future__ import annotations

import json
from collections.abc import Sequence

import trio
import trio.testing

from store import Event, EventType, KeyValue, Origin, Watch, WatchBatch

USER = Origin("user", "", ("test",))


class JsonCodec:
    """Values are JSON data."""

    def encode(self, value: object) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    def decode(self, data: bytes) -> object:
        return json.loads(data)


CODEC = JsonCodec()


def brief(events: Sequence[Event]) -> list[tuple[str, str, object, int]]:
    """Events as (type, key, value, revision)."""
    return [(event.type.value, event.key, event.value, event.revision) for event in events]


def pairs(kvs: Sequence[KeyValue]) -> list[tuple[str, object]]:
    """Keys and their values."""
    return [(kv.key, kv.value) for kv in kvs]


def keys(kvs: Sequence[KeyValue]) -> list[str]:
    return [kv.key for kv in kvs]


async def receive_until(watch: Watch, revision: int) -> list[WatchBatch]:
    """Receive until the bookmark has reached `revision`; fails if that takes too long."""
    batches: list[WatchBatch] = []
    with trio.fail_after(5):
        while watch.revision < revision:
            batches.append(await watch.receive())
    return batches


async def events_until(watch: Watch, revision: int) -> list[Event]:
    """The events up to the one of `revision`, which must come."""
    events: list[Event] = []
    with trio.fail_after(5):
        while not events or events[-1].revision < revision:
            events += (await watch.receive()).events
    return events


async def nothing_comes(watch: Watch) -> bool:
    """Whether the watch has nothing to deliver, now that every other task has had its turn."""
    batches: list[WatchBatch] = []

    async def receive() -> None:
        batches.append(await watch.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not batches, f"unexpectedly received {batches}"
    return True


def fold(events: Sequence[Event], at: int) -> dict[str, tuple[object, int, int, int, int]]:
    """The state at a revision, computed the plain way: value, create, mod, version, lease of each key."""
    state: dict[str, tuple[object, int, int, int, int]] = {}
    for event in events:
        if event.revision > at:
            break
        if event.type is EventType.DELETE:
            del state[event.key]
        else:
            state[event.key] = (
                event.value,
                event.create_revision,
                event.revision,
                event.version,
                event.lease,
            )
    return state


def as_state(kvs: Sequence[KeyValue]) -> dict[str, tuple[object, int, int, int, int]]:
    """An answer in the form of `fold`."""
    return {
        kv.key: (kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in kvs
    }
