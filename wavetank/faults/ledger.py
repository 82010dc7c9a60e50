"""What faults have written over in stored objects, so that it is put back by the right heal even where they lie on top of each other."""

from __future__ import annotations

import attrs
import trio


@attrs.define(eq=False, kw_only=True)
class Overwritten:
    """One field of one object."""

    kind: str
    key: str
    """In the store."""
    uid: str
    path: tuple[str | int, ...]
    found: object
    """What was there before; put there by the heal."""
    wrote: object
    active: bool = True

    def same_field(self, other: Overwritten) -> bool:
        """Whether it is the field of another."""
        return (self.key, self.uid, self.path) == (other.key, other.uid, other.path)


@attrs.define(eq=False)
class Ledger:
    """All of one cluster, oldest first. Whoever writes over or puts back holds the lock meanwhile."""

    lock: trio.Lock = attrs.field(factory=trio.Lock)
    entries: list[Overwritten] = attrs.field(factory=list)

    def original(self, entry: Overwritten) -> object:
        """What the field was before the first of them."""
        return next(each.found for each in self.entries if each.same_field(entry))

    def above(self, entry: Overwritten) -> Overwritten | None:
        """The next that was written over this one and is not healed."""
        later = self.entries[self.entries.index(entry) + 1 :]
        return next((each for each in later if each.active and each.same_field(entry)), None)
