"""`wavetank.sometimes`: marks in user code that a hunt should reach, as FoundationDB's and Antithesis' probes.

A probe says: over many runs this is sometimes true. It costs a dictionary entry, changes nothing in a run, and does nothing outside of one. The hunt lists
the probes that were met and never true: what they stand for was not tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_hits: Final[ContextVar[dict[str, int] | None]] = ContextVar("wavetank probes", default=None)


def sometimes(name: str, condition: object = True) -> None:
    """Say that `condition` is true in some runs; `name` tells the probe from others in the coverage report."""
    hits = _hits.get()
    if hits is not None:
        hits[name] = hits.get(name, 0) + bool(condition)


@contextmanager
def probing() -> Iterator[dict[str, int]]:
    """Gather the probes met in the block and in what it starts: how often each was true; 0 for one that was met and never was."""
    hits: dict[str, int] = {}
    token = _hits.set(hits)
    try:
        yield hits
    finally:
        _hits.reset(token)
