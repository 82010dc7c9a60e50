"""The hunt for faults of the store: random programs by seed, every answer and every watch held against the model.

It drives the store's core on a log whose disk forgets what was not synced, with buffers, windows and segments so small that every path is taken: watches
that overflow, pasts read from segments, snapshots. The rules are those of etcd's robustness tests (determinism-and-chaos.md 4.1): a watch is filtered,
ordered, unique, atomic, resumable, reliable, bookmarkable, with the right previous values; reads are serialisable; what is
compacted or in the future is refused; leases never end early; what was acknowledged outlives a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import attrs

from store import (
    Compacted,
    Compare,
    Delete,
    Durability,
    Event,
    EventType,
    FutureRevision,
    Get,
    KeyValue,
    LeaseNotFound,
    Limits,
    Op,
    Put,
    Target,
    Txn,
    WatchBatch,
)
from store.core import Core
from store.filelog import FileJournal
from store.keys import KeyRange
from store.records import CompareOp
from store.watchers import Watcher
from tests.mutants.store.model import SECOND, Condition, Entry, Happened, Model, Write, within
from tests.store.faulty_layer import FaultyLayer, Survival, dice
from tests.store.support import CODEC, USER

PATH = Path("hunt.wtl")
KEYS = ("a", "a/1", "a/2", "b", "b/1", "c")
RANGES: tuple[tuple[str, str | None], ...] = (
    ("a", None),
    ("a", "a0"),
    ("a/", "a0"),
    ("b", "c"),
    ("a", "\0"),
    ("b/1", "\0"),
)
LIMITS = Limits(
    watch_buffer_events=5,
    catch_up_revisions=3,
    window_revisions=12,
    segment_bytes=1500,
    snapshot_bytes=1500,
    write_buffer_bytes=200,
)
OPERATORS: dict[str, CompareOp] = {"=": "=", "!=": "!=", "<": "<", ">": ">"}
STEPS = 150
SLACK = 2 * SECOND
"""A lease may end a little late; the hunt looks at the clock in steps of a second."""


class Wrong(Exception):
    """The store did something that it must not."""


def demand(holds: object, what: str) -> None:
    """Raises Wrong."""
    if not holds:
        raise Wrong(what)


@attrs.define(eq=False)
class Watching:
    """A watch, and what it was told."""

    start: str
    end: str | None
    without: tuple[EventType, ...]
    watcher: Watcher
    first: int
    due: int
    """The first revision it has yet to be told of."""
    bookmark: int = 0
    """Of the last batch."""


@attrs.define(eq=False)
class Hunt:
    """One seed's program."""

    random: Random
    model: Model = attrs.field(factory=Model)
    layer: FaultyLayer = attrs.field(factory=FaultyLayer)
    now: int = 0
    watches: list[Watching] = attrs.field(factory=list)
    core: Core = attrs.field(init=False)

    def run(self) -> None:
        """Raises Wrong, and whatever a broken store raises."""
        journal = self._journal()
        journal.create({"seed": 1})
        self.core = Core(journal, CODEC, LIMITS)
        steps: Sequence[tuple[int, Callable[[], None]]] = (
            (30, self._put),
            (20, self._txn),
            (10, self._delete),
            (6, self._read),
            (6, self._read_past),
            (6, self._watch),
            (20, self._receive),
            (3, self._compact),
            (4, self._grant),
            (2, self._revoke),
            (4, self._keep_alive),
            (6, self._time_passes),
            (2, self._crash),
            (1, self._close),
        )
        weighted = [step for weight, step in steps for _ in range(weight)]
        for _ in range(STEPS):
            self.random.choice(weighted)()
            demand(self.core.history.head == self.model.head, "the head is not what was written")
        for watching in list(self.watches):
            self._drain(watching)

    def _journal(self) -> FileJournal:
        return FileJournal(PATH, CODEC, Durability.FSYNC, LIMITS, self.layer)

    # -- writing -------------------------------------------------------------------------------

    def _settle(self) -> None:
        self.core.journal.settle(self.core.journal.position)

    def _lease(self) -> int:
        return self.random.choice((0, 0, *self.model.leases))

    def _put(self) -> None:
        write = Write(self.random.choice(KEYS), self.random.randrange(4), self._lease())
        self._commit((), (write,), ())

    def _delete(self) -> None:
        start, end = self.random.choice(RANGES)
        self._commit((), (Write(start, None, end=end),), ())

    def _txn(self) -> None:
        conditions = tuple(self._condition() for _ in range(self.random.randint(0, 2)))
        self._commit(conditions, self._branch(), self._branch())

    def _condition(self) -> Condition:
        """One that holds about as often as not."""
        key = self.random.choice(KEYS)
        target = self.random.choice(("version", "create", "mod", "lease"))
        actual = getattr(self.model.states[-1].get(key), target, 0)
        return Condition(
            key=key,
            target=target,
            op=self.random.choice(tuple(OPERATORS)),
            operand=max(0, actual + self.random.randint(-1, 1)),
        )

    def _branch(self) -> tuple[Write, ...]:
        keys = self.random.sample(KEYS, self.random.randint(0, 3))
        return tuple(
            Write(key, None if self.random.random() < 0.3 else self.random.randrange(4))
            for key in keys
        )

    def _commit(
        self, conditions: tuple[Condition, ...], then: tuple[Write, ...], other: tuple[Write, ...]
    ) -> None:
        compares = tuple(
            Compare(each.key, Target[each.target.upper()], OPERATORS[each.op], each.operand)
            for each in conditions
        )
        txn = Txn(compares, tuple(map(operation, then)), tuple(map(operation, other)))
        result, _ = self.core.commit(txn, USER, self.now)
        held = all(map(self.model.holds, conditions))
        demand(result.succeeded is held, f"{conditions} gave {result.succeeded}")
        before = self.model.head
        deleted = self.model.write(then if held else other)
        demand(result.revision == self.model.head, f"revision {result.revision} after {before}")
        answered = [each.deleted for each in result.responses if hasattr(each, "deleted")]
        demand(answered == deleted, f"deleted {answered}, must be {deleted}")
        if self.random.random() < 0.8:
            self._settle()
        else:
            self._crash(settled=before)

    # -- reading -------------------------------------------------------------------------------

    def _read(self) -> None:
        start, end = self.random.choice(RANGES)
        self._range(Get(start, end, limit=self.random.randrange(3)), self.model.head)

    def _read_past(self) -> None:
        start, end = self.random.choice(RANGES)
        revision = self.random.randint(max(1, self.model.head - 25), self.model.head + 1)
        self._range(Get(start, end, revision=revision), revision)

    def _range(self, get: Get, revision: int) -> None:
        try:
            result = self.core.range(get)
        except Compacted:
            demand(revision < self.model.compacted, f"read at {revision}: compacted, but is not")
            return
        except FutureRevision:
            demand(revision > self.model.head, f"read at {revision}: the future, but is not")
            return
        demand(revision >= self.model.compacted, f"read at {revision}, which is compacted")
        demand(revision <= self.model.head, f"read at {revision}, which has not happened")
        state = self.model.states[revision]
        inside = [key for key in sorted(state) if within(key, get.key, get.range_end)]
        shown = inside[: get.limit or None]
        got = [(kv.key, entry_of(kv)) for kv in result.kvs]
        demand(got == [(key, state[key]) for key in shown], f"read at {revision}: {got}")
        demand(result.count == len(inside), f"count {result.count}, must be {len(inside)}")
        demand(result.more is (len(shown) < len(inside)), "more is wrong")
        demand(result.revision == self.model.head, f"answered at {result.revision}")

    # -- watching ------------------------------------------------------------------------------

    def _watch(self) -> None:
        start, end = self.random.choice(RANGES)
        without = self.random.choice(((), (), (EventType.PUT,), (EventType.DELETE,)))
        first = self.random.choice((0, self.random.randint(1, self.model.head + 3)))
        self._open(start, end, without, first)

    def _open(
        self, start: str, end: str | None, without: tuple[EventType, ...], first: int
    ) -> None:
        watcher = Watcher(keys=KeyRange.of(start, end), without=without)
        self.core.watch(watcher, first, self.now)
        due = first or self.model.head + 1
        self.watches.append(Watching(start, end, without, watcher, due, due))

    def _receive(self) -> None:
        if not self.watches:
            return
        watching = self.random.choice(self.watches)
        for _ in range(self.random.randint(1, 4)):
            if not self._receive_once(watching):
                return
        if self.random.random() < 0.2:  # cut off, and resumed where it was
            self.core.unwatch(watching.watcher)
            self.watches.remove(watching)
            self._open(watching.start, watching.end, watching.without, watching.due)

    def _receive_once(self, watching: Watching) -> bool:
        """Take one batch, and hold it against the model; whether to go on."""
        if self.random.random() < 0.3:
            watching.watcher.progress_due = True
        try:
            batch = self.core.deliver(watching.watcher, prev_kv=True)
        except Compacted:
            demand(watching.due < self.model.compacted, f"watch due {watching.due}: compacted")
            self.core.unwatch(watching.watcher)
            self.watches.remove(watching)
            return False
        if batch is None:
            return watching.watcher.ready
        self._check_batch(watching, batch)
        watching.due = max(watching.due, batch.revision + 1)
        return True

    def _check_batch(self, watching: Watching, batch: WatchBatch) -> None:
        demand(batch.revision <= self.model.head, "a bookmark of the future")
        demand(batch.revision >= watching.bookmark, "the bookmark went back")
        watching.bookmark = batch.revision
        expected = [
            each
            for each in self.model.stream(
                watching.start, watching.end, watching.due, batch.revision
            )
            if not hidden(each, watching.without)
        ]
        got = [(event.revision, event.key, state_of(event)) for event in batch.events]
        must = [(each.revision, each.key, each.entry) for each in expected]
        demand(got == must, f"a watch was told {got}, must be {must}")
        for before, each in zip(batch.previous, expected, strict=True):
            told = entry_of(before) if before else None
            unknown = told is None and each.revision <= self.model.compacted
            demand(told == each.before or unknown, f"previous of {each} is {told}")

    def _drain(self, watching: Watching) -> None:
        for _ in range(200):
            if watching not in self.watches or not self._receive_once(watching):
                break
        if watching in self.watches and watching.watcher.next_revision <= self.model.head:
            rest = self.model.stream(watching.start, watching.end, watching.due, self.model.head)
            missed = [each for each in rest if not hidden(each, watching.without)]
            demand(not missed, f"a watch was never told of {missed[:1]}")

    # -- compaction, leases, time --------------------------------------------------------------

    def _compact(self) -> None:
        revision = self.model.head - self.random.randrange(6)
        try:
            self.core.compact(revision)
        except Compacted:
            demand(revision <= self.model.compacted, f"compact({revision}) refused")
            return
        demand(revision > self.model.compacted, f"compact({revision}) is done already")
        self.model.compacted = revision
        self._settle()

    def _grant(self) -> None:
        seconds = self.random.randint(2, 9)
        status = self.core.grant(seconds, 0, self.now)
        demand(status.id not in self.model.leases, f"lease {status.id} is there already")
        self.model.leases[status.id] = (seconds, self.now + seconds * SECOND)
        self._settle()

    def _some_lease(self) -> int:
        return self.random.choice((*self.model.leases, 99))

    def _revoke(self) -> None:
        lease = self._some_lease()
        try:
            self.core.revoke(lease, USER, self.now)
        except LeaseNotFound:
            demand(lease not in self.model.leases, f"lease {lease} is not there")
            return
        demand(lease in self.model.leases, f"lease {lease} was revoked, and is not there")
        self.model.end_lease(lease)
        self._settle()

    def _keep_alive(self) -> None:
        lease = self._some_lease()
        try:
            self.core.leases.keep_alive(lease, self.now)
        except LeaseNotFound:
            demand(lease not in self.model.leases, f"lease {lease} is not there")
            return
        demand(lease in self.model.leases, f"lease {lease} was kept alive, and is not there")
        seconds, _ = self.model.leases[lease]
        self.model.leases[lease] = (seconds, self.now + seconds * SECOND)

    def _time_passes(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            self.now += SECOND
            self.core.tick(self.now)
            self._settle()
            ended = [each for each in self.model.leases if each not in self.core.leases]
            for lease in sorted(ended, key=lambda each: (self.model.leases[each][1], each)):
                demand(self.model.leases[lease][1] <= self.now, f"lease {lease} ended early")
                self.model.end_lease(lease)
            for lease, (_, deadline) in self.model.leases.items():
                demand(self.now <= deadline + SLACK, f"lease {lease} does not end")

    # -- stopping ------------------------------------------------------------------------------

    def _close(self) -> None:
        self.core.journal.close()
        self._reopen(self.model.head)

    def _crash(self, settled: int | None = None) -> None:
        """The machine stops; what comes after `settled` was not acknowledged."""
        if settled is None:
            self._settle()
        self.layer = self.layer.after_crash(Survival.LOST, dice(self.random.randrange(1 << 30)))
        self._reopen(self.model.head if settled is None else settled)

    def _reopen(self, least: int) -> None:
        head = self.model.head
        journal = self._journal()
        self.core = Core(journal, CODEC, LIMITS)
        for entry in journal.recover({"seed": 1}):
            self.core.restore(entry, self.now)
        found = self.core.history.head
        demand(least <= found <= head, f"opened at {found}, acknowledged was {least} of {head}")
        del self.model.states[found + 1 :]
        self.model.events = [each for each in self.model.events if each.revision <= found]
        demand(self.core.compacted == self.model.compacted, "the compaction was forgotten")
        demand(self.core.leases.ids() == tuple(sorted(self.model.leases)), "other leases")
        for lease, (seconds, _) in self.model.leases.items():
            self.model.leases[lease] = (seconds, self.now + seconds * SECOND)
        watches, self.watches = self.watches, []
        for each in watches:
            if each.due <= found + 1:  # one that was shown what is lost would be a fault
                self._open(each.start, each.end, each.without, each.due)
        self._range(Get("a", "\0"), found)


def operation(write: Write) -> Op:
    """As the store is asked."""
    if write.value is None:
        return Delete(write.key, write.end)
    return Put(write.key, write.value, lease=write.lease)


def hidden(happened: Happened, without: tuple[EventType, ...]) -> bool:
    """Whether a filter leaves it out."""
    return (EventType.DELETE if happened.entry is None else EventType.PUT) in without


def entry_of(kv: KeyValue) -> Entry:
    """An answer in the model's form."""
    return Entry(kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def state_of(event: Event) -> Entry | None:
    """What an event leaves, in the model's form."""
    if event.type is EventType.DELETE:
        return None
    return Entry(event.value, event.create_revision, event.revision, event.version, event.lease)


def hunt(seed: int) -> str:
    """What is wrong with the store, by this seed; empty when nothing was found."""
    try:
        Hunt(dice(seed)).run()
    except Exception as error:  # noqa: BLE001 - a broken store may raise anything
        return f"{type(error).__name__}: {error}"
    return ""
