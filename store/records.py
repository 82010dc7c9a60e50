"""The records of the store: what is asked of it, what it answers, and what its log is made of.

Keys are strings, values opaque. A value is stored by reference, is never copied, and must never change; a `Codec` (store.protocol)
turns it into canonical bytes where bytes are needed: in the log, in the digest, and to compare values.

The life of one key, `a`, with the records it leaves (an empty store is at revision 1, as etcd's is):

    Put("a", x)     Event(PUT,    revision=2, previous=0, create_revision=2, version=1)
    Put("a", y)     Event(PUT,    revision=3, previous=2, create_revision=2, version=2)
    Put("b", z)     (another key's: revision=4)
    Delete("a")     Event(DELETE, revision=5, previous=3, create_revision=0, version=0)
    Put("a", x)     Event(PUT,    revision=6, previous=0, create_revision=6, version=1)
"""

from __future__ import annotations

import enum
from typing import Final, Literal, NewType, TypeAlias

import attrs

Revision = NewType("Revision", int)
"""The store's global, gapless, ever-growing count of transactions that changed something."""

EMPTY_REVISION: Final = Revision(1)
"""The revision of a store in which nothing has ever been written: the first write takes the next one, as in etcd."""

Cause: TypeAlias = int | str
"""A revision whose delivery made the actor act, or the name of a timer, a fault or a declared root."""


@attrs.frozen
class Origin:
    """Who writes, and why: the process, the reconcile in which it wrote, and what made it act."""

    actor: str
    reconcile: str = ""
    causes: tuple[Cause, ...] = ()


class EventType(enum.Enum):
    """What happened to the key."""

    PUT = "PUT"
    DELETE = "DELETE"


@attrs.frozen(kw_only=True)
class Event:
    """One key's change at one revision. All events of one transaction share its revision, in the order of its operations."""

    type: EventType
    key: str
    value: object
    """The new value; None for a DELETE."""
    revision: Revision
    previous: int
    """Revision of the change before this one; 0 when the key did not exist."""
    create_revision: int
    """Revision at which the key was created; 0 for a DELETE."""
    version: int
    """How many puts the key has had since it was created; 0 for a DELETE."""
    lease: int
    """Id of the lease that the key is attached to; 0 for none."""
    time_ns: int
    """When, in nanoseconds since the start of the run."""
    origin: Origin

    @property
    def created(self) -> bool:
        """Whether the key did not exist before."""
        return self.version == 1


@attrs.frozen(kw_only=True)
class KeyValue:
    """A key as it stands at a revision."""

    key: str
    value: object
    """None when only keys were asked for."""
    create_revision: int
    mod_revision: Revision
    version: int
    lease: int = 0


class Target(enum.Enum):
    """What of a key is compared; an absent key has 0 for all but the value."""

    VERSION = "VERSION"
    CREATE = "CREATE"
    MOD = "MOD"
    VALUE = "VALUE"
    LEASE = "LEASE"


CompareOp: TypeAlias = Literal["=", "!=", "<", ">"]


@attrs.frozen
class Compare:
    """A condition of a transaction: every key of the range has a `target` that stands so to `operand`.

    An absent key (or an empty range) has version, revisions and lease 0; a comparison of its value never holds. Values are compared by
    their encoded bytes.
    """

    key: str
    target: Target
    op: CompareOp
    operand: object
    range_end: str | None = attrs.field(default=None, kw_only=True)


class SortTarget(enum.Enum):
    """What a range is sorted by; equals stay in the order of their keys."""

    KEY = "KEY"
    VERSION = "VERSION"
    CREATE = "CREATE"
    MOD = "MOD"
    VALUE = "VALUE"


@attrs.frozen
class Get:
    """Read a range; see store.keys for `range_end`.

    `limit` cuts the answer after so many keys (0: no limit) and counts after the bounds on revisions, whereas `count` in
    the answer is that of the whole range, as in etcd. `revision` 0 is the head.
    """

    key: str
    range_end: str | None = None
    revision: int = attrs.field(default=0, kw_only=True)
    limit: int = attrs.field(default=0, kw_only=True)
    keys_only: bool = attrs.field(default=False, kw_only=True)
    count_only: bool = attrs.field(default=False, kw_only=True)
    sort_by: SortTarget = attrs.field(default=SortTarget.KEY, kw_only=True)
    descending: bool = attrs.field(default=False, kw_only=True)
    min_mod_revision: int = attrs.field(default=0, kw_only=True)
    max_mod_revision: int = attrs.field(default=0, kw_only=True)
    min_create_revision: int = attrs.field(default=0, kw_only=True)
    max_create_revision: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class Put:
    """Write a key. `ignore_value` and `ignore_lease` keep what it has, and need the key to exist."""

    key: str
    value: object = None
    lease: int = attrs.field(default=0, kw_only=True)
    prev_kv: bool = attrs.field(default=False, kw_only=True)
    ignore_value: bool = attrs.field(default=False, kw_only=True)
    ignore_lease: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Delete:
    """Delete a range; deleting nothing takes no revision."""

    key: str
    range_end: str | None = None
    prev_kv: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Txn:
    """If all `compares` hold then `success`, else `failure`, as one atomic step that takes one revision or none.

    Operations run in order, each seeing what those before it did. A transaction may stand inside another; all
    compares, the nested ones too, look at the state before the whole. A key is changed at most once.
    """

    compares: tuple[Compare, ...] = ()
    success: tuple[Op, ...] = ()
    failure: tuple[Op, ...] = ()


Op: TypeAlias = Put | Delete | Get | Txn
"""One operation of a transaction."""


@attrs.frozen(kw_only=True)
class RangeResult:
    """The answer to a Get."""

    kvs: tuple[KeyValue, ...]
    count: int
    """Keys in the whole range, whatever the limit and the bounds on revisions."""
    more: bool
    """Whether the limit cut some off."""
    revision: Revision
    """The head at the time of the answer."""


@attrs.frozen(kw_only=True)
class PutResult:
    """The answer to a Put."""

    prev_kv: KeyValue | None
    """The key before, if it was asked for and existed."""
    revision: Revision


@attrs.frozen(kw_only=True)
class DeleteResult:
    """The answer to a Delete."""

    deleted: int
    prev_kvs: tuple[KeyValue, ...]
    """The keys before, in order, if they were asked for."""
    revision: Revision


@attrs.frozen(kw_only=True)
class TxnResult:
    """The answer to a Txn: which branch ran, the revision after it, and one response for each operation of the branch."""

    succeeded: bool
    revision: Revision
    responses: tuple[OpResult, ...] = ()


OpResult: TypeAlias = RangeResult | PutResult | DeleteResult | TxnResult
"""The answer to one operation."""


@attrs.frozen(kw_only=True)
class WatchBatch:
    """What a watch delivers: events in order, whole revisions only.

    `revision` is the bookmark: the watch has been given all it will ever be given up to and with that revision, so it can be resumed
    from the next one. A batch without events is a progress notification.
    """

    events: tuple[Event, ...]
    revision: Revision
    previous: tuple[KeyValue | None, ...] = ()
    """With prev_kv: for each event the key before it; None if it did not exist, or that state is compacted."""


@attrs.frozen(kw_only=True)
class LeaseStatus:
    """A lease: granted for `granted_seconds`, with `remaining_seconds` left (whole seconds, rounded down)."""

    id: int
    granted_seconds: int
    remaining_seconds: int
    keys: tuple[str, ...] = ()


class Durability(enum.Enum):
    """What an acknowledged write has outlived."""

    NONE = "none"
    """Nothing: it is in memory, and reaches the log when the buffer is full or the store is closed."""
    BUFFERED = "buffered"
    """The end of the process: the operating system has it."""
    FSYNC = "fsync"
    """The loss of power: the disk has it. Writes made at the same time share one sync."""
