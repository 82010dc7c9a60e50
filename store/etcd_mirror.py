"""What an etcd holds and held, mirrored: commits made of what one watch over all keys tells. Pure and synchronous.

etcd's revisions have no gaps, and every one of them changed a key: so a mirror that has seen revisions 2 to n in order has seen everything, and can
tell when something is missing. It feeds the history and the watchers of a `Core`, which then serve watches, history, and the digest just as those of an
embedded store do; only writes and reads go to etcd.

    watch response                                            becomes
    a PUT at 7; a DELETE at 8, an origin key PUT at 8         Commit(7: PUT a by etcd/foreign), Commit(8: DELETE a by user)
    the same again, after a broken connection                 nothing: the head is 8
    a PUT at 11                                               Behind(10): 9 and 10 are gone; begin anew at 10

Begins. An etcd that was never compacted is read from revision 2 on. Of one that was, the state at the compacted revision is taken (who wrote it is known for
the last writes only, and what it was before is not), and followed from there. So is one that was compacted while the mirror was cut off: watchers that were not as far end with
`Compacted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Final

import attrs

from store.core import Core
from store.errors import StoreFailed
from store.etcd_origin import FOREIGN, Stamp, lease_ended, stamp_of
from store.etcd_wire import Message, Wire, flag, key_of, number, part, parts
from store.history import Commit, put_event
from store.journal import CompactedTo, MemoryJournal
from store.records import Event, EventType, KeyValue, Origin, Revision
from store.watchers import Watcher, WatcherState

BASE: Final = Origin("etcd", "", ("compacted",))
"""Of what stood when the mirror began, and whose origin is compacted."""


class Behind(Exception):
    """What comes next is gone: the mirror must begin anew at `revision`."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"begin anew at revision {revision}")
        self.revision = revision


@attrs.define(eq=False, repr=False)
class Mirror:
    """Feeds a core with what an etcd tells."""

    core: Core
    wire: Wire
    epoch_ns: int = 0
    """Unix nanoseconds at time 0 of the events."""
    began: int = attrs.field(default=0, init=False)
    """The revision of the state with which it began; 0 at the beginning of all."""
    base: list[Event] = attrs.field(factory=list, init=False)
    """The state with which the mirror began, if it could not begin at the beginning: PUTs in the order of revisions."""

    def __repr__(self) -> str:
        return f"<Mirror {self.core!r}>"

    @property
    def head(self) -> Revision:
        """The newest revision that is mirrored."""
        return self.core.history.head

    def take(self, response: Message) -> list[Watcher]:
        """Take over what a response of the watch tells; returns the watchers to wake. Raises Behind, StoreFailed."""
        if number(response, "compact_revision"):
            raise Behind(number(response, "compact_revision"))
        if flag(response, "canceled"):
            raise StoreFailed(f"etcd ended the watch: {response.get('cancel_reason', '')}")
        to_wake: list[Watcher] = []
        for revision, events in groupby(parts(response, "events"), _revision_of):
            if revision <= self.head:
                continue
            if revision > self.head + 1:
                raise Behind(revision - 1)
            to_wake += self._apply(list(events))
        return to_wake

    def _apply(self, messages: Sequence[Message]) -> list[Watcher]:
        """Take over one revision, whole."""
        core = self.core
        commit = self._commit(messages)
        if not commit:
            core.history.skip()
            return []
        core.journal.append(commit, 0)
        core.history.restore(commit)
        core.time_ns = commit[-1].time_ns
        return core.watchers.post(commit)

    def _commit(self, messages: Sequence[Message]) -> Commit:
        # An origin that is deleted is none: somebody has swept the etcd.
        written = (part(each, "kv") for each in messages if not _is_delete(each))
        stamps = [stamp for kv in written if (stamp := self._stamp(kv)) is not None]
        changes = [each for each in messages if key_of(part(each, "kv")) is not None]
        if stamps:
            stamp = stamps[0]
        else:
            # Whoever wrote this left no time: it is that of the event before.
            stamp = Stamp(self._origin(changes), self.core.time_ns + self.epoch_ns)
        time_ns = max(self.core.time_ns, stamp.time_ns - self.epoch_ns)
        return tuple(self._event(each, stamp.origin, time_ns) for each in changes)

    def _origin(self, changes: Sequence[Message]) -> Origin:
        """The origin of what has no stamp: the end of a lease deletes keys that are all attached to it."""
        leases = dict.fromkeys(self._lease_deleted(each) for each in changes)
        (lease, *others) = leases or {0: None}
        return lease_ended(lease) if lease and not others else FOREIGN

    def _lease_deleted(self, message: Message) -> int:
        before = self.core.history.newest(str(key_of(part(message, "kv"))))
        return before.lease if before is not None and _is_delete(message) else 0

    def _event(self, message: Message, origin: Origin, time_ns: int) -> Event:
        delete = _is_delete(message)
        kv = self._key_value(part(message, "kv"), keys_only=delete)
        assert kv is not None, "a key that is no text"
        before = self.core.history.newest(kv.key)
        return Event(
            type=EventType.DELETE if delete else EventType.PUT,
            key=kv.key,
            value=kv.value,
            revision=kv.mod_revision,
            previous=before.revision if before is not None else 0,
            create_revision=kv.create_revision,
            version=kv.version,
            lease=kv.lease,
            time_ns=time_ns,
            origin=origin,
        )

    # -- beginning anew ------------------------------------------------------------------------

    def begin(self, revision: int, kvs: Iterable[Message]) -> list[Watcher]:
        """Begin anew with the state at `revision`; returns the watchers to wake, for those that were not as far have ended.

        The digest begins anew as well, with the state in the order of revisions and keys.
        """
        core, kvs = self.core, list(kvs)
        state = self._state(kvs)
        self.base, self.began = state, revision
        to_wake = [
            watcher for watcher in core.watchers.watchers() if watcher.next_revision <= revision
        ]
        for watcher in to_wake:
            # Those too whose next revision is this one: what it deleted nobody knows.
            first = watcher.pending[0].revision if watcher.pending else watcher.next_revision
            watcher.next_revision = min(first, revision - 1)
            watcher.pending.clear()
            watcher.state = WatcherState.CATCHING_UP
        core.history.begin(Revision(revision), state)
        core.journal = MemoryJournal(core.codec)
        if state:
            core.journal.append(tuple(state), 0)
        core.restore(CompactedTo(revision), 0)
        return to_wake

    def _state(self, messages: Sequence[Message]) -> list[Event]:
        stamps = {
            number(each, "mod_revision"): stamp
            for each in messages
            if (stamp := self._stamp(each)) is not None
        }
        kvs = [kv for each in messages if (kv := self._key_value(each)) is not None]
        kvs.sort(key=lambda kv: (kv.mod_revision, kv.key))
        events: list[Event] = []
        for kv in kvs:
            stamp = stamps.get(kv.mod_revision)
            time_ns = max(0, stamp.time_ns - self.epoch_ns) if stamp is not None else 0
            self.core.time_ns = max(self.core.time_ns, time_ns)
            origin = stamp.origin if stamp is not None else BASE
            events.append(put_event(kv, origin, self.core.time_ns))
        return events

    def value_of(self, key: str, revision: int, octets: bytes) -> object:
        """The value of a key that etcd answers with: the one in memory if it is the newest, so that values are shared."""
        newest = self.core.history.newest(key)
        if newest is not None and newest.revision == revision:
            return newest.value
        with _of_this_store(key):
            return self.wire.codec.decode(octets)

    # -- what others may have written ----------------------------------------------------------

    def _key_value(self, message: Message, *, keys_only: bool = False) -> KeyValue | None:
        """A key-value; None when its key is no text. Raises StoreFailed."""
        with _of_this_store(key_of(message) or ""):
            return self.wire.key_value(message, keys_only=keys_only)

    @staticmethod
    def _stamp(message: Message) -> Stamp | None:
        with _of_this_store("the origin of a write"):
            return stamp_of(message)


@contextmanager
def _of_this_store(key: str) -> Iterator[None]:
    """Whatever a codec raises: what it was given is no value of this store. Raises StoreFailed."""
    try:
        yield
    except Exception as error:
        raise StoreFailed(
            f"etcd holds what is no value of this store at {key!r}: {error}"
        ) from error


def _revision_of(message: Message) -> int:
    return number(part(message, "kv"), "mod_revision")


def _is_delete(message: Message) -> bool:
    return message.get("type") == "DELETE"
