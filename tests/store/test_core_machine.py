"""The synchronous core against a tiny model: random operations, watchers opened and resumed anywhere, compactions, reopenings."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from store import (
    Compacted,
    Compare,
    Delete,
    Durability,
    Event,
    EventType,
    FutureRevision,
    Get,
    LeaseNotFound,
    Limits,
    Op,
    Put,
    Target,
    Txn,
)
from store.core import Core
from store.filelog import FileJournal
from store.journal import MemoryJournal
from store.keys import KeyRange
from store.watchers import Watcher
from tests.store.memory_layer import MemoryLayer
from tests.store.support import CODEC, USER, as_state, fold

State: TypeAlias = dict[str, tuple[object, int, int, int, int]]

KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "c", "c\0", "\u00e9"])
ENDS = st.sampled_from([None, "\0", "a0", "b", "c", "d"])
VALUES = st.integers(0, 3)
LEASES = st.integers(0, 3)
SECOND = 10**9


class StoreMachine(RuleBasedStateMachine):
    """The model is a list of states by revision, and the list of all events."""

    log_limits: Limits | None = None
    """Set: the core writes a log, with these limits."""

    @initialize()
    def open_empty(self) -> None:
        self.now = 0
        self.layer = MemoryLayer()
        self.states: list[State] = [{}, {}]
        self.events: list[Event] = []
        self.compacted = 0
        self.leases: dict[int, int] = {}
        self.watchers: list[tuple[Watcher, int, list[Event]]] = []
        if self.log_limits is None:
            limits = Limits(watch_buffer_events=4, catch_up_revisions=3)
            self.core = Core(MemoryJournal(CODEC), CODEC, limits)
        else:
            journal = self.journal(self.log_limits)
            journal.create({"seed": 1})
            self.core = Core(journal, CODEC, self.log_limits)

    def journal(self, limits: Limits) -> FileJournal:
        return FileJournal(Path("run.wtl"), CODEC, Durability.NONE, limits, self.layer)

    # -- the model -----------------------------------------------------------------------------

    @property
    def head(self) -> int:
        return len(self.states) - 1

    def model(self, operations: list[Op]) -> State | None:
        """The state after the operations, None if they change nothing; raises LeaseNotFound."""
        state, revision, changed = dict(self.states[-1]), len(self.states), False
        for each in operations:
            if isinstance(each, Put):
                if each.lease and each.lease not in self.leases:
                    raise LeaseNotFound(each.lease)
                _, create, _, version, _ = state.get(each.key, (None, revision, 0, 0, 0))
                state[each.key] = (each.value, create, revision, version + 1, each.lease)
                changed = True
            elif isinstance(each, Delete):
                inside = KeyRange.of(each.key, each.range_end)
                for key in [key for key in state if key in inside]:
                    del state[key]
                    changed = True
        return state if changed else None

    def happened(self, state: State | None) -> None:
        """Move the model on, and learn the events, which must lead from the one state to the other."""
        if state is None:
            assert self.core.history.head == self.head
            return
        events = list(self.core.events(self.head + 1, None))
        assert events, "the core wrote nothing"
        for event in events:
            assert event.revision == self.head + 1
            before = self.states[-1].get(event.key)
            assert event.previous == (before[2] if before else 0)
            after = state.get(event.key)
            assert (event.type is EventType.PUT) is (after is not None)
            assert event.time_ns == self.now
        self.events += events
        self.states.append(state)
        assert fold(self.events, self.head) == state

    # -- rules ---------------------------------------------------------------------------------

    @rule(
        puts=st.dictionaries(KEYS, st.tuples(VALUES, LEASES), max_size=3),
        deletes=st.lists(st.tuples(KEYS, ENDS), max_size=2),
        deletes_first=st.booleans(),
        compare=st.tuples(KEYS, st.sampled_from(["=", ">"]), st.integers(0, 9)),
        nested=st.booleans(),
    )
    def txn(
        self,
        puts: dict[str, tuple[int, int]],
        deletes: list[tuple[str, str | None]],
        deletes_first: bool,
        compare: tuple[str, str, int],
        nested: bool,
    ) -> None:
        ranges = [KeyRange.of(key, end) for key, end in deletes]
        writes: list[Op] = [
            Put(key, value, lease=lease)
            for key, (value, lease) in puts.items()
            if not any(key in each for each in ranges)
        ]
        removals: list[Op] = [Delete(key, end) for key, end in deletes]
        operations = removals + writes if deletes_first else writes + removals
        key, operator, operand = compare
        condition = Compare(key, Target.MOD, "=" if operator == "=" else ">", operand)
        actual = self.states[-1].get(key, (None, 0, 0, 0, 0))[2]
        verdict = actual == operand if operator == "=" else actual > operand
        branch = tuple(operations)
        txn = Txn((condition,), (Txn(success=branch),) if nested else branch, (Get("a"),))
        try:
            expected = self.model(operations) if verdict else None
        except LeaseNotFound:
            with pytest.raises(LeaseNotFound):
                self.core.commit(txn, USER, self.now)
            self.happened(None)
            return
        result, _ = self.core.commit(txn, USER, self.now)
        self.happened(expected)
        assert (verdict, self.head) == (result.succeeded, result.revision)

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: int) -> None:
        expected = self.model([Put(key, value)])
        self.core.commit(Txn(success=(Put(key, value),)), USER, self.now)
        self.happened(expected)

    @rule(lease=st.integers(1, 3), seconds=st.integers(2, 9))
    def grant(self, lease: int, seconds: int) -> None:
        if lease not in self.leases:
            self.core.grant(seconds, lease, self.now)
            self.leases[lease] = self.now + seconds * SECOND

    def end(self, lease: int) -> State | None:
        del self.leases[lease]
        keys = [key for key, entry in self.states[-1].items() if entry[4] == lease]
        return self.model([Delete(key) for key in keys])

    @rule(lease=st.integers(1, 3))
    def revoke(self, lease: int) -> None:
        if lease in self.leases:
            expected = self.end(lease)
            self.core.revoke(lease, USER, self.now)
            self.happened(expected)

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        """To the end of one lease at a time, so that each transaction can be checked."""
        until = self.now + seconds * SECOND
        while (tick := self.core.next_tick()) is not None and tick <= until:
            deadline, lease = min((deadline, lease) for lease, deadline in self.leases.items())
            assert tick == deadline
            self.now = deadline
            together = sorted(each for each, at in self.leases.items() if at == deadline)
            assert lease == together[0]
            expected = [self.end(each) for each in together[:1]]
            if len(together) == 1:
                self.core.tick(self.now)
            else:
                self.core.revoke(lease, USER, self.now)
            self.happened(expected[0])
        self.now = until

    @rule(back=st.integers(0, 12))
    def compact(self, back: int) -> None:
        revision = self.head - back
        if revision <= self.compacted:
            with pytest.raises(Compacted):
                self.core.compact(revision)
        else:
            self.core.compact(revision)
            self.compacted = revision

    @rule(key=KEYS, end=ENDS, back=st.integers(-2, 12))
    def watch(self, key: str, end: str | None, back: int) -> None:
        watcher = Watcher(keys=KeyRange.of(key, end))
        start = max(1, self.head + 1 - back)
        self.core.watch(watcher, start, self.now)
        self.watchers.append((watcher, start, []))

    @rule(data=st.data(), times=st.integers(1, 6))
    def receive(self, data: st.DataObject, times: int) -> None:
        if not self.watchers:
            return
        watcher, start, got = data.draw(st.sampled_from(self.watchers))
        for _ in range(times):
            due = watcher.next_revision
            try:
                batch = self.core.deliver(watcher, prev_kv=True)
            except Compacted:
                assert due < self.compacted
                self.core.unwatch(watcher)
                self.watchers = [each for each in self.watchers if each[0] is not watcher]
                return
            if batch is None:
                continue
            got += batch.events
            expected = [
                event
                for event in self.events
                if start <= event.revision <= batch.revision and event.key in watcher.keys
            ]
            assert got == expected, "not exactly what happened up to the bookmark"
            for event, before in zip(batch.events, batch.previous, strict=True):
                known = event.previous and event.revision > self.compacted
                assert (before.mod_revision if before else 0) == (event.previous if known else 0)

    @rule(data=st.data())
    def unwatch(self, data: st.DataObject) -> None:
        if self.watchers:
            entry = data.draw(st.sampled_from(self.watchers))
            self.watchers.remove(entry)
            self.core.unwatch(entry[0])

    @rule(closed=st.booleans())
    def reopen(self, closed: bool) -> None:
        """A log that is opened again, closed before or not, holds all that it was given, and leases run anew."""
        if self.log_limits is None:
            return
        digest = self.core.journal.digest
        assert isinstance(self.core.journal, FileJournal)
        if closed:
            self.core.journal.close()
        else:
            self.core.journal._flush()
            self.layer = self.layer.crashed()
        journal = self.journal(self.log_limits)
        self.core = Core(journal, CODEC, self.log_limits)
        for entry in journal.recover({"seed": 1}):
            self.core.restore(entry, self.now)
        self.watchers.clear()
        statuses = {lease: self.core.leases.status(lease, self.now) for lease in self.leases}
        for lease, status in statuses.items():
            assert status.remaining_seconds == status.granted_seconds
            self.leases[lease] = self.now + status.granted_seconds * SECOND
        assert digest == self.core.journal.digest

    # -- invariants ----------------------------------------------------------------------------

    @invariant()
    def is_sound(self) -> None:
        self.core.check()
        assert self.core.history.head == self.head
        assert self.core.compacted == self.compacted
        assert self.core.leases.ids() == tuple(sorted(self.leases))

    @rule(key=KEYS, end=ENDS, back=st.integers(-1, 15), limit=st.integers(0, 3))
    def read(self, key: str, end: str | None, back: int, limit: int) -> None:
        revision = self.head - back
        get = Get(key, end, revision=max(1, revision), limit=limit)
        if get.revision < self.compacted:
            with pytest.raises(Compacted):
                self.core.range(get)
            return
        if get.revision > self.head:
            with pytest.raises(FutureRevision):
                self.core.range(get)
            return
        result = self.core.range(get)
        inside = KeyRange.of(key, end)
        state = self.states[get.revision]
        expected = {name: state[name] for name in sorted(state) if name in inside}
        assert result.count == len(expected)
        assert result.more is (0 < limit < len(expected))
        cut = dict(list(expected.items())[: limit or None])
        assert cut == as_state(result.kvs)


class LogMachine(StoreMachine):
    """With a log, and nearly nothing in memory."""

    log_limits = Limits(
        watch_buffer_events=4,
        catch_up_revisions=3,
        window_revisions=3,
        segment_bytes=400,
        write_buffer_bytes=100,
    )


PROFILE = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TestMemory = StoreMachine.TestCase
TestMemory.settings = PROFILE
TestLog = LogMachine.TestCase
TestLog.settings = PROFILE
