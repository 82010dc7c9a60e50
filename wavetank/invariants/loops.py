"""The invariant that finds controllers which go round in circles.

Theory of operation. What an object says is brought to a form without what counts or tells the time (`said`), and each object's writes become a
sequence of small numbers, one for each different form. A sequence that has the period p shows s[i] == s[i-p]; how long that has held is
kept for each p up to 8, so that a write costs eight comparisons. But nothing of it happens for an object before it has been
written `SUSPICIOUS` times within the window: until then a write costs a counter.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import ClassVar, Final, cast

import attrs

from engine import Event, Fault, Json, KubeObject, Lease, Node
from store import Event as LogEvent
from wavetank.invariants.deadlines import CATCHING_UP_NS, Disturbances
from wavetank.invariants.model import SECOND_NS
from wavetank.view import View

WINDOW_NS: Final = 300 * SECOND_NS
"""What lies further apart is no loop."""
SUSPICIOUS: Final = 16
"""Writes of one object within the window from which on it is followed."""
LONGEST_PERIOD: Final = 8
"""Writes."""
REPEATS: Final = 5
"""How often the same sequence must be seen."""
LEAST_WRITES: Final = 20
"""How many writes a loop must have been going on for, at the least."""
FLOOD: Final = 1_000
"""Writes of one object within the window that are too many if they are more than twice all other writes together."""

_TOLD_APART: Final = ("controller/", "kubelet/", "scheduler", "kube-", "apiserver", "store")
"""Who writes by itself; all others (users, chaos) write because they were told to, and end what was going on."""
_COUNTERS: Final = ("resourceVersion", "generation", "observedGeneration", "uid")
_TIMES: Final = ("Time", "Timestamp", "At")
"""How the names of fields end that hold a time."""


def said(data: Json) -> Json:
    """The data without counters and times."""
    if isinstance(data, dict):
        return {
            name: said(value)
            for name, value in data.items()
            if name not in _COUNTERS and not name.endswith(_TIMES)
        }
    if isinstance(data, list):
        return [said(each) for each in data]
    return data


@attrs.define(eq=False)
class _Writes:
    """The writes of one object since it was first met, or since an outsider wrote."""

    epoch: int
    since_ns: int
    all_before: int
    """Writes of the whole cluster before the window."""
    count: int = 0
    forms: dict[str, int] = attrs.field(factory=dict)
    sequence: deque[tuple[int, str]] = attrs.field(
        factory=lambda: deque(maxlen=LONGEST_PERIOD * (REPEATS + 1))
    )
    """Form and writer."""
    held: list[int] = attrs.field(factory=lambda: [0] * (LONGEST_PERIOD + 1))
    """For each period, for how many writes it has held."""

    def add(self, form: str, actor: str) -> int:
        """Take a write; the shortest period that has been going on for long enough, or 0."""
        number = self.forms.setdefault(form, len(self.forms))
        sequence, held = self.sequence, self.held
        found = 0
        for period in range(1, min(LONGEST_PERIOD, len(sequence)) + 1):
            if sequence[-period][0] == number:
                held[period] += 1
                if not found and held[period] + period >= max(REPEATS * period, LEAST_WRITES):
                    found = period
            else:
                held[period] = 0
        sequence.append((number, actor))
        return found


@attrs.define
class NoHotLoop:
    """No object goes through the same states again and again, or is written without bound, when nobody from outside writes.

    States are compared without times, counters, uids and resourceVersion. A loop is a sequence of at most 8 writes seen five times or more, over 20
    writes at the least, none of them five minutes after the first it is counted with; to be written without bound is: 1,000 times in that time, and more than twice as often as all
    else. Leases, Events and Faults are not looked at, nor is a kubelet's heartbeat: a status that only says the same again.
    A write by a user or by chaos begins the count anew. Faults of control plane, network or store, and what controllers do until they have caught up with them, are not looked at.
    """

    name: ClassVar[str] = "noHotLoop"
    _epoch: int = 0
    _all: int = 0
    _writes: dict[str, _Writes] = attrs.field(factory=dict)
    _reported: dict[str, None] = attrs.field(factory=dict)
    _disturbances: Disturbances = attrs.field(factory=Disturbances)
    _room: int = 1_000
    """Objects remembered before those are forgotten that have not been written for a window."""

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> str | None:
        obj = cast("KubeObject", old if event.value is None else event.value)
        if isinstance(obj, Lease | Event):
            return None
        actor = event.origin.actor
        self._all += 1
        if isinstance(obj, Fault) or not actor.startswith(_TOLD_APART):
            self._disturbances.observe(event, old)
            self._epoch += 1
            return None
        key, now = event.key, event.time_ns
        if self._disturbances.since(now - CATCHING_UP_NS):
            self._epoch += 1
            return None
        writes = self._writes.get(key)
        if writes is None or writes.epoch != self._epoch or now - writes.since_ns > WINDOW_NS:
            if writes is None and len(self._writes) >= self._room:
                self._forget(now)
            writes = self._writes[key] = _Writes(self._epoch, now, self._all - 1)
            self._reported.pop(key, None)
        writes.count += 1
        if writes.count < SUSPICIOUS or key in self._reported:
            return None
        return self._look(writes, event, view)

    def _forget(self, now: int) -> None:
        """Keep what is within the window. Done when there is twice as much as was left, so that it costs nothing on average."""
        self._writes = {
            key: writes
            for key, writes in self._writes.items()
            if now - writes.since_ns <= WINDOW_NS
        }
        self._room = max(1_000, 2 * len(self._writes))

    def _look(self, writes: _Writes, event: LogEvent, view: View) -> str | None:
        form, actor = _form(event, view), event.origin.actor
        heartbeat = isinstance(event.value, Node) and actor.startswith("kubelet/")
        if heartbeat and writes.sequence and writes.forms.get(form) == writes.sequence[-1][0]:
            return None
        seconds = (event.time_ns - writes.since_ns) / 1e9
        period = writes.add(form, actor)
        if period:
            self._reported[event.key] = None
            recent = [writes.sequence[-place][1] for place in range(period, 0, -1)]
            return (
                f"{event.key} goes round in circles: {period} writes again and again, "
                f"{writes.count} in {seconds:g}s, by {', '.join(sorted(dict.fromkeys(recent)))}"
            )
        others = self._all - writes.all_before - writes.count
        if writes.count >= FLOOD and writes.count > 2 * others:
            self._reported[event.key] = None
            writers = dict.fromkeys(actor for _, actor in writes.sequence)
            return (
                f"{event.key} was written {writes.count} times in {seconds:g}s, and all else "
                f"{others} times, by {', '.join(writers)}"
            )
        return None


def _form(event: LogEvent, view: View) -> str:
    """What the object says, as a text; empty when it was deleted."""
    if event.value is None:
        return ""
    data = view.state.scheme.to_dict(cast("KubeObject", event.value))
    return json.dumps(said(cast("Json", dict(cast("Mapping[str, Json]", data)))), sort_keys=True)
