"""INTERIM store (replaced by the real room): contract names, memory only."""
from __future__ import annotations

import enum
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NewType, Protocol

import attrs
import trio
from sortedcontainers import SortedDict

Revision = NewType("Revision", int)
Cause = int | str


@attrs.frozen
class Origin:
    actor: str
    reconcile: str = ""
    causes: tuple[Cause, ...] = ()


class EventType(enum.Enum):
    PUT = "PUT"
    DELETE = "DELETE"


class Durability(enum.Enum):
    NONE = "none"
    BUFFERED = "buffered"
    FSYNC = "fsync"


class Codec(Protocol):
    def encode(self, value: object) -> bytes: ...
    def decode(self, data: bytes) -> object: ...


@attrs.frozen
class KeyValue:
    key: str
    value: object
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@attrs.frozen(kw_only=True)
class Event:
    type: EventType
    key: str
    value: object
    revision: int
    previous: int
    create_revision: int
    version: int
    lease: int
    time_ns: int
    origin: Origin
    prev_value: object = None


class Target(enum.Enum):
    VERSION = "version"
    CREATE = "create"
    MOD = "mod"
    VALUE = "value"
    LEASE = "lease"


@attrs.frozen
class Compare:
    key: str
    target: Target
    op: str
    operand: object


@attrs.frozen
class Put:
    key: str
    value: object
    lease: int = 0
    prev_kv: bool = False


@attrs.frozen
class Delete:
    key: str
    range_end: str | None = None
    prev_kv: bool = False


@attrs.frozen
class Get:
    key: str
    range_end: str | None = None


@attrs.frozen
class Txn:
    compares: Sequence[Compare] = ()
    success: Sequence[Put | Delete | Get] = ()
    failure: Sequence[Put | Delete | Get] = ()


@attrs.frozen
class TxnResult:
    succeeded: bool
    revision: int
    responses: tuple[object, ...] = ()


@attrs.frozen
class RangeResult:
    kvs: tuple[KeyValue, ...]
    count: int
    more: bool
    revision: int


@attrs.frozen
class WatchBatch:
    events: tuple[Event, ...]
    revision: int


class StoreError(Exception):
    pass


class Compacted(StoreError):
    pass


class FutureRevision(StoreError):
    pass


def prefix_end(prefix: str) -> str:
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Watch:
    def __init__(self, store: MemoryStore, key: str, end: str | None, start: int) -> None:
        self.buffer = [e for e in store.log if e.revision >= start and self._in(e.key, key, end)]
        self.key, self.end, self.event, self.store = key, end, trio.Event(), store

    @staticmethod
    def _in(k: str, key: str, end: str | None) -> bool:
        return k == key if end is None else key <= k < end

    def post(self, events: list[Event]) -> None:
        mine = [e for e in events if self._in(e.key, self.key, self.end)]
        if mine:
            self.buffer.extend(mine)
            self.event.set()

    async def receive(self) -> WatchBatch:
        while not self.buffer:
            self.event = trio.Event()
            await self.event.wait()
        await trio.lowlevel.checkpoint()
        batch, self.buffer = self.buffer, []
        return WatchBatch(tuple(batch), batch[-1].revision)


class MemoryStore:
    def __init__(self, codec: Codec, clock: Callable[[], int]) -> None:
        self.codec, self.clock = codec, clock
        self.kvs: SortedDict = SortedDict()
        self.log: list[Event] = []
        self.head = 1
        self.compacted = 0
        self.watches: list[Watch] = []
        self._digest = b""
        self._folded = 0

    @property
    def digest(self) -> str:
        for e in self.log[self._folded:]:
            body = self.codec.encode(e.value) if e.value is not None else b""
            head = repr((e.type.name, e.key, e.revision, e.time_ns, e.origin.actor, e.origin.reconcile, e.origin.causes)).encode()
            self._digest = hashlib.blake2b(self._digest + head + body, digest_size=32).digest()
        self._folded = len(self.log)
        return self._digest.hex()

    async def txn(self, txn: Txn, *, origin: Origin) -> TxnResult:
        await trio.lowlevel.checkpoint()
        ok = all(self._compare(c) for c in txn.compares)
        events: list[Event] = []
        responses: list[object] = []
        now = self.clock()
        for op in txn.success if ok else txn.failure:
            if isinstance(op, Put):
                old = self.kvs.get(op.key)
                rev = self.head + 1
                kv = KeyValue(op.key, op.value, old.create_revision if old else rev, rev, (old.version if old else 0) + 1, op.lease)
                self.kvs[op.key] = kv
                events.append(Event(type=EventType.PUT, key=op.key, value=op.value, revision=rev, previous=old.mod_revision if old else 0, create_revision=kv.create_revision, version=kv.version, lease=op.lease, time_ns=now, origin=origin, prev_value=old.value if old else None))
                responses.append(old)
            elif isinstance(op, Delete):
                gone = [op.key] if op.range_end is None else [k for k in self.kvs.irange(op.key, op.range_end, (True, False))]
                for k in gone:
                    old = self.kvs.pop(k, None)
                    if old is not None:
                        events.append(Event(type=EventType.DELETE, key=k, value=None, revision=self.head + 1, previous=old.mod_revision, create_revision=0, version=0, lease=0, time_ns=now, origin=origin, prev_value=old.value))
                responses.append(None)
            else:
                responses.append(self._range(op.key, op.range_end))
        if events:
            self.head += 1
            self.log.extend(events)
            for w in self.watches:
                w.post(events)
        return TxnResult(ok, self.head, tuple(responses))

    def _compare(self, c: Compare) -> bool:
        kv = self.kvs.get(c.key)
        have = {Target.VERSION: kv.version if kv else 0, Target.CREATE: kv.create_revision if kv else 0, Target.MOD: kv.mod_revision if kv else 0, Target.VALUE: kv.value if kv else None, Target.LEASE: kv.lease if kv else 0}[c.target]
        return {"=": have == c.operand, "!=": have != c.operand}[c.op] if c.op in "!=" else (have < c.operand if c.op == "<" else have > c.operand)  # type: ignore

    def _range(self, key: str, end: str | None, limit: int = 0) -> RangeResult:
        if end is None:
            kv = self.kvs.get(key)
            kvs = [kv] if kv else []
        else:
            kvs = [self.kvs[k] for k in self.kvs.irange(key, end, (True, False))]
        n = len(kvs)
        return RangeResult(tuple(kvs[:limit] if limit else kvs), n, bool(limit and n > limit), self.head)

    async def range(self, key: str, *, range_end: str | None = None, revision: int = 0, limit: int = 0, **kw: object) -> RangeResult:
        await trio.lowlevel.checkpoint()
        if revision and revision != self.head:
            kvs: dict[str, KeyValue] = {}
            for e in self.log:
                if e.revision > revision or not Watch._in(e.key, key, range_end):
                    continue
                if e.type is EventType.DELETE:
                    kvs.pop(e.key, None)
                else:
                    kvs[e.key] = KeyValue(e.key, e.value, e.create_revision, e.revision, e.version, e.lease)
            out = [kvs[k] for k in sorted(kvs)]
            return RangeResult(tuple(out[:limit] if limit else out), len(out), bool(limit and len(out) > limit), self.head)
        return self._range(key, range_end, limit)

    @asynccontextmanager
    async def watch(self, key: str, *, range_end: str | None = None, start_revision: int = 0, **kw: object) -> AsyncIterator[Watch]:
        w = Watch(self, key, range_end, start_revision or self.head + 1)
        self.watches.append(w)
        try:
            yield w
        finally:
            self.watches.remove(w)

    def history(self, from_revision: int = 1, to_revision: int | None = None) -> Iterator[Event]:
        return iter([e for e in self.log if e.revision >= from_revision and (to_revision is None or e.revision <= to_revision)])

    async def compact(self, revision: int) -> None:
        await trio.lowlevel.checkpoint()
        self.compacted = revision


    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> LeaseStatus:
        await trio.lowlevel.checkpoint()
        self._granted = getattr(self, "_granted", 0) + 1
        return LeaseStatus(self._granted)


@attrs.frozen
class LeaseStatus:
    id: int


Store = MemoryStore


@asynccontextmanager
async def open_store(path: object = None, *, codec: Codec, clock: Callable[[], int], durability: object = None, header: Mapping[str, object] | None = None, **kw: object) -> AsyncIterator[MemoryStore]:
    yield MemoryStore(codec, clock)
