"""The life of a process, as a table.

```
            START            PAUSE
  CREATED ---------> RUNNING <------> PAUSED
                     |  |  |  RESUME  |  |  |        (from RUNNING and from PAUSED alike)
             EXIT <--+  |  +--> FAIL  |
                        | CRASH <-----+
                        v
                     CRASHING --GONE--> CRASHED      EXITED, FAILED and CRASHED START again
```

Not in the table: a second PAUSE of a paused process adds a hold and RESUME is the release of the last one (`holds.py`); an error
that a dying process raises does not change how it died, it is kept as its `failure`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.Enum):
    """Where a process is in its life."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    CRASHING = "crashing"
    """Cancelled, and its tasks not all gone yet; nothing it does reaches the cluster."""
    CRASHED = "crashed"
    EXITED = "exited"
    FAILED = "failed"


class Event(enum.Enum):
    """What may happen to a process."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CRASH = "crash"
    GONE = "gone"
    EXIT = "exit"
    FAIL = "fail"


class IllegalTransition(RuntimeError):
    """A process was asked for what its state does not allow; nothing has changed."""

    def __init__(self, name: str, state: State, event: Event) -> None:
        allowed = ", ".join(each.value for each in TRANSITIONS[state]) or "nothing"
        super().__init__(
            f"process {name!r} is {state.value}: cannot {event.value}, allowed are: {allowed}"
        )
        self.name: Final = name
        self.state: Final = state
        self.event: Final = event


_ALIVE: Final = {
    Event.CRASH: State.CRASHING,
    Event.EXIT: State.EXITED,
    Event.FAIL: State.FAILED,
}

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.CREATED: {Event.START: State.RUNNING},
    State.RUNNING: {Event.PAUSE: State.PAUSED, **_ALIVE},
    State.PAUSED: {Event.PAUSE: State.PAUSED, Event.RESUME: State.RUNNING, **_ALIVE},
    State.CRASHING: {Event.GONE: State.CRASHED},
    State.CRASHED: {Event.START: State.RUNNING},
    State.EXITED: {Event.START: State.RUNNING},
    State.FAILED: {Event.START: State.RUNNING},
}

LIVING: Final = (State.RUNNING, State.PAUSED)
"""The states in which a process may act on the cluster (a paused one as soon as it goes on)."""


def next_state(name: str, state: State, event: Event) -> State:
    """The state after this event.

    Raises:
        IllegalTransition: the table has no such arrow.
    """
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise IllegalTransition(name, state, event)
    return after
