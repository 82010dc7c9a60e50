"""The canonical bytes of an event, and the digest."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import Event, EventType, Origin, Revision, Txn, open_store
from store.encoding import EVENT_SCHEMA, BadEncoding, Digest, decode_event, encode_event
from store.records import Put
from tests.store.support import CODEC, USER

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.integers(0, 2**63 - 1)
ORIGINS = st.builds(Origin, TEXT, TEXT, st.lists(NUMBER | TEXT, max_size=3).map(tuple))


@st.composite
def events(draw: st.DrawFn) -> Event:
    put = draw(st.booleans())
    return Event(
        type=EventType.PUT if put else EventType.DELETE,
        key=draw(TEXT),
        value=draw(st.lists(st.integers() | TEXT, max_size=3)) if put else None,
        revision=Revision(draw(NUMBER)),
        previous=draw(NUMBER),
        create_revision=draw(NUMBER),
        version=draw(NUMBER),
        lease=draw(NUMBER),
        time_ns=draw(NUMBER),
        origin=draw(ORIGINS),
    )


EXAMPLE = Event(
    type=EventType.PUT,
    key="/registry/pods/default/web",
    value={"b": 1, "a": [True, None]},
    revision=Revision(300),
    previous=7,
    create_revision=3,
    version=2,
    lease=0,
    time_ns=1_500_000_000,
    origin=Origin("controller/deployment", "12", (299, "timer:resync")),
)


def test_the_bytes_of_an_event_are_fixed() -> None:
    """Version 1 of the schema, byte for byte: change them and every digest changes."""
    assert EVENT_SCHEMA == 1
    assert encode_event(EXAMPLE, CODEC).hex() == (
        "9c00ba2f72656769737472792f706f64732f64656661756c742f776562"
        "c4177b2261223a5b747275652c6e756c6c5d2c2262223a317d"
        "cd012c07030200ce59682f00"
        "b5636f6e74726f6c6c65722f6465706c6f796d656e74a23132"
        "92cd012bac74696d65723a726573796e63"
    )


@given(events())
def test_events_survive_their_encoding(event: Event) -> None:
    """Decoding gives the event back, and encoding that the same bytes."""
    data = encode_event(event, CODEC)
    back = decode_event(data, CODEC)

    assert event == back
    assert data == encode_event(back, CODEC)


@given(events(), events())
def test_different_events_have_different_bytes(one: Event, other: Event) -> None:
    """No two events are confused in the digest."""
    assert (one == other) is (encode_event(one, CODEC) == encode_event(other, CODEC))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb(5),
        msgpack.packb([0] * 11),
        msgpack.packb([7, "k", b"1", 1, 1, 1, 1, 1, 1, "a", "", []]),
        msgpack.packb([0, "k", b"1", "1", 1, 1, 1, 1, 1, "a", "", []]),
        msgpack.packb([0, "k", b"no json", 1, 1, 1, 1, 1, 1, "a", "", []]),
        encode_event(EXAMPLE, CODEC) + b"\0",
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    """Whatever is wrong, it is BadEncoding."""
    with pytest.raises(BadEncoding):
        decode_event(data, CODEC)


def test_the_digest_can_be_carried_on_from_anywhere() -> None:
    """It depends on the events and their order, and on nothing else."""
    parts = [b"one", b"two", b"three"]
    whole, first = Digest(), Digest()
    for part in parts:
        whole.add(part)
    first.add(parts[0])
    second = Digest(first.value)
    second.add(parts[1])
    second.add(parts[2])
    swapped = Digest()
    for part in reversed(parts):
        swapped.add(part)

    assert whole.hex == second.hex != swapped.hex
    assert len(whole.hex) == 32


async def test_the_memory_digest_is_exact_however_often_it_is_asked_for(tmp_path: Path) -> None:
    """Lazy or eager, in memory or in a log: the same."""
    digests: list[list[str]] = []
    for path, often in ((None, True), (None, False), (tmp_path / "run.wtl", False)):
        seen: list[str] = []
        async with open_store(path, codec=CODEC, clock=lambda: 7) as store:
            for n in range(5):
                txn = Txn(success=(Put("a", n), Put("b", n)))
                await store.txn(txn, origin=USER)
                if often:
                    seen.append(store.digest)
            seen.append(store.digest)
        digests.append(seen)

    assert digests[0][-1] == digests[1][0] == digests[2][0]
    assert len(dict.fromkeys(digests[0])) == 5
