"""What a store must answer, computed the plain way: a list of states, one for each revision. Written without a look at store/.

The rules are etcd's (design, section 4). Keys are a few, so that everything is a loop over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

SECOND = 10**9


@attrs.frozen
class Entry:
    """A key at a revision."""

    value: object
    create: int
    mod: int
    version: int
    lease: int


@attrs.frozen
class Happened:
    """One change of one key."""

    revision: int
    key: str
    entry: Entry | None
    """None: it was deleted."""
    before: Entry | None


@attrs.frozen
class Write:
    """A put, or with `value` None the deletion of the keys from `key` to `end` (None: of one)."""

    key: str
    value: object
    lease: int = 0
    end: str | None = None


@attrs.frozen
class Condition:
    """On a number of a key."""

    key: str
    target: Literal["version", "create", "mod", "lease"]
    op: str
    operand: int


State: TypeAlias = dict[str, Entry]


def within(key: str, start: str, end: str | None) -> bool:
    """Whether a range holds a key: no end is one key, and an end of a zero byte is none."""
    if end is None:
        return key == start
    return start <= key and (end == "\0" or key < end)


@attrs.define(eq=False)
class Model:
    """The store as it must be. `leases` holds the time each was granted for, and its deadline."""

    states: list[State] = attrs.field(factory=lambda: [{}, {}])
    events: list[Happened] = attrs.field(factory=list)
    compacted: int = 0
    leases: dict[int, tuple[int, int]] = attrs.field(factory=dict)

    @property
    def head(self) -> int:
        return len(self.states) - 1

    def holds(self, condition: Condition) -> bool:
        entry = self.states[-1].get(condition.key)
        actual = getattr(entry, condition.target) if entry is not None else 0
        match condition.op:
            case "=":
                return bool(actual == condition.operand)
            case "!=":
                return bool(actual != condition.operand)
            case "<":
                return bool(actual < condition.operand)
            case _:
                return bool(actual > condition.operand)

    def write(self, writes: Sequence[Write]) -> list[int]:
        """One transaction; returns for each deletion how many keys it deleted."""
        state, revision = dict(self.states[-1]), self.head + 1
        happened: list[Happened] = []
        deleted: list[int] = []
        for write in writes:
            if write.value is None:
                gone = [key for key in sorted(state) if within(key, write.key, write.end)]
                happened += [Happened(revision, key, None, state.pop(key)) for key in gone]
                deleted.append(len(gone))
                continue
            before = state.get(write.key)
            entry = Entry(
                write.value,
                before.create if before else revision,
                revision,
                before.version + 1 if before else 1,
                write.lease,
            )
            state[write.key] = entry
            happened.append(Happened(revision, write.key, entry, before))
        if happened:
            self.states.append(state)
            self.events += happened
        return deleted

    def end_lease(self, lease: int) -> None:
        """Its keys go with it, in one transaction."""
        del self.leases[lease]
        keys = [key for key, entry in sorted(self.states[-1].items()) if entry.lease == lease]
        self.write([Write(key, None) for key in keys])

    def stream(self, start: str, end: str | None, first: int, last: int) -> list[Happened]:
        """What a watch of a range is told of the revisions first..last."""
        return [
            each
            for each in self.events
            if first <= each.revision <= last and within(each.key, start, end)
        ]
