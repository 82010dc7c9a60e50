"""Expectations: what a controller has asked for and has not yet seen.

A cache lags behind the API. A controller that made three pods and looks again before its cache
shows them would make three more. So before it asks it writes down what it expects, its informer's
handler crosses that off, and until the record is empty it neither creates nor deletes
(controllers.md 1.5).

    `web` needs 2 pods: expect_creations("ns/web", 2). One create fails: creation_observed (nothing
    will come). The other pod is delivered: creation_observed. The record is fulfilled, and the next
    sync may act again.

Deletions are tracked by pod, since one deletion shows itself twice: as an update with a
deletionTimestamp, then as a removal. Records older than the time-out (5 min) are fulfilled: a lost
observation must not stop a controller for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from engine import Key


@attrs.define(eq=False)
class _Record:
    creations: int
    deletions: dict[Key, None]
    since_ns: int


@attrs.frozen(kw_only=True)
class ExpectationStatistics:
    """Records held, and the creations and deletions outstanding in them."""

    records: int
    creations: int
    deletions: int


@attrs.define(eq=False)
class Expectations:
    """The records of one controller, by the key of the object it reconciles; O(1) for each call."""

    timeout_ns: int
    _records: dict[Key, _Record] = attrs.field(factory=dict, init=False)

    def expect_creations(self, owner: Key, count: int, now_ns: int) -> None:
        """Begin a record of `count` creations; replaces the one there was."""
        self._records[owner] = _Record(count, {}, now_ns)

    def expect_deletions(self, owner: Key, pods: Iterable[Key], now_ns: int) -> None:
        """Begin a record of the deletion of `pods`; replaces the one there was."""
        self._records[owner] = _Record(0, dict.fromkeys(pods), now_ns)

    def creation_observed(self, owner: Key, count: int = 1) -> None:
        """So many creations were seen, or will never be."""
        record = self._records.get(owner)
        if record is not None:
            record.creations = max(0, record.creations - count)

    def deletion_observed(self, owner: Key, pod: Key) -> None:
        """The deletion of `pod` was seen, or will never be; seeing it twice counts once."""
        record = self._records.get(owner)
        if record is not None:
            record.deletions.pop(pod, None)

    def fulfilled(self, owner: Key, now_ns: int) -> bool:
        """Whether nothing is outstanding, or it has been for too long."""
        record = self._records.get(owner)
        if record is None or (record.creations == 0 and not record.deletions):
            return True
        return now_ns - record.since_ns > self.timeout_ns

    def forget(self, owner: Key) -> None:
        """The object is gone: drop its record."""
        self._records.pop(owner, None)

    def statistics(self) -> ExpectationStatistics:
        """How much is outstanding."""
        records = self._records.values()
        return ExpectationStatistics(
            records=len(self._records),
            creations=sum(record.creations for record in records),
            deletions=sum(len(record.deletions) for record in records),
        )

    def check(self) -> None:
        """Assert that no count is negative and that no record waits for both."""
        for owner, record in self._records.items():
            assert record.creations >= 0, f"{owner}: {record.creations} creations outstanding"
            assert not (record.creations and record.deletions), f"{owner}: waits for both"
