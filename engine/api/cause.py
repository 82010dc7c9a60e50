"""Who acts, and why: the origin that every write carries into the log.

The machinery sets it (an informer when it delivers, a controller when it takes a key from its queue, a timer when it fires)
and the API server reads it: nobody passes causes by hand. A task started inside inherits it, as context
variables do.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from store import Cause, Origin

USER: Final = Origin(actor="user", causes=("user",))
"""The declared root: what is written with no origin set was asked for from outside."""

_origin: Final[ContextVar[Origin]] = ContextVar("wavetank_origin", default=USER)


def current_origin() -> Origin:
    """The origin in force here."""
    return _origin.get()


def set_origin(origin: Origin) -> None:
    """Put `origin` in force for the rest of this task, and for the tasks it starts."""
    _origin.set(origin)


def set_causes(*causes: Cause) -> None:
    """Keep the actor and put other causes in force for the rest of this task."""
    origin = _origin.get()
    _origin.set(Origin(origin.actor, origin.reconcile, causes))


class acting:  # noqa: N801 - used as a function, and cheaper than a generator: it is on the way of every event
    """Put `origin` in force for the block."""

    __slots__ = ("_origin", "_token")

    def __init__(self, origin: Origin) -> None:
        self._origin: Final = origin

    def __enter__(self) -> None:
        self._token = _origin.set(self._origin)

    def __exit__(self, *exc: object) -> None:
        _origin.reset(self._token)
