"""The chain of causes of a revision, told in a line each: who did what, and because of which revision."""

from __future__ import annotations

from pathlib import Path
from typing import Final, cast

from engine import Fault, KubeObject
from store import Event
from wavetank.logs import open_log

HOPS: Final = 8
"""A chain that is longer is told from its end: the nearest causes."""


def causes_of(log: Path, revision: int) -> list[str]:
    """The event of a revision, then its cause, and so on back to a root, at most HOPS of them.

    Where no fault is among them, the last that struck before is told too: what a fault keeps from happening has no cause in the log. Raises BadInput.
    """
    events: dict[int, Event] = {}
    for event in open_log(log).events(0, revision):
        events.setdefault(event.revision, event)
    lines: list[str] = []
    struck = False
    current = events.get(revision)
    while current is not None and len(lines) < HOPS:
        lines.append(told(current))
        struck = struck or isinstance(current.value, Fault)
        earlier = _cause(current, events)
        if earlier is None:
            roots = [each for each in current.origin.causes if isinstance(each, str)]
            if roots:
                lines.append(f"        because of {roots[-1]}")
        current = earlier
    faults = [each for each in events.values() if _strikes(each)]
    if faults and not struck:
        lines += ["before it:", told(faults[-1])]
    return lines


def _strikes(event: Event) -> bool:
    return isinstance(event.value, Fault) and event.version == 1


def _cause(event: Event, events: dict[int, Event]) -> Event | None:
    """The newest of its causes, faults first: those are what one looks for."""
    known = [
        events[cause]
        for cause in event.origin.causes
        if isinstance(cause, int) and cause in events and cause < event.revision
    ]
    faults = [each for each in known if isinstance(each.value, Fault)]
    return max(faults or known, key=lambda each: each.revision, default=None)


def told(event: Event) -> str:
    """`r812    41.2s  kubelet/node-1 updates Node node-1`."""
    obj = cast("KubeObject | None", event.value)
    verb = "deletes" if obj is None else "creates" if event.version == 1 else "updates"
    name = event.key.removeprefix("/registry/")
    if isinstance(obj, Fault):
        verb, name = (
            "strikes" if event.version == 1 else "heals",
            f"{obj.spec.kind} {obj.spec.target}",
        )
    seconds = event.time_ns / 1e9
    return f"r{event.revision:<6} {seconds:>9.3f}s  {event.origin.actor} {verb} {name}"
