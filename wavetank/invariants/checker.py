"""The checker: shows every event to the invariants it concerns, and keeps what they find."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from engine import KubeObject
from store import Event as LogEvent
from wavetank.invariants.model import (
    Finishing,
    Invariant,
    Surrounded,
    Surroundings,
    Timed,
    Violation,
)
from wavetank.view import View


@attrs.define(eq=False)
class InvariantChecker:
    """A spectator. `begin` before the first event and `finish` after the last; at most `limit` findings of each are kept.

    An event costs the invariants of its kind; what waits for a time costs one comparison until then.
    """

    invariants: Sequence[Invariant]
    limit: int = 10
    violations: list[Violation] = attrs.field(factory=list, init=False)
    _found: dict[str, int] = attrs.field(factory=dict, init=False)
    _concerned: dict[type, tuple[Invariant, ...]] = attrs.field(factory=dict, init=False)
    _timed: tuple[tuple[str, Timed], ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._timed = tuple(
            (each.name, each) for each in self.invariants if isinstance(each, Timed)
        )

    def begin(self, surroundings: Surroundings) -> None:
        """Tell the invariants what run it is."""
        for invariant in self.invariants:
            if isinstance(invariant, Surrounded):
                invariant.begin(surroundings)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        """Part of the protocol of spectators."""
        kind = type(old if event.value is None else event.value)
        concerned = self._concerned.get(kind)
        if concerned is None:
            concerned = self._concerned[kind] = self._concerned_by(kind)
        for invariant in concerned:
            message = invariant.observe(event, old, view)
            if message is not None:
                self._keep(invariant.name, message, view)
        now_ns = event.time_ns
        for name, timed in self._timed:
            if timed.due_ns <= now_ns:
                for message in timed.overdue(view, now_ns):
                    self._keep(name, message, view)

    def finish(self, view: View, now_ns: int) -> None:
        """Look at what is left: the run is over, at `now_ns` of cluster time, and `view` shows its end."""
        for name, timed in self._timed:
            if timed.due_ns <= now_ns:
                for message in timed.overdue(view, now_ns):
                    self._keep(name, message, view)
        for invariant in self.invariants:
            if isinstance(invariant, Finishing):
                for message in invariant.finish(view, now_ns):
                    self._keep(invariant.name, message, view)

    def _concerned_by(self, kind: type) -> tuple[Invariant, ...]:
        return tuple(
            invariant
            for invariant in self.invariants
            if self._found.get(invariant.name, 0) < self.limit
            and issubclass(kind, getattr(invariant, "kinds", object))
        )

    def _keep(self, name: str, message: str, view: View) -> None:
        found = self._found.get(name, 0)
        if found >= self.limit:
            return
        self._found[name] = found + 1
        if found + 1 == self.limit:
            self._concerned.clear()  # it has said enough, and is shown nothing more
        self.violations.append(Violation(name, view.revision, view.seconds, message))
