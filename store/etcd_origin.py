"""Who wrote what an etcd holds, when and why: kept beside the values, in the same transaction. Pure.

etcd's values are the bytes of the codec and nothing else: so compares and sorts by value are etcd's own, and every client of etcd can read
them. Each transaction that changes something puts, in the same revision, one key more, whose value tells the origin and the time
(docs/decisions/0010-etcd-transport.md). Its name is above all text, so that no read of a caller meets it.

A transaction of ours must take a revision only if one of the caller's would. A branch that puts a key always does. One that only deletes does if there is something to
delete, and that is for etcd to find out:

    Txn(success=(Put(a),))                    Txn(success=(Put(a), origin))
    Txn(success=(Delete(a),))                 Txn(success=(Delete(a), Txn((a exists,), (origin,))))

Nested transactions may all end up with an origin, which must not be the same key twice: they are numbered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Final, cast

import attrs

from store.etcd_wire import ABOVE_TEXT, Message, Wire, data, encoded, key_range
from store.records import Cause, Delete, Op, Origin, Put, Txn

ORIGIN_KEY: Final = ABOVE_TEXT + b"wavetank/origin/"
HEADER_KEY: Final = ABOVE_TEXT + b"wavetank/header"
"""Holds what was given as the header by who came first."""

OPERATIONS_TAKEN: Final = 2
"""Of etcd's limit on operations of a transaction: one in the branch, one where it is nested."""

STORE: Final = "store"
FOREIGN: Final = Origin("etcd", "", ("foreign",))
"""Of what was written by a client that is none of ours."""


@attrs.frozen
class Stamp:
    """Who changed something, and when; in Unix nanoseconds if the store has an epoch."""

    origin: Origin
    time_ns: int

    def encode(self) -> bytes:
        """The value of an origin key: JSON, for whoever looks with etcdctl."""
        return json.dumps(
            {
                "v": 1,
                "time": self.time_ns,
                "actor": self.origin.actor,
                "reconcile": self.origin.reconcile,
                "causes": list(self.origin.causes),
            },
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()

    @classmethod
    def decode(cls, octets: bytes) -> Stamp:
        """The stamp of its bytes. Raises ValueError for what is none."""
        try:
            fields = cast("dict[str, object]", json.loads(octets))
            origin = Origin(
                str(fields["actor"]),
                str(fields["reconcile"]),
                tuple(cast("list[Cause]", fields["causes"])),
            )
            return cls(origin, int(cast("int", fields["time"])))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no origin: {octets[:80]!r}") from error


def lease_ended(lease: int) -> Origin:
    """The origin of what the end of a lease deletes; etcd does that by itself, so there is no stamp."""
    return Origin(STORE, "", (f"timer:lease/{lease}",))


def stamp_of(kv: Message) -> Stamp | None:
    """The stamp that a key-value of a watch is; None when it is something else."""
    if not data(kv, "key").startswith(ORIGIN_KEY):
        return None
    return Stamp.decode(data(kv, "value"))


def stamped(txn: Txn, wire: Wire, stamp: Stamp) -> Message:
    """The message of a transaction that leaves its stamp in each revision it takes. Answers to what is added stand after the others."""
    value = encoded(stamp.encode())
    numbers = count()
    message = wire.txn(txn)
    for name, operations in (("success", txn.success), ("failure", txn.failure)):
        added = list(_stamps(operations, wire, value, numbers, message[name]))
        cast("list[Message]", message[name]).extend(added)
    return message


def _stamps(
    operations: tuple[Op, ...], wire: Wire, value: str, numbers: Iterator[int], written: object
) -> Iterator[Message]:
    """What to add to a branch whose messages are `written`; nested ones are added to in place."""
    if any(isinstance(operation, Put) for operation in operations):
        yield _put(value, next(numbers))
        return
    for operation, message in zip(operations, cast("list[Message]", written), strict=True):
        if isinstance(operation, Delete):
            yield _if_it_exists(operation, _put(value, next(numbers)))
        elif isinstance(operation, Txn):
            nested = cast("Message", message["request_txn"])
            for name, branch in (("success", operation.success), ("failure", operation.failure)):
                added = list(_stamps(branch, wire, value, numbers, nested[name]))
                cast("list[Message]", nested[name]).extend(added)


def _put(value: str, number: int) -> Message:
    return {"request_put": {"key": encoded(ORIGIN_KEY + b"%d" % number), "value": value}}


def _if_it_exists(delete: Delete, put: Message) -> Message:
    """A compare of a range holds when it holds for every key, and of no key its create revision is 0."""
    exists = key_range(delete.key, delete.range_end)
    exists |= {"target": "CREATE", "result": "GREATER", "create_revision": "0"}
    return {"request_txn": {"compare": [exists], "success": [put]}}
