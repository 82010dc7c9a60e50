"""Where commits go when they happen: the seam between the core and what is below it, and the journal of a store without a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

import attrs

from store.encoding import Digest
from store.history import Commit
from store.protocol import Codec
from store.records import Event


@attrs.frozen
class LeaseGranted:
    """A lease came into force."""

    lease: int
    ttl_seconds: int


@attrs.frozen
class LeaseEnded:
    """A lease was revoked or expired; its keys were deleted before."""

    lease: int


@attrs.frozen
class CompactedTo:
    """History below `revision` was given up."""

    revision: int


Mark: TypeAlias = LeaseGranted | LeaseEnded | CompactedTo
"""What happens to a store without changing a key. Not part of the digest."""


@attrs.frozen(kw_only=True)
class Restored:
    """The state that a snapshot holds, in place of all entries before."""

    states: Commit
    """The newest PUT of every key that exists."""
    last: Commit
    """The events of the newest revision."""
    leases: tuple[tuple[int, int], ...]
    """(id, granted seconds) of the leases in force, in the order of their grants."""
    next_lease: int
    compacted: int
    time_ns: int


Entry: TypeAlias = Commit | Mark | Restored
"""What a log is made of."""


@attrs.frozen(kw_only=True)
class JournalStatistics:
    """The condition of a journal."""

    segments: int = 0
    bytes: int = 0
    syncs: int = 0


class Journal(Protocol):
    """Takes commits in order, before they are applied: one that raises leaves things as they were."""

    @property
    def keeps_history(self) -> bool:
        """Whether `commits` can read back all that was ever appended, so that memory may forget it."""
        ...

    def attach(self, states: Callable[[], Iterable[Event]]) -> None:
        """`states` gives the newest PUT of every key, as of the last revision that has happened: once, before anything else."""
        ...

    def append(self, commit: Commit, ends_lease: int) -> None:
        """Write a commit, and with it the end of a lease (0: none). Raises NoSpace, StoreFailed, and what the codec raises."""
        ...

    def note(self, mark: Mark) -> None:
        """Write a mark. Raises NoSpace, StoreFailed."""
        ...

    @property
    def position(self) -> int:
        """How much has been appended: what a caller that has seen all of it gives to `settle`."""
        ...

    def settle(self, position: int) -> None:
        """Make what was appended up to `position` as durable as was promised. Raises StoreFailed."""
        ...

    @property
    def oldest(self) -> int:
        """The oldest revision that can be read back, if history is kept."""
        ...

    def state(self, revision: int) -> tuple[int, Commit]:
        """A revision near `revision` and not after it, and the newest PUT of each key then. Raises LogCorrupt, Compacted."""
        ...

    def commits(self, first: int) -> Iterator[Commit]:
        """Read back the commits from revision `first` on. Raises LogCorrupt."""
        ...

    @property
    def digest(self) -> str:
        """The rolling hash over all that was appended."""
        ...

    def close(self) -> None:
        """Write what is left. Raises NoSpace, StoreFailed."""
        ...

    def statistics(self) -> JournalStatistics:
        """The condition of the journal."""
        ...


@attrs.define(eq=False, repr=False)
class MemoryJournal:
    """Keeps nothing but the digest, and computes that only when asked: encoding is most of the cost of an event.

    Until then it refers to the commits, which history keeps anyway; a compaction brings the digest up to date, so that they can go.
    """

    codec: Codec
    _digest: Digest = attrs.field(factory=Digest, init=False)
    _pending: list[Commit] = attrs.field(factory=list, init=False)

    def __repr__(self) -> str:
        return f"<MemoryJournal {len(self._pending)} commits not yet in the digest>"

    @property
    def keeps_history(self) -> bool:
        """No: what history forgets is gone."""
        return False

    def attach(self, states: Callable[[], Iterable[Event]]) -> None:
        """Nothing is written that could hold them."""

    def append(self, commit: Commit, ends_lease: int) -> None:  # noqa: ARG002 - no log to note it in
        """Remember the commit for the digest."""
        self._pending.append(commit)

    def note(self, mark: Mark) -> None:
        """Marks are not part of the digest."""
        if isinstance(mark, CompactedTo):
            self._fold()

    @property
    def position(self) -> int:
        """There is nothing to settle."""
        return 0

    def settle(self, position: int) -> None:
        """Memory promises nothing."""

    @property
    def oldest(self) -> int:
        """No history is kept."""
        return 1

    def state(self, revision: int) -> tuple[int, Commit]:
        """There is nothing to read back: `keeps_history` says so."""
        raise AssertionError(f"revision {revision} was asked of a journal that keeps no history")

    def commits(self, first: int) -> Iterator[Commit]:
        """There is nothing to read back: `keeps_history` says so."""
        raise AssertionError(f"revision {first} was asked of a journal that keeps no history")

    @property
    def digest(self) -> str:
        """The rolling hash over all that was appended."""
        self._fold()
        return self._digest.hex

    def _fold(self) -> None:
        self._digest.add_commits(self._pending, self.codec)
        self._pending.clear()

    def close(self) -> None:
        """There is nothing to close."""

    def statistics(self) -> JournalStatistics:
        """A journal in memory has no segments."""
        return JournalStatistics()
