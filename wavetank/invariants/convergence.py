"""Whether a cluster comes to rest after its last fault, and stays so."""

from __future__ import annotations

from typing import Final

import attrs

from engine import Event, Fault, KubeObject, Lease, Node
from store import Event as LogEvent
from wavetank.view import NodeView, UnsettledSearch, View

_QUIET: Final = (Lease, Event)
"""Kinds that cannot unsettle anything."""


@attrs.frozen(kw_only=True)
class Convergence:
    """What a look at the clock says. Seconds are of cluster time."""

    fault_seconds: float
    """When a fault last struck or was healed, or the user last wrote; 0 if that never was."""
    settled_seconds: float | None
    """Since when nothing is left to do; None while something is."""
    unsettled_seconds: float
    """When something was last left to do."""
    left: tuple[str, ...]
    """What is left to do now."""
    message: str
    """Empty when the cluster converged in time and stayed; else what it did not do."""

    @property
    def converged(self) -> bool:
        """In time, and for as long as was asked."""
        return not self.message


@attrs.define(eq=False)
class Converges:
    """A spectator: after the last fault, or the user's last word, all desired states are reached `within` seconds, and stay so for `stays`.

    What is left to do is what `View.unsettled` says. While something is, an event costs one look at what was found last; while nothing is, only
    an event that could change that costs a search, which finds at once what it then finds again.

        converges = Converges(within=300, stays=60)
        cluster.observer.add(converges)
        ...                                    # faults, and all of them healed
        await trio.sleep(converges.patience)
        verdict = converges.verdict(cluster.view, cluster.clock.now())
    """

    within: float
    stays: float
    _search: UnsettledSearch = attrs.field(factory=UnsettledSearch, init=False)
    _begun_ns: int = attrs.field(default=0, init=False)
    _settled_ns: int | None = attrs.field(default=None, init=False)
    _unsettled_ns: int = attrs.field(default=0, init=False)
    _late: str = attrs.field(default="", init=False)
    """How the cluster came to be unsettled after it had settled."""

    @property
    def patience(self) -> float:
        """How long to wait after the last fault until `verdict` can say yes: both times together."""
        return self.within + self.stays

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        """Part of the protocol of spectators."""
        obj = old if event.value is None else event.value
        if isinstance(obj, Fault) or event.origin.actor in ("user", "chaos"):
            self._begun_ns = event.time_ns
            self._late = ""
        elif isinstance(obj, _QUIET) or not self._may_matter(obj, old, event):
            return
        if self._search.found(view):
            if self._settled_ns is not None and self._settled_ns >= self._begun_ns:
                self._late = f"{event.origin.actor} unsettled it again with r{event.revision}"
            self._settled_ns = None
            self._unsettled_ns = event.time_ns
        elif self._settled_ns is None or self._settled_ns < self._begun_ns:
            self._settled_ns = event.time_ns

    def _may_matter(self, obj: object, old: KubeObject | None, event: LogEvent) -> bool:
        """Nodes matter by being there and ready only."""
        if not isinstance(obj, Node):
            return True
        new = event.value
        if not isinstance(old, Node) or not isinstance(new, Node):
            return True
        return NodeView(old).ready is not NodeView(new).ready

    def verdict(self, view: View, now: float) -> Convergence:
        """How things stand at `now`, in seconds of cluster time."""
        begun = self._begun_ns / 1e9
        left = tuple(view.unsettled())
        settled = None if self._settled_ns is None or left else self._settled_ns / 1e9
        if settled is None:
            message = f"{now - begun:g}s after the last fault it is not settled: {left[0] if left else ''}"
            if self._late:
                message += f" ({self._late})"
        elif settled - begun > self.within:
            message = f"it settled {settled - begun:g}s after the last fault; allowed are {self.within:g}s"
        elif now - settled < self.stays:
            message = f"it has been settled for {now - settled:g}s; {self.stays:g}s are asked for"
        else:
            message = ""
        return Convergence(
            fault_seconds=begun,
            settled_seconds=settled,
            unsettled_seconds=self._unsettled_ns / 1e9,
            left=left,
            message=message,
        )
