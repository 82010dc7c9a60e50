"""A store that faults can disturb: the front of another store, which stands out of the way while nothing disturbs it.

Theory of operation. An undisturbed front carries the other store's own methods as its attributes, so that a call goes straight there. The first
disturbance takes them away, and the class's methods, which ask every disturbance, come to light; the last to go puts them back.

    door:  wait for each disturbance | ask each for its refusal | the other store's method | tell each that it is committed

From the second to the third step nothing yields, so a write meets the store as it was found there, and the protocol's promise holds: cancelled
before it has done anything, or not at all. Whatever the other store does by itself (the ends of its leases) is not disturbed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import attrs
import trio

from store.errors import NoSpace, StoreError
from store.protocol import Store, StoreStatistics, Watch
from store.records import (
    Delete,
    DeleteResult,
    Event,
    EventType,
    LeaseStatus,
    Origin,
    Put,
    PutResult,
    RangeResult,
    Revision,
    SortTarget,
    Txn,
    TxnResult,
)


class Access(enum.Enum):
    """What a call does to the store."""

    READ = "read"
    SHRINK = "shrink"
    """It writes, but needs no room: deletes, compactions, the ends of leases."""
    GROW = "grow"
    """It may put something."""


@attrs.define(eq=False, kw_only=True)
class Disturbance:
    """One fault's grip on a store; the subclasses say what it does. A store lets it go by `recover`."""

    reason: str
    _released: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def hold_up(self) -> None:
        """Called before a write is carried out; whoever waits here waits for `_released` too."""

    def refusal(self, access: Access) -> StoreError | None:
        """Called in the step in which a call is carried out; what it returns is raised instead."""
        del access
        return None

    def committed(self) -> StoreError | None:
        """Called when a write has been carried out; what it returns is raised instead of the answer."""
        return None

    def release(self) -> None:
        """For the store: it is over."""
        self._released.set()


@attrs.define(eq=False, kw_only=True)
class SlowCommits(Disturbance):
    """Every write takes time before it is carried out. None overtakes another, as in a log; several share one sync."""

    delay: Callable[[int], float]
    """How long the n-th takes, in seconds; n counts from 0."""
    _writes: int = attrs.field(default=0, init=False)
    _last_due: float = attrs.field(default=0.0, init=False)
    _turn: trio.StrictFIFOLock = attrs.field(factory=trio.StrictFIFOLock, init=False)

    async def hold_up(self) -> None:
        n = self._writes
        self._writes += 1
        due = self._last_due = max(self._last_due, trio.current_time() + self.delay(n))
        async with self._turn:
            with trio.move_on_at(due):
                await self._released.wait()


@attrs.define(eq=False, kw_only=True)
class NoRoom(Disturbance):
    """Whatever may need room is refused, as etcd does under its NOSPACE alarm; reads, deletes and compactions go on."""

    def refusal(self, access: Access) -> StoreError | None:
        # The text of etcd's rpctypes.ErrGRPCNoSpace.
        return (
            NoSpace("etcdserver: mvcc: database space exceeded") if access is Access.GROW else None
        )


@attrs.define(eq=False, kw_only=True)
class ReadOnly(Disturbance):
    """Every write is refused; reads go on."""

    def refusal(self, access: Access) -> StoreError | None:
        return None if access is Access.READ else NoSpace("the store's file system is read-only")


@attrs.define(eq=False, kw_only=True)
class Down(Disturbance):
    """Nothing is answered."""

    error: Callable[[], StoreError]

    def refusal(self, access: Access) -> StoreError | None:
        del access
        return self.error()


@attrs.define(eq=False, kw_only=True)
class CrashPoint(Disturbance):
    """Something happens at a write: `before` it is carried out or after, and the writer gets an error."""

    before: bool
    hit: Callable[[], StoreError | None]
    """Called at each write; what it returns is raised, for the write before its time or instead of its answer."""

    def refusal(self, access: Access) -> StoreError | None:
        return self.hit() if self.before and access is not Access.READ else None

    def committed(self) -> StoreError | None:
        return None if self.before else self.hit()


def _never() -> bool:
    return False


class DisturbedStore:
    """`inner` as its users meet it; `store.protocol.Store` says what the methods do.

    `spares` says of the call under way whether disturbances leave it alone: those who run an experiment go on keeping its records.
    """

    def __init__(self, inner: Store, spares: Callable[[], bool] = _never) -> None:
        self.inner: Final = inner
        """Undisturbed."""
        self._spares: Final = spares
        self._disturbances: Final[dict[Disturbance, None]] = {}
        self._clear_the_way()

    def __repr__(self) -> str:
        return f"<DisturbedStore {', '.join(self.reasons) or 'undisturbed'}: {self.inner!r}>"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of all that disturbs it now, oldest first."""
        return tuple(each.reason for each in self._disturbances)

    def disturb(self, disturbance: Disturbance) -> None:
        """Let it act from now on."""
        self._disturbances[disturbance] = None
        for name in _METHODS:
            vars(self).pop(name, None)

    def recover(self, disturbance: Disturbance) -> None:
        """End it, also for those whom it holds up; one that is over already is over."""
        self._disturbances.pop(disturbance, None)
        disturbance.release()
        if not self._disturbances:
            self._clear_the_way()

    def _clear_the_way(self) -> None:
        vars(self).update({name: getattr(self.inner, name) for name in _METHODS})

    # -- the door ------------------------------------------------------------------------------

    async def _enter(self, access: Access) -> None:
        """Raises what refuses the call. Checks last, so nothing yields after what it has found."""
        if self._spares():
            return
        if access is not Access.READ:
            for each in tuple(self._disturbances):
                await each.hold_up()
        self._refuse(access)

    def _refuse(self, access: Access) -> None:
        for each in tuple(self._disturbances):
            refusal = each.refusal(access)
            if refusal is not None:
                raise refusal

    def _leave(self) -> None:
        """Raises what takes the answer of a write."""
        if self._spares():
            return
        for each in tuple(self._disturbances):
            lost = each.committed()
            if lost is not None:
                raise lost

    # -- reading -------------------------------------------------------------------------------

    @property
    def head(self) -> Revision:
        """The newest revision. Raises what refuses reads."""
        if self._disturbances and not self._spares():
            self._refuse(Access.READ)
        return self.inner.head

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be read; 0 when there was no compaction."""
        return self.inner.compacted

    @property
    def digest(self) -> str:
        """The rolling hash over all events."""
        return self.inner.digest

    def history(self, from_revision: int = 0, to_revision: int | None = None) -> Iterator[Event]:
        """The events of the revisions from..to."""
        return self.inner.history(from_revision, to_revision)

    def statistics(self) -> StoreStatistics:
        """The condition of the store."""
        return self.inner.statistics()

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
        """Watch a range: what is committed is told, disturbed or not."""
        return self.inner.watch(
            key,
            range_end=range_end,
            start_revision=start_revision,
            prev_kv=prev_kv,
            without=without,
            progress_notify=progress_notify,
        )

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
        """Read a range at the head or at a past revision."""
        await self._enter(Access.READ)
        return await self.inner.range(
            key,
            range_end=range_end,
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

    # -- writing -------------------------------------------------------------------------------

    async def txn(self, txn: Txn, *, origin: Origin) -> TxnResult:
        """Run a transaction."""
        await self._enter(_access(txn))
        result = await self.inner.txn(txn, origin=origin)
        if result.succeeded:
            self._leave()
        return result

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
        await self._enter(Access.GROW)
        result = await self.inner.put(
            key,
            value,
            origin=origin,
            lease=lease,
            prev_kv=prev_kv,
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
        )
        self._leave()
        return result

    async def delete(
        self, key: str, *, origin: Origin, range_end: str | None = None, prev_kv: bool = False
    ) -> DeleteResult:
        """A transaction of one delete."""
        await self._enter(Access.SHRINK)
        result = await self.inner.delete(key, origin=origin, range_end=range_end, prev_kv=prev_kv)
        self._leave()
        return result

    async def compact(self, revision: int) -> None:
        """Forget what is older than the state at `revision`."""
        await self._enter(Access.SHRINK)
        await self.inner.compact(revision)

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> LeaseStatus:  # noqa: A002 - etcd's name
        """Grant a lease."""
        await self._enter(Access.GROW)
        return await self.inner.lease_grant(ttl_seconds, id=id)

    async def lease_keep_alive(self, lease: int) -> LeaseStatus:
        """Have the lease run its full time again."""
        await self._enter(Access.READ)
        return await self.inner.lease_keep_alive(lease)

    async def lease_revoke(self, lease: int, *, origin: Origin) -> Revision:
        """End the lease and delete its keys, in one transaction."""
        await self._enter(Access.SHRINK)
        revision = await self.inner.lease_revoke(lease, origin=origin)
        self._leave()
        return revision

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """What is left of the lease, and its keys in order."""
        await self._enter(Access.READ)
        return await self.inner.lease_time_to_live(lease)

    async def leases(self) -> tuple[int, ...]:
        """The ids of all leases, in order."""
        await self._enter(Access.READ)
        return await self.inner.leases()


_METHODS: Final = (
    "range",
    "txn",
    "put",
    "delete",
    "compact",
    "lease_grant",
    "lease_keep_alive",
    "lease_revoke",
    "lease_time_to_live",
    "leases",
)
"""Those that an undisturbed front hands on."""


def _access(txn: Txn) -> Access:
    """What a transaction may do, whichever branch runs (etcd counts the cost of both)."""
    operations = [*txn.success, *txn.failure]
    access = Access.READ
    while operations:
        operation = operations.pop()
        match operation:
            case Put():
                return Access.GROW
            case Txn():
                operations += [*operation.success, *operation.failure]
            case Delete():
                access = Access.SHRINK
    return access
