"""Events as canonical bytes, and the digest that chains them. Beside `store.frames` the only module that knows the bytes.

An event is a msgpack array of its fields in this order, each in msgpack's shortest form:

    type (0 PUT, 1 DELETE), key, value (the codec's bytes; nil for a DELETE), revision, previous, create_revision,
    version, lease, time_ns, actor, reconcile, causes (an array of integers and strings)

Equal events have equal bytes. The digest of n events is d(n) = blake2b-128(d(n-1) + bytes of event n), and d(0) hashes the
name of the schema; so it can be carried on from any point, and equal digests mean equal logs.

The schema has a version, which every segment of a log names. To change it: raise EVENT_SCHEMA, and add to `_LIFTS` the step that
turns the previous version's array into the new one's. A log of any older version is lifted step by step while it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final, TypeAlias, cast

import attrs
import msgpack

from store.drafts import maker
from store.history import Commit
from store.protocol import Codec
from store.records import Cause, Event, EventType, Origin, Revision

EVENT_SCHEMA: Final = 1

Fields: TypeAlias = list[object]
"""The fields of an encoded event."""

_LIFTS: Final[dict[int, Callable[[Fields], Fields]]] = {}
"""From version n to n + 1. Version 1 is the first."""

_DIGEST_BYTES: Final = 16
_PUT: Final = EventType.PUT
_TYPES: Final = (EventType.PUT, EventType.DELETE)
_FIELD_COUNT: Final = 12

_begin: Final = blake2b(digest_size=_DIGEST_BYTES).copy
"""A new hash: a copy of an empty one, which spares parsing its arguments for every event."""

_pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class BadEncoding(ValueError):
    """The bytes are no event."""


def encode_event(event: Event, codec: Codec) -> bytes:
    """The canonical bytes of an event."""
    origin = event.origin
    put = event.type is _PUT
    return _pack(
        (
            0 if put else 1,
            event.key,
            codec.encode(event.value) if put else None,
            event.revision,
            event.previous,
            event.create_revision,
            event.version,
            event.lease,
            event.time_ns,
            origin.actor,
            origin.reconcile,
            origin.causes,
        )
    )


def decode_event(data: bytes, codec: Codec, schema: int = EVENT_SCHEMA) -> Event:
    """The event of its bytes, written in `schema`. Raises BadEncoding."""
    try:
        return _event(_fields(data, schema), codec)
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise BadEncoding(f"not an event: {error}") from error


def put_key(data: bytes, schema: int = EVENT_SCHEMA) -> tuple[bool, str]:
    """Whether the event is a PUT, and its key, without the work of decoding its value. Raises BadEncoding."""
    try:
        fields = _fields(data, schema)
        return fields[0] == 0, cast("str", fields[1])
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise BadEncoding(f"not an event: {error}") from error


def _fields(data: bytes, schema: int) -> Fields:
    fields = cast("Fields", msgpack.unpackb(data, raw=False, strict_map_key=True))
    for version in range(schema, EVENT_SCHEMA):
        fields = _LIFTS[version](fields)
    return fields


_made: Final = maker(Event)


def _event(fields: Fields, codec: Codec) -> Event:
    if len(fields) != _FIELD_COUNT:
        raise BadEncoding(f"an event has {_FIELD_COUNT} fields")
    kind, key, value, *numbers, actor, reconcile, causes = fields
    if not all(isinstance(number, int) for number in numbers):
        raise BadEncoding(f"revisions, version, lease and time are numbers, not {numbers!r}")
    revision, previous, create_revision, version, lease, time_ns = cast("list[int]", numbers)
    return _made(
        _TYPES[cast("int", kind)],
        str(key),
        None if value is None else codec.decode(cast("bytes", value)),
        Revision(revision),
        previous,
        create_revision,
        version,
        lease,
        time_ns,
        Origin(str(actor), str(reconcile), tuple(cast("list[Cause]", causes))),
    )


@attrs.define(eq=False)
class Digest:
    """The rolling hash over events."""

    value: bytes = attrs.field(
        factory=lambda: blake2b(
            b"wavetank event schema %d" % EVENT_SCHEMA, digest_size=_DIGEST_BYTES
        ).digest()
    )

    def add(self, event_bytes: bytes) -> None:
        """Chain one event on."""
        hashed = _begin()
        hashed.update(self.value)
        hashed.update(event_bytes)
        self.value = hashed.digest()

    def add_commits(self, commits: Iterable[Commit], codec: Codec) -> None:
        """Chain the events of commits on."""
        for commit in commits:
            for event in commit:
                self.add(encode_event(event, codec))

    @property
    def hex(self) -> str:
        """The digest as it is shown."""
        return self.value.hex()
