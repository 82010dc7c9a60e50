"""The protocol that every backend speaks, with its guarantees by name; tests/store/conformance holds one test for each.

- Atomic: a transaction happens wholly or not at all, and takes one revision.
- Strictly serialisable: transactions happen one after another, each between its call and its answer.
- Durable: what was acknowledged survives what the durability names; nobody is shown what is not durable.
- Watches are ordered, unique, reliable, atomic, resumable and bookmarkable; one that was compacted away ends with `Compacted`.
- Leases never end early, and take their keys with them in one transaction.

Every async method is a checkpoint. One that writes is cancelled before it has done anything, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

from store.records import (
    DeleteResult,
    Event,
    EventType,
    LeaseStatus,
    Origin,
    PutResult,
    RangeResult,
    Revision,
    SortTarget,
    Txn,
    TxnResult,
    WatchBatch,
)


class Codec(Protocol):
    """Turns values into bytes and back. Equal values must give equal bytes, in any process."""

    def encode(self, value: object) -> bytes:
        """The canonical bytes of a value."""
        ...

    def decode(self, data: bytes) -> object:
        """The value of the bytes. Raises whatever fits when they are not a value."""
        ...


@attrs.frozen(kw_only=True)
class StoreStatistics:
    """The condition of a store."""

    head: Revision
    compacted: Revision
    window: Revision
    """The oldest revision that is read from memory."""
    keys: int
    """Keys that exist at the head."""
    revisions_in_memory: int
    watchers: int
    watchers_catching_up: int
    leases: int
    log_segments: int = 0
    log_bytes: int = 0
    """Written to the newest segment, header included."""
    log_syncs: int = 0


@attrs.frozen(kw_only=True)
class WatchStatistics:
    """The condition of a watch."""

    state: str
    """`synced` or `catching-up`."""
    pending: int
    """Events waiting to be received."""
    revision: Revision
    """The bookmark."""
    overflows: int
    """How often it was too slow, and was moved to catch-up."""


class Watch(Protocol):
    """An open watch. Only one task may receive from it at a time."""

    @property
    def revision(self) -> Revision:
        """The bookmark: all up to and with this revision has been received."""
        ...

    async def receive(self) -> WatchBatch:
        """Wait for the next batch. Raises Compacted when what comes next is gone, StoreClosed at the end."""
        ...

    def request_progress(self) -> None:
        """Have `receive` answer with a batch, empty if need be, as soon as all up to the head is delivered."""
        ...

    def statistics(self) -> WatchStatistics:
        """The condition of the watch."""
        ...


class Store(Protocol):
    """A versioned key space."""

    @property
    def head(self) -> Revision:
        """The newest revision."""
        ...

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be read; 0 when there was no compaction."""
        ...

    @property
    def digest(self) -> str:
        """The rolling hash over all events, in hexadecimal digits."""
        ...

    async def txn(self, txn: Txn, *, origin: Origin) -> TxnResult:
        """Run a transaction. Raises InvalidRequest, LeaseNotFound, NoSpace."""
        ...

    async def put(  # noqa: PLR0913 - etcd's options
        self,
        key: str,
        value: object = None,
        *,
        origin: Origin,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
    ) -> PutResult:
        """A transaction of one put."""
        ...

    async def delete(
        self, key: str, *, origin: Origin, range_end: str | None = None, prev_kv: bool = False
    ) -> DeleteResult:
        """A transaction of one delete."""
        ...

    async def range(  # noqa: PLR0913 - etcd's options
        self,
        key: str,
        *,
        range_end: str | None = None,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        sort_by: SortTarget = SortTarget.KEY,
        descending: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
    ) -> RangeResult:
        """Read a range at the head or at a past revision. Raises Compacted, FutureRevision."""
        ...

    def watch(  # noqa: PLR0913 - etcd's options
        self,
        key: str,
        *,
        range_end: str | None = None,
        start_revision: int = 0,
        prev_kv: bool = False,
        without: tuple[EventType, ...] = (),
        progress_notify: bool = False,
    ) -> AbstractAsyncContextManager[Watch]:
        """Watch a range from `start_revision` on (0: from now on), leaving out events of the types in `without`."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget what is older than the state at `revision`. Raises Compacted when it was done, FutureRevision."""
        ...

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> LeaseStatus:  # noqa: A002 - etcd's name
        """Grant a lease; id 0 has one chosen. Raises LeaseExists, InvalidRequest."""
        ...

    async def lease_keep_alive(self, lease: int) -> LeaseStatus:
        """Have the lease run its full time again. Raises LeaseNotFound."""
        ...

    async def lease_revoke(self, lease: int, *, origin: Origin) -> Revision:
        """End the lease and delete its keys, in one transaction. Raises LeaseNotFound."""
        ...

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """What is left of the lease, and its keys in order. Raises LeaseNotFound."""
        ...

    async def leases(self) -> tuple[int, ...]:
        """The ids of all leases, in order."""
        ...

    def history(self, from_revision: int = 0, to_revision: int | None = None) -> Iterator[Event]:
        """The events of the revisions from..to, both included; 0 begins with the oldest kept. Raises Compacted."""
        ...

    def statistics(self) -> StoreStatistics:
        """The condition of the store."""
        ...
