"""How much history a log keeps on the disk.

History is dropped in whole segments, from the beginning, and only up to a segment that has a snapshot before it: so at least what
was asked for is kept, and up to some segments more. The digest goes on over all events ever written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import attrs

from store.errors import InvalidRequest

_SECOND_NS: Final = 1_000_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Seconds of each unit that `Keep.parse` reads."""


@attrs.frozen
class Base:
    """A place where reading can begin: the snapshot before segment `number`, of the state at `revision`."""

    number: int
    revision: int
    time_ns: int


@attrs.frozen
class Keep:
    """A retention policy: `Keep.all()`, `Keep.revisions(n)` or `Keep.duration(seconds)`; time is the log's own, that of its events."""

    last_revisions: int | None = None
    last_seconds: float | None = None

    def __str__(self) -> str:
        """The policy as `parse` reads it."""
        if self.last_revisions is not None:
            return str(self.last_revisions)
        if self.last_seconds is not None:
            return f"{Decimal(repr(self.last_seconds)).normalize():f}s"
        return "all"

    @classmethod
    def all(cls) -> Keep:
        """Keep every event, for ever."""
        return cls()

    @classmethod
    def revisions(cls, count: int) -> Keep:
        """Keep at least the last `count` revisions. Raises InvalidRequest."""
        if count < 1:
            raise InvalidRequest(f"keep the last {count} revisions; at least 1 is kept")
        return cls(last_revisions=count)

    @classmethod
    def duration(cls, seconds: float) -> Keep:
        """Keep at least the events of the last `seconds` before the newest event. Raises InvalidRequest."""
        if not 0 < seconds < math.inf:
            raise InvalidRequest(f"keep the last {seconds} s; a duration is positive")
        return cls(last_seconds=seconds)

    @classmethod
    def parse(cls, text: str) -> Keep:
        """`all`, a number of revisions, or a duration with its unit: `90s`, `30m`, `1.5h`, `7d`. Raises InvalidRequest."""
        if text == "all":
            return cls.all()
        found = re.fullmatch("([0-9]{1,18}|[0-9]*[.][0-9]+)([smhd])", text)
        try:
            if re.fullmatch("[0-9]{1,18}", text):
                return cls.revisions(int(text))
            if found is not None:
                return cls.duration(float(Decimal(found[1]) * _UNITS[found[2]]))
        except InvalidRequest:
            pass  # nothing is not to be kept: said with what is allowed
        raise InvalidRequest(
            f"keep {text!r}; allowed: all, a number of revisions (10000), or a time (90s, 30m, 2h, 7d)"
        )

    def base(self, bases: Sequence[Base], head: int, time_ns: int) -> Base | None:
        """The last base that has all to be kept behind it, given the head and its time; None when nothing may go."""
        chosen = None
        for base in bases:
            if self._may_drop(base, head, time_ns):
                chosen = base
        return chosen

    def _may_drop(self, base: Base, head: int, time_ns: int) -> bool:
        if self.last_revisions is not None:
            return base.revision <= head - self.last_revisions
        if self.last_seconds is not None:
            return base.time_ns < time_ns - self.last_seconds * _SECOND_NS
        return False


KEEP_ALL: Final = Keep.all()
