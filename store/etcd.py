"""A real etcd as a store: writes and reads go to it, and what it tells is mirrored here (store.etcd_mirror).

Theory of operation. One watch over all keys feeds the mirror; all watches, the history, the head and the digest are served from it, by the same code as an embedded
store's. Whoever is answered sees a mirror that is at least as new as the answer: every answer waits for it. So what holds in one process for an
embedded store holds here: after a write its event is in `history`, and a watch that asks for progress is told of it. Between processes that
share an etcd, transactions and reads are strictly serialisable, and what is served from the mirror lags by as much as the watch does.

A connection that breaks: the watch is opened again after the last revision that was taken over, at the next endpoint, for as long as it takes. A request is
repeated only if nothing can have happened (store.etcd_gateway); else OutcomeUnknown. An etcd that has lost revisions that were seen here (restored from
a backup, or another cluster at the same address) ends the store with StoreFailed.

A write that has been sent is not cancelled: it ends with its answer, at the latest when the time of `EtcdTiming` is up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs
import trio

from store.embedded import EmbeddedStore
from store.errors import (
    Compacted,
    DuplicateKey,
    FutureRevision,
    InvalidRequest,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    StoreFailed,
)
from store.etcd_errors import EtcdRefusal, kind_of
from store.etcd_follow import Follower
from store.etcd_gateway import Gateway
from store.etcd_mirror import Mirror
from store.etcd_origin import Stamp, stamped
from store.etcd_wire import Message, Wire, head_of, key_of, number, part, parts
from store.journal import CompactedTo
from store.records import (
    Delete,
    EventType,
    Get,
    LeaseStatus,
    Op,
    Origin,
    Put,
    RangeResult,
    Revision,
    SortTarget,
    Txn,
    TxnResult,
)
from store.transactions import validate
from store.watch import EmbeddedWatch


@attrs.define(eq=False, repr=False)
class EtcdStore(EmbeddedStore):
    """A store in an etcd; `store.open_etcd` makes one. `store.protocol.Store` says what its methods do."""

    gateway: Gateway
    wire: Wire
    mirror: Mirror
    epoch_ns: int
    """Unix nanoseconds at which `clock` is 0."""
    header: Mapping[str, object]
    """What the first who opened the store put in front of it."""
    follower: Follower = attrs.field(
        default=attrs.Factory(
            lambda self: Follower(self.gateway, self.mirror, self._fail), takes_self=True
        ),
        init=False,
    )

    def __repr__(self) -> str:
        return f"<EtcdStore head={self.head} {self.gateway!r}>"

    def _fail(self, failure: StoreFailed) -> None:
        self._failure = failure
        self._wake_all()

    # -- keys ----------------------------------------------------------------------------------

    async def txn(self, txn: Txn, *, origin: Origin) -> TxnResult:
        """Run a transaction. Raises InvalidRequest, LeaseNotFound, NoSpace, OutcomeUnknown, StoreUnavailable, and what its reads raise.

        Of several puts that lack their key or their lease, the error names the first that could.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        validate(txn, self.core.limits)
        message = stamped(txn, self.wire, Stamp(origin, self.epoch_ns + self.clock()))
        if _reads_only(txn):
            answer = await self._ask("/v3/kv/txn", message, (txn,))
        else:
            answer = await self._change("/v3/kv/txn", message, (txn,))
        return self.wire.txn_result(txn, answer, self.mirror.value_of)

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
        """Read a range at the head or at a past revision. Raises Compacted, FutureRevision, StoreUnavailable."""
        get = Get(
            key,
            range_end,
            revision=revision,
            limit=limit,
            keys_only=keys_only,
            count_only=count_only,
            sort_by=sort_by,
            descending=descending,
            min_mod_revision=min_mod_revision,
            max_mod_revision=max_mod_revision,
            min_create_revision=min_create_revision,
            max_create_revision=max_create_revision,
        )
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        validate(Txn(success=(get,)), self.core.limits)
        answer = await self._ask("/v3/kv/range", self.wire.range(get), (get,))
        return self.wire.range_result(get, answer, self.mirror.value_of)

    async def compact(self, revision: int) -> None:
        """Forget what is older than the state at `revision`. Raises Compacted, FutureRevision, OutcomeUnknown, StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        message: Message = {"revision": str(revision), "physical": True}
        await self._change("/v3/kv/compaction", message, (Get("", revision=revision),))
        self._note_compacted(revision)

    def _note_compacted(self, revision: int) -> None:
        if self.core.compacted < revision <= self.head:
            self.core.journal.note(CompactedTo(revision))
            self.core.restore(CompactedTo(revision), 0)

    def watch(  # noqa: PLR0913 - etcd's options
        self,
        key: str,
        *,
        range_end: str | None = None,
        start_revision: int = 0,
        prev_kv: bool = False,
        without: tuple[EventType, ...] = (),
        progress_notify: bool = False,
    ) -> EmbeddedWatch:
        """Watch a range from `start_revision` on (0: from now on). From the very revision at which the mirror began it is `Compacted`: what that one deleted nobody knows."""
        if start_revision and start_revision == self.mirror.began:
            start_revision -= 1
        return super().watch(
            key,
            range_end=range_end,
            start_revision=start_revision,
            prev_kv=prev_kv,
            without=without,
            progress_notify=progress_notify,
        )

    # -- leases --------------------------------------------------------------------------------

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> LeaseStatus:  # noqa: A002 - etcd's name
        """Grant a lease; id 0 has one chosen. Raises LeaseExists, InvalidRequest, OutcomeUnknown, StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        self.core.leases.choose(ttl_seconds, id)
        message: Message = {"TTL": str(ttl_seconds), "ID": str(id)}
        answer = await self._change("/v3/lease/grant", message, (), id)
        seconds = number(answer, "TTL")
        return LeaseStatus(
            id=number(answer, "ID"), granted_seconds=seconds, remaining_seconds=seconds
        )

    async def lease_keep_alive(self, lease: int) -> LeaseStatus:
        """Have the lease run its full time again. Raises LeaseNotFound, StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        answer = part(await self._ask("/v3/lease/keepalive", {"ID": str(lease)}), "result")
        seconds = number(answer, "TTL")
        if seconds <= 0:
            raise LeaseNotFound(lease)
        return LeaseStatus(id=lease, granted_seconds=seconds, remaining_seconds=seconds)

    async def lease_revoke(self, lease: int, *, origin: Origin) -> Revision:  # noqa: ARG002 - etcd cannot keep it
        """End the lease and delete its keys, in one transaction, which etcd makes and leaves no origin. Raises LeaseNotFound, OutcomeUnknown, StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        return head_of(await self._change("/v3/lease/revoke", {"ID": str(lease)}, (), lease))

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """What is left of the lease, and its keys in order. Raises LeaseNotFound, StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        answer = await self._ask("/v3/lease/timetolive", {"ID": str(lease), "keys": True})
        if number(answer, "TTL") < 0:
            raise LeaseNotFound(lease)
        keys = (key_of({"key": key}) for key in cast("list[str]", answer.get("keys", [])))
        return LeaseStatus(
            id=lease,
            granted_seconds=number(answer, "grantedTTL"),
            remaining_seconds=number(answer, "TTL"),
            keys=tuple(sorted(key for key in keys if key is not None)),
        )

    async def leases(self) -> tuple[int, ...]:
        """The ids of all leases, in order. Raises StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        answer = await self._ask("/v3/lease/leases", {})
        return tuple(sorted(number(each, "ID") for each in parts(answer, "leases")))

    # -- requests ------------------------------------------------------------------------------

    async def _ask(self, path: str, message: Message, operations: tuple[Op, ...] = ()) -> Message:
        """A request that changes nothing."""
        answer = await self._call(path, message, operations, 0, changes=False)
        await self._shown(answer, shield=False)
        return answer

    async def _change(
        self, path: str, message: Message, operations: tuple[Op, ...], lease: int = 0
    ) -> Message:
        """A request that changes something: it is not cancelled, and `EtcdTiming` bounds it."""
        with trio.CancelScope(shield=True):
            answer = await self._call(path, message, operations, lease, changes=True)
        await self._shown(answer, shield=True)
        return answer

    async def _call(
        self,
        path: str,
        message: Message,
        operations: tuple[Op, ...],
        lease: int,
        *,
        changes: bool,
    ) -> Message:
        """A request and its answer, or the error that it is."""
        try:
            answer = await self.gateway.call(path, message, changes=changes)
        except EtcdRefusal as refusal:
            await self._raise(refusal, operations, lease)
            raise
        self.follower.check_cluster(answer)
        return answer

    async def _shown(self, answer: Message, *, shield: bool) -> None:
        """Wait until the mirror shows what the answer is about."""
        revision = head_of(answer)
        while self.head < revision:
            with trio.move_on_after(self.gateway.timing.stall_seconds, shield=shield):
                await self.follower.mirrored(revision)
                break
            # From now on the caller may be cancelled, though what it asked for has been done: there is no bound to the watch being away.
            shield = False
            self.follower.reopen_if_stalled()
        self.check_open()

    async def _raise(self, refusal: EtcdRefusal, operations: tuple[Op, ...], lease: int) -> None:
        """Raise the error of the store that a refusal is, with what it was about; return when there is none."""
        kind = kind_of(refusal)
        if kind is None:
            return
        flat = list(_flat(operations))
        puts = [each for each in flat if isinstance(each, Put)]
        revisions = [each.revision for each in flat if isinstance(each, Get) and each.revision > 0]
        if kind is Compacted:
            asked = min(revisions, default=0)
            raise Compacted(asked, await self._learn_compacted(asked)) from refusal
        if kind is FutureRevision:
            raise FutureRevision(max(revisions, default=0), self.head) from refusal
        if kind is KeyNotFound:
            keeping = [put.key for put in puts if put.ignore_value or put.ignore_lease]
            absent = [key for key in keeping if self.core.history.newest(key) is None]
            raise KeyNotFound((absent or keeping)[0]) from refusal
        if kind is LeaseNotFound:
            raise LeaseNotFound(next((put.lease for put in puts if put.lease), lease)) from refusal
        if kind is LeaseExists:
            raise LeaseExists(lease) from refusal
        if kind is DuplicateKey:
            raise InvalidRequest(refusal.text) from refusal
        raise kind(refusal.text) from refusal

    async def _learn_compacted(self, revision: int) -> int:
        """How far etcd is compacted, now that it has refused `revision`."""
        self._note_compacted(await self.follower.compacted_above(max(1, revision - 1)))
        return max(self.compacted, revision)


def _flat(operations: tuple[Op, ...]) -> list[Op]:
    """Operations and those within them, in order."""
    found: list[Op] = []
    for operation in operations:
        if isinstance(operation, Txn):
            found += _flat(operation.success + operation.failure)
        else:
            found.append(operation)
    return found


def _reads_only(txn: Txn) -> bool:
    return not any(isinstance(each, Put | Delete) for each in _flat((txn,)))
