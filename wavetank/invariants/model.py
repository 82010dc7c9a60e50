"""What an invariant is, what it may be told of the run, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, runtime_checkable

import attrs

from engine import KubeObject, Settings, WatchListener
from store import Event as LogEvent
from wavetank.view import View

NEVER: Final = 1 << 62
"""Nanoseconds: the due time of what is not due."""
SECOND_NS: Final = 1_000_000_000


class Invariant(Protocol):
    """One rule. A fresh one is made for each run.

    It may have a tuple `kinds` of classes: then it is shown the events of those alone; and it may be `Surrounded`, `Timed` and `Finishing`.
    """

    @property
    def name(self) -> str:
        """What an experiment and its result call it."""
        ...

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        """What `event` breaks, as a sentence with names and numbers, or None."""
        ...


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the log does not say of a run. Whoever needs a part that is None, or was never told, finds nothing."""

    settings: Settings = attrs.field(factory=Settings)
    reconcilers: tuple[str, ...] = ()
    """The names of those that run: "garbagecollector", "pod-gc", ..."""
    revision: int = 0
    """The log is shown from after this revision on."""
    running: Callable[[str, str], int] | None = None
    """A reading of the machines: how many containers of the pod with a uid run on a node now."""
    listen: Callable[[WatchListener], None] | None = None
    """Has the API server tell of its watches."""
    durable: Callable[[], int] | None = None
    """The newest revision that is as durable as the store promises."""


@runtime_checkable
class Surrounded(Protocol):
    """An invariant that is told of the run as it begins."""

    def begin(self, surroundings: Surroundings) -> None: ...


@runtime_checkable
class Timed(Protocol):
    """An invariant that looks again when some time has passed, whatever happens then."""

    @property
    def due_ns(self) -> int:
        """When it wants to look again, in nanoseconds of cluster time; NEVER for not."""
        ...

    def overdue(self, view: View, now_ns: int) -> Iterable[str]:
        """What is wrong now that `due_ns` has passed."""
        ...


@runtime_checkable
class Finishing(Protocol):
    """An invariant that has something left to look at when the run ends."""

    def finish(self, view: View, now_ns: int) -> Iterable[str]:
        """What is wrong at the end of the run."""
        ...


@attrs.frozen
class FunctionInvariant:
    """A user's own rule: a function of the view, called at every revision.

    It returns True or None when all is well, and False or a sentence when it is not; an exception is a finding too.
    """

    name: str
    function: Callable[[View], object]

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        del event, old
        try:
            outcome = self.function(view)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            return f"{type(error).__name__}: {error}"
        if outcome is None or outcome is True:
            return None
        return outcome if isinstance(outcome, str) else f"{self.name} does not hold"


@attrs.frozen
class Violation:
    """An invariant that did not hold at `revision`."""

    name: str
    revision: int
    seconds: float
    message: str
