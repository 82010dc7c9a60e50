"""Our store's synchronous core beside a real etcd: each does the same, and every answer and every watch is compared.

Revisions. The etcd has lived before, so its revisions are `offset` higher; records are moved on their way (shifting.py).

Watches. etcd tells its watchers when it pleases, ours is asked. So a watch is compared by asking ours for all there is, and waiting for etcd to
have told as much. A watcher of the past is not yet in etcd's synced group until it has told something; `nudge` makes a change that
the watcher must be told of, on both sides, and after that nothing may come that was not expected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from store.core import Core
from store.errors import Compacted, DuplicateKey, LeaseNotFound, StoreError
from store.etcd_wire import key_range
from store.journal import MemoryJournal
from store.keys import KeyRange
from store.limits import Limits
from store.records import (
    Delete,
    Event,
    EventType,
    Get,
    KeyValue,
    LeaseStatus,
    Op,
    Put,
    RangeResult,
    Revision,
    Txn,
    TxnResult,
)
from store.transactions import validate
from store.watchers import Watcher
from tests.store.etcd.judge import PATIENCE_SECONDS, Judge, JudgeWatch, Refused, Seen, WatchEnded
from tests.store.etcd.shifting import moved, moved_kv, moved_op, moved_result, moved_txn
from tests.store.support import USER

LEASE_TOLERANCE_SECONDS: Final = 120
"""Real time passes for etcd and not for ours; leases here are granted for much longer."""


class TextCodec:
    """Values are text, and their bytes UTF-8: what etcdctl shows."""

    def encode(self, value: object) -> bytes:
        return b"" if value is None else str(value).encode()

    def decode(self, data: bytes) -> object:
        return data.decode()


@attrs.frozen
class Difference:
    """What was asked, and the two answers."""

    asked: str
    ours: object
    theirs: object

    def __str__(self) -> str:
        return f"{self.asked}\n    ours:   {self.ours}\n    theirs: {self.theirs}"


@attrs.define(eq=False, kw_only=True)
class PairWatch:
    """One watch on both sides."""

    watcher: Watcher
    prev_kv: bool
    judge: JudgeWatch
    start: int
    told: bool
    """Whether etcd's watcher is known to be synced."""
    seen: int = 0
    """Events compared."""

    @property
    def silent(self) -> bool:
        """Whether nothing can ever be told to it."""
        return len(self.watcher.without) == len(EventType)

    def __str__(self) -> str:
        without = ",".join(each.value for each in self.watcher.without)
        return f"watch {self.watcher.keys} from {self.start} without [{without}] prev_kv={self.prev_kv}"


@attrs.define(eq=False)
class Pair:
    """Both stores, from empty on, until `close`."""

    judge: Judge
    core: Core = attrs.field(
        factory=lambda: Core(MemoryJournal(TextCodec()), TextCodec(), Limits()), init=False
    )
    offset: int = attrs.field(init=False)
    operations: int = attrs.field(default=0, init=False)
    differences: list[Difference] = attrs.field(factory=list, init=False)
    known: int = attrs.field(default=0, init=False)
    """Places where the two differ on purpose (docs/store.md), and did."""
    watches: list[PairWatch] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.offset = self.judge.clear() - self.core.history.head

    @property
    def head(self) -> int:
        """The newest revision."""
        return self.core.history.head

    def _compare(self, asked: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            self.differences.append(Difference(asked, ours, theirs))

    def _both(
        self, asked: object, ours: Callable[[], object], theirs: Callable[[], object]
    ) -> None:
        self.operations += 1
        self._compare(str(asked), _outcome(ours), _outcome(theirs))

    # -- keys ----------------------------------------------------------------------------------

    def txn(self, txn: Txn) -> None:
        """A transaction."""

        def theirs() -> TxnResult:
            return moved_result(self.judge.txn(moved_txn(txn, self.offset)), -self.offset)

        if _only_we_see_a_duplicate(txn, self.core.limits):
            # On purpose: etcd misses a put and a delete of one key in neighbouring nested transactions, in that order.
            self.known += 1
            return
        self._both(txn, lambda: self.core.commit(txn, USER, 0)[0], theirs)
        self.core.check()

    def alone(self, operation: Put | Delete) -> None:
        """A put or a delete that stands alone: etcd has requests of their own for them."""
        wire = self.judge.wire

        def theirs() -> object:
            if isinstance(operation, Put):
                answer = self.judge.call("/v3/kv/put", wire.put(operation))
                return moved_result(wire.put_result(answer), -self.offset)
            answer = self.judge.call("/v3/kv/deleterange", wire.delete(operation))
            return moved_result(wire.delete_result(answer), -self.offset)

        def ours() -> object:
            return self.core.commit(Txn(success=(operation,)), USER, 0)[0].responses[0]

        if isinstance(operation, Put) and operation.lease and operation.ignore_value:
            # On purpose: a put that lacks both its key and its lease is told of the key first, as etcd does in a
            # transaction; alone, etcd tells of the lease first.
            self.txn(Txn(success=(operation,)))
        else:
            self._both(operation, ours, theirs)

    def range(self, get: Get) -> None:
        """A read."""
        wire = self.judge.wire

        def theirs() -> RangeResult:
            request = moved_op(get, self.offset)
            assert isinstance(request, Get)
            answer = self.judge.call("/v3/kv/range", wire.range(request))
            return moved_result(wire.range_result(request, answer), -self.offset)

        self._both(get, lambda: self.core.range(get), theirs)

    def compact(self, revision: int, *, physical: bool) -> None:
        """A compaction; etcd's watchers are all synced before, for what it does to others depends on its timing."""
        for watch in list(self.watches):
            self.settle(watch)
        # What one was nudged with is told to others too, and must be before: previous values are read when events are sent, and may be compacted then.
        for watch in list(self.watches):
            self.check(watch)
        self._both(
            f"compact {revision} physical={physical}",
            lambda: self.core.compact(revision),
            lambda: self.judge.compact(moved(revision, self.offset), physical=physical),
        )

    # -- leases --------------------------------------------------------------------------------

    def grant(self, ttl_seconds: int, lease: int) -> None:
        """A lease of a given id."""
        self._both(
            f"grant {lease} for {ttl_seconds} s",
            lambda: self.core.grant(ttl_seconds, lease, 0),
            lambda: self.judge.grant(ttl_seconds, lease),
        )

    def grant_any(self, ttl_seconds: int) -> None:
        """A lease whose id is chosen: that differs, what is granted does not; it is revoked at once."""

        def ours() -> object:
            status = self.core.grant(ttl_seconds, 0, 0)
            return status.granted_seconds, self._revoke(status.id)

        def theirs() -> object:
            status = self.judge.grant(ttl_seconds, 0)
            return status.granted_seconds, self.judge.revoke(status.id) - self.offset

        self._both(f"grant any for {ttl_seconds} s and revoke", ours, theirs)

    def keep_alive(self, lease: int) -> None:
        """A lease prolonged."""

        def theirs() -> int:
            ttl = self.judge.keep_alive(lease)
            if not ttl:
                raise Refused(LeaseNotFound, "a time to live of 0")
            return ttl

        self._both(
            f"keep {lease} alive",
            lambda: self.core.leases.keep_alive(lease, 0).remaining_seconds,
            theirs,
        )

    def _revoke(self, lease: int) -> Revision:
        self.core.revoke(lease, USER, 0)
        return self.core.history.head

    def revoke(self, lease: int) -> None:
        """A lease ended."""
        self._both(
            f"revoke {lease}",
            lambda: self._revoke(lease),
            lambda: self.judge.revoke(lease) - self.offset,
        )

    def time_to_live(self, lease: int) -> None:
        """What is left of a lease, and its keys."""

        def ours() -> LeaseStatus:
            keys = tuple(self.core.leases.keys(lease))
            return attrs.evolve(self.core.leases.status(lease, 0), keys=keys)

        def theirs() -> LeaseStatus:
            status = self.judge.time_to_live(lease)
            if status is None:
                raise Refused(LeaseNotFound, "a time to live of -1")
            passed = status.granted_seconds - status.remaining_seconds
            if 0 <= passed < LEASE_TOLERANCE_SECONDS:
                return attrs.evolve(status, remaining_seconds=status.granted_seconds)
            return status

        self._both(f"time to live of {lease}", ours, theirs)

    def list_leases(self) -> None:
        """All leases."""
        self._both("leases", self.core.leases.ids, self.judge.leases)

    # -- watches -------------------------------------------------------------------------------

    def watch(
        self,
        key: str,
        range_end: str | None,
        start: int,
        *,
        prev_kv: bool,
        without: tuple[EventType, ...],
        progress: bool,
    ) -> None:
        """A watch opened; `start` 0 is now."""
        self.operations += 1
        request = key_range(key, range_end, above_text=True)
        request["start_revision"] = str(moved(start, self.offset))
        request["prev_kv"] = prev_kv
        request["progress_notify"] = progress
        request["filters"] = [_FILTERS[each] for each in without]
        watcher = Watcher(keys=KeyRange.of(key, range_end), without=without)
        judge = self.judge.watch(request)
        if watcher.keys.empty:
            # On purpose: such a watch of ours is open, and silent.
            self._compare("watch of no key", "mvcc: watcher range is empty", judge.refused)
            judge.close()
            return
        self.core.watch(watcher, start, 0)
        self.watches.append(
            PairWatch(
                watcher=watcher,
                prev_kv=prev_kv,
                judge=judge,
                start=start,
                told=start == 0 or start > self.head,
            )
        )

    def cancel(self, watch: PairWatch) -> None:
        """A watch closed."""
        self.watches.remove(watch)
        self.core.unwatch(watch.watcher)
        watch.judge.close()

    def resume(self, watch: PairWatch) -> None:
        """A watch compared up to now, closed, and opened again after what it was told."""
        if not self.check(watch):
            return
        keys = watch.watcher.keys
        self.cancel(watch)
        self.watch(
            keys.start,
            "\0" if keys.end is None else keys.end,
            watch.watcher.next_revision,
            prev_kv=watch.prev_kv,
            without=watch.watcher.without,
            progress=watch.watcher.wants_progress,
        )

    def check(self, watch: PairWatch) -> bool:
        """Compare what both have told since the last time; returns whether the watch goes on."""
        self.operations += 1
        try:
            ours = list(self._ours(watch))
        except Compacted as error:
            self._ends(watch, error.compacted)
            return False
        theirs: list[Seen] = []
        lost = _lost_deletions(ours, self.core.compacted)
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while len(theirs) < len(ours) - len(lost) and time.monotonic() < deadline:
                theirs += self._theirs(watch, PATIENCE_SECONDS) or []
            theirs += self._theirs(watch, 0) or []
        except WatchEnded as ended:
            self._compare(str(watch), "goes on", f"ended, compacted at {ended.compacted}")
            self.cancel(watch)
            return False
        if lost and len(theirs) != len(ours):
            self.known += 1
            ours = [event for event in ours if event not in lost]
        self._compare(str(watch), ours, theirs)
        watch.seen += len(ours)
        watch.told = watch.told or bool(theirs)
        return True

    def _ours(self, watch: PairWatch) -> Iterator[Seen]:
        """All that ours has to tell. Raises Compacted."""
        last = 0
        watch.watcher.progress_due = True
        while watch.watcher.ready:
            batch = self.core.deliver(watch.watcher, prev_kv=watch.prev_kv)
            if batch is None:
                continue
            previous: Sequence[KeyValue | None] = batch.previous or [None] * len(batch.events)
            for event, before in zip(batch.events, previous, strict=True):
                yield _seen(event, before)
            if batch.events:
                assert batch.events[0].revision > last, "a revision came in two parts, or twice"
                last = batch.events[-1].revision

    def _theirs(self, watch: PairWatch, seconds: float) -> list[Seen] | None:
        events = watch.judge.receive(seconds)
        if events is None:
            return None
        back = -self.offset
        return [
            attrs.evolve(
                event,
                revision=moved(event.revision, back),
                create_revision=moved(event.create_revision, back),
                previous=moved_kv(event.previous, back),
            )
            for event in events
        ]

    def _ends(self, watch: PairWatch, compacted: int) -> None:
        """Ours has ended with Compacted: etcd's must as well."""
        theirs: object = "goes on"
        try:
            events = self._theirs(watch, PATIENCE_SECONDS)
            while events == []:
                events = self._theirs(watch, PATIENCE_SECONDS)
            theirs = events
        except WatchEnded as ended:
            theirs = f"ended, compacted at {ended.compacted - self.offset}"
        self._compare(str(watch), f"ended, compacted at {compacted}", theirs)
        self.cancel(watch)

    def settle(self, watch: PairWatch) -> None:
        """Compare, and have etcd's watcher synced; one that cannot be told anything is closed, as nothing can tell its state."""
        if not self.check(watch) or watch.told:
            return
        if watch.silent or not self.nudge(watch):
            self.cancel(watch)
            return
        self.check(watch)

    def nudge(self, watch: PairWatch) -> bool:
        """Make a change that the watch must be told of; returns whether there is one."""
        name = next((key for key in KEYS if key in watch.watcher.keys), None)
        if name is None:
            return False
        while self.head + 1 < watch.watcher.next_revision:
            self.alone(Put(name, "nudge"))
        self.alone(Put(name, "nudge"))
        if EventType.PUT in watch.watcher.without:
            self.alone(Delete(name))
        return True

    def close(self) -> None:
        """Compare all watches to their end: after a last nudge nothing may be too much."""
        for watch in list(self.watches):
            if self.check(watch) and not watch.silent and self.nudge(watch):
                self.check(watch)
        for watch in list(self.watches):
            self.check(watch)
        for watch in list(self.watches):
            self.cancel(watch)


KEYS: Final = ("a", "a/1", "b", "c", "c\0", "\u00e9")
"""The keys that are written. Six, for etcd sorts more than that without keeping equals in order (Go's sort.Sort), and we keep it."""

_FILTERS: Final = {EventType.PUT: "NOPUT", EventType.DELETE: "NODELETE"}


def _outcome(call: Callable[[], object]) -> object:
    """The answer, or which error it was."""
    try:
        return call()
    except Refused as refused:
        return refused.kind.__name__
    except StoreError as error:
        return type(error).__name__


def _only_we_see_a_duplicate(txn: Txn, limits: Limits) -> bool:
    try:
        validate(txn, limits)
    except DuplicateKey:
        return not any(_etcd_sees_a_duplicate(branch) for branch in (txn.success, txn.failure))
    except StoreError:
        pass
    return False


def _etcd_sees_a_duplicate(branch: Sequence[Op]) -> bool:
    try:
        _check_intervals(branch)
    except DuplicateKey:
        return True
    return False


def _check_intervals(branch: Sequence[Op]) -> tuple[dict[str, None], list[KeyRange]]:
    """What etcd's checkIntervals (server/etcdserver/api/v3rpc/key.go) does: deletes of this level, then nested ones in order, then puts."""
    deletes = [KeyRange.of(each.key, each.range_end) for each in branch if isinstance(each, Delete)]
    puts: dict[str, None] = {}

    def add(keys: dict[str, None], besides: dict[str, None]) -> None:
        for key in keys:
            if (key in puts and key not in besides) or any(key in each for each in deletes):
                raise DuplicateKey(key)
            puts[key] = None

    for nested in branch:
        if isinstance(nested, Txn):
            then_puts, then_deletes = _check_intervals(nested.success)
            else_puts, else_deletes = _check_intervals(nested.failure)
            add(then_puts, {})
            add(else_puts, then_puts)
            deletes += then_deletes + else_deletes
    for put in branch:
        if isinstance(put, Put):
            add({put.key: None}, {})
    return puts, deletes


def _seen(event: Event, previous: KeyValue | None) -> Seen:
    return Seen(
        type=event.type,
        key=event.key,
        value=event.value,
        revision=event.revision,
        create_revision=event.create_revision,
        version=event.version,
        lease=event.lease,
        previous=previous,
    )


def _lost_deletions(ours: list[Seen], compacted: int) -> list[Seen]:
    """Deletions at the compacted revision itself, which etcd 3.5.1 may not tell a watch that begins there (its issue 19179)."""
    return [
        event
        for event in ours
        if event.type is EventType.DELETE and event.revision == compacted and compacted
    ]
