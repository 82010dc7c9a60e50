"""Reading what an etcd holds without a store: for the command line, whoever writes to it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import trio

from store.core import Core
from store.errors import Compacted, FutureRevision
from store.etcd_address import EtcdAddress
from store.etcd_opening import etcd_header, open_etcd
from store.keys import ALL_KEYS
from store.protocol import Codec
from store.reader import Verified
from store.records import Event, Get, KeyValue


@attrs.define(eq=False, repr=False)
class EtcdReader:
    """The history of an etcd as far as it is not compacted, as it was when it was opened: what `LogReader` is for a log on disk."""

    address: EtcdAddress
    header: Mapping[str, object]
    """What the first who opened the store put in front of it."""
    _core: Core
    _base: Sequence[Event]

    def __repr__(self) -> str:
        return f"<EtcdReader {', '.join(self.address.endpoints)}>"

    def events(self, from_revision: int = 0, to_revision: int | None = None) -> Iterator[Event]:
        """The events of the revisions from..to, both included, in order; 0 begins with what there is. Raises Compacted at once.

        Of what is compacted that is the last PUT of each key that then existed: so the events, folded, are the state at any revision that can be read.
        """
        oldest = self._core.oldest
        asked = [at for at in (from_revision or None, to_revision) if at is not None]
        if self._core.compacted and asked and min(asked) < oldest:
            raise Compacted(min(asked), oldest)
        return self._events(max(from_revision, oldest), to_revision, whole=not from_revision)

    def _events(self, first: int, last: int | None, *, whole: bool) -> Iterator[Event]:
        if whole:
            yield from (event for event in self._base if event.revision < first)
        yield from self._core.events(first, last)

    def state(self, at: int | None = None) -> dict[str, KeyValue]:
        """Every key as it was at a revision (None: at the end), in the order of keys. Raises Compacted, FutureRevision."""
        head = self._core.history.head
        if at is not None and at > head:
            raise FutureRevision(at, head)
        found = self._core.range(Get(*ALL_KEYS, revision=head if at is None else max(1, at)))
        return {kv.key: kv for kv in found.kvs}

    def verify(self) -> Verified:
        """How many events there are, and their digest. etcd has its own checksums; that no revision is missing was seen while reading."""
        return Verified(
            events=sum(1 for _ in self.events()),
            head=self._core.history.head,
            digest=self._core.journal.digest,
            closed=False,
            torn=None,
        )


def read_etcd_header(address: EtcdAddress | str) -> Mapping[str, object]:
    """What the first who opened the store put in front of it; empty if nobody did. Not for use inside of trio. Raises as `read_etcd`."""
    return trio.run(etcd_header, address)


def read_etcd(address: EtcdAddress | str, codec: Codec) -> EtcdReader:
    """Read all that an etcd holds now. Not for use inside of trio. Raises InvalidRequest, StoreUnavailable, StoreFailed."""
    found = EtcdAddress.parse(address) if isinstance(address, str) else address

    async def load() -> EtcdReader:
        async with open_etcd(found, codec=codec) as store:
            return EtcdReader(found, store.header, store.core, store.mirror.base)

    return trio.run(load)
