"""The embedded store: the trio shell around the core. It yields, settles, parks and wakes; `store.core` decides.

One rule for every method that answers: act in one step, yield once, settle, answer. Yielding between the act and the settling lets every other
task that is ready act too, so that one sync serves all of them (group commit); a method cancelled before its act
has done nothing, and after it is no longer cancelled. Where bytes go has no influence on when a task yields: a run makes the same log whatever its
durability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

import attrs
import trio

from store.core import Core
from store.drafts import maker
from store.errors import NoSpace, StoreClosed, StoreError, StoreFailed
from store.keys import KeyRange
from store.leases import SECOND_NS
from store.protocol import StoreStatistics
from store.records import (
    Delete,
    DeleteResult,
    Event,
    EventType,
    Get,
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
from store.watch import EmbeddedWatch
from store.watchers import Watcher

ClockNs: TypeAlias = Callable[[], int]
"""Nanoseconds since the start of the run."""

_put: Final = maker(Put)
_txn: Final = maker(Txn)

_RETRY_SECONDS: Final = 1.0
"""How long the end of a lease waits for room on the disk before it is tried again."""


@attrs.define(eq=False, repr=False)
class EmbeddedStore:
    """A store in this process; `store.open_store` makes one. `store.protocol.Store` says what its methods do."""

    core: Core
    clock: ClockNs
    _closed: bool = attrs.field(default=False, init=False)
    _failure: StoreError | None = attrs.field(default=None, init=False)
    _sleeper: trio.CancelScope | None = attrs.field(default=None, init=False)
    _sleeps_until: int | None = attrs.field(default=None, init=False)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "failed" if self._failure else "open"
        return f"<EmbeddedStore {state} head={self.head} journal={self.core.journal!r}>"

    # -- reading -------------------------------------------------------------------------------

    @property
    def head(self) -> Revision:
        """The newest revision; it may not be durable yet."""
        return self.core.history.head

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can be read; 0 when there was no compaction."""
        return self.core.compacted

    @property
    def digest(self) -> str:
        """The rolling hash over all events; in a store without a log it is computed when asked for."""
        return self.core.journal.digest

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
        result = self.core.range(get)
        await self._answer()
        return result

    def history(self, from_revision: int = 0, to_revision: int | None = None) -> Iterator[Event]:
        """The events of the revisions from..to, both included; 0 begins with the oldest kept. Raises Compacted."""
        return self.core.events(from_revision, to_revision)

    def statistics(self) -> StoreStatistics:
        """The condition of the store."""
        return self.core.statistics()

    # -- writing -------------------------------------------------------------------------------

    async def txn(self, txn: Txn, *, origin: Origin) -> TxnResult:
        """Run a transaction. Raises InvalidRequest, LeaseNotFound, NoSpace, and what its reads raise."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        core = self.core
        result, to_wake = core.commit(txn, origin, self.clock())
        for watcher in to_wake:
            watcher.wake()
        # As `_answer` does it: every write passes here, and a call less is a hundredth of it.
        position = core.journal.position
        await trio.lowlevel.cancel_shielded_checkpoint()
        self.settle(position)
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
        put = _put(key, value, lease, prev_kv, ignore_value, ignore_lease)
        response = (await self.txn(_txn((), (put,), ()), origin=origin)).responses[0]
        assert isinstance(response, PutResult)
        return response

    async def delete(
        self, key: str, *, origin: Origin, range_end: str | None = None, prev_kv: bool = False
    ) -> DeleteResult:
        """A transaction of one delete."""
        delete = Delete(key, range_end, prev_kv=prev_kv)
        response = (await self.txn(Txn(success=(delete,)), origin=origin)).responses[0]
        assert isinstance(response, DeleteResult)
        return response

    async def compact(self, revision: int) -> None:
        """Forget what is older than the state at `revision`. Raises Compacted, FutureRevision."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        self.core.compact(revision)
        await self._answer()

    # -- leases --------------------------------------------------------------------------------

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> LeaseStatus:  # noqa: A002 - etcd's name
        """Grant a lease; id 0 has one chosen. Raises LeaseExists, InvalidRequest."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        status = self.core.grant(ttl_seconds, id, self.clock())
        self.set_alarm()
        await self._answer()
        return status

    async def lease_keep_alive(self, lease: int) -> LeaseStatus:
        """Have the lease run its full time again. Raises LeaseNotFound."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        status = self.core.leases.keep_alive(lease, self.clock())
        await self._answer()
        return status

    async def lease_revoke(self, lease: int, *, origin: Origin) -> Revision:
        """End the lease and delete its keys, in one transaction. Raises LeaseNotFound."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        _wake(self.core.revoke(lease, origin, self.clock()))
        revision = self.head
        await self._answer()
        return revision

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        """What is left of the lease, and its keys in order. Raises LeaseNotFound."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        status = self.core.leases.status(lease, self.clock())
        keys = tuple(self.core.leases.keys(lease))
        await self._answer()
        return attrs.evolve(status, keys=keys)

    async def leases(self) -> tuple[int, ...]:
        """The ids of all leases, in order."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        ids = self.core.leases.ids()
        await self._answer()
        return ids

    # -- watching ------------------------------------------------------------------------------

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
        """Watch a range from `start_revision` on (0: from now on), leaving out events of the types in `without`."""
        watcher = Watcher(
            keys=KeyRange.of(key, range_end), without=without, wants_progress=progress_notify
        )
        return EmbeddedWatch(self, watcher, start_revision, prev_kv)

    # -- running -------------------------------------------------------------------------------

    async def keep_time(self) -> None:
        """End leases when their time is up and send progress notifications, until cancelled or the store has failed."""
        while self._failure is None:
            self._sleeps_until = self.core.next_tick()
            with trio.CancelScope() as self._sleeper:
                if self._sleeps_until is None:
                    await trio.sleep_forever()
                # The clock may be coarser than trio's: never end early, and look again if woken early.
                await trio.sleep(max(0, self._sleeps_until - self.clock()) / SECOND_NS)
            self._sleeper = None
            try:
                _wake(self.core.tick(self.clock()))
                self.settle(self.core.journal.position)
            except NoSpace:
                await trio.sleep(_RETRY_SECONDS)
            except StoreFailed as error:
                # Whoever asks next is told, and so is everybody who waits.
                self._failure = error
                self._wake_all()

    def set_alarm(self) -> None:
        """Have `keep_time` look again, if it sleeps for too long."""
        tick = self.core.next_tick()
        asleep = self._sleeps_until
        if self._sleeper is not None and tick is not None and (asleep is None or tick < asleep):
            self._sleeper.cancel()

    def check_open(self) -> None:
        """Raises StoreClosed, StoreFailed."""
        if self._closed:
            raise StoreClosed("the store is closed")
        if self._failure is not None:
            self._check_failed()

    def _check_failed(self) -> None:
        if self._failure is not None:
            raise StoreFailed(str(self._failure)) from self._failure

    async def _answer(self) -> None:
        """Let others act, then make what the caller did or saw durable."""
        position = self.core.journal.position
        await trio.lowlevel.cancel_shielded_checkpoint()
        self.settle(position)

    def settle(self, position: int) -> None:
        """Make what had happened by `position` of the journal durable. Raises StoreFailed, from now on always."""
        if self._failure is not None:
            self._check_failed()
        try:
            self.core.journal.settle(position)
        except StoreFailed as error:
            self._failure = error
            self._wake_all()
            raise

    def _wake_all(self) -> None:
        for watcher in self.core.watchers.watchers():
            watcher.wake()

    def close(self) -> None:
        """End all watches and write what is left. Raises NoSpace, StoreFailed. Not a checkpoint."""
        self._closed = True
        self._wake_all()
        self.core.journal.close()


def _wake(watchers: Iterable[Watcher]) -> None:
    for watcher in watchers:
        watcher.wake()
