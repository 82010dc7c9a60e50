"""What the runtime of a node knows: a pod's sandbox, and its containers, each with the moments of its life.

A container's state is a function of these moments and of the time. Faults move them, and each keeps beside what it moved how it would be without it.
"""

from __future__ import annotations

import attrs

from engine import DurationRange
from sim_nodes.effects import Effect
from sim_nodes.units import NEVER


@attrs.frozen
class Ending:
    """When and how a container ends."""

    at_ns: int
    exit_code: int
    reason: str


@attrs.define(eq=False, kw_only=True)
class ContainerRecord:
    """One container: made once, ends once. Times are ns since the start of the run; NEVER for what will not happen."""

    id: str
    name: str
    attempt: int
    """How many containers of this name the pod had before: its restart count."""
    sandbox_attempt: int
    image: str
    image_id: str
    created_ns: int
    started_ns: int
    answers_ns: int
    hangs_ns: int
    ends_ns: int
    exit_code: int
    reason: str
    """Why it ended, as a status shows it: Completed, Error, OOMKilled, Unknown."""
    stopping: bool = False
    unready_ns: int = NEVER
    """From when on it answers its readiness probe with no: a fault."""
    own_hangs_ns: int | None = None
    """When it would hang were it not for the faults that let it."""
    own_end: Ending | None = None
    """How it would end were it not for `dooms`."""
    dooms: dict[Effect[DurationRange], Ending] = attrs.field(factory=dict)
    """How the faults end it that let it crash; the earliest counts."""

    def exited(self, now: int) -> bool:
        return self.ends_ns <= now

    def running(self, now: int) -> bool:
        return self.started_ns <= now < self.ends_ns

    def answers(self, now: int) -> bool:
        """Whether it would answer a probe."""
        return self.answers_ns <= now < min(self.hangs_ns, self.ends_ns)

    def end(self, ending: Ending) -> None:
        """Let it end so, unless it ends earlier."""
        if self.own_end is not None and ending.at_ns < self.own_end.at_ns:
            self.own_end = ending
        if ending.at_ns < self.ends_ns:
            self._set_end(ending)

    def lose(self, now: int, exit_code: int) -> None:
        """Its machine has lost it, and notices now."""
        self.started_ns = min(self.started_ns, now)
        self.own_end = None
        self.dooms.clear()
        self._set_end(Ending(now, exit_code, "Unknown"))

    # -- faults ------------------------------------------------------------------------------------

    def hang(self, now: int) -> None:
        """Let it answer no probe from now on, until `recover`."""
        if self.own_hangs_ns is None:
            self.own_hangs_ns = self.hangs_ns
        self.hangs_ns = min(self.hangs_ns, max(now, self.started_ns))

    def recover(self) -> None:
        """Let it answer again, as far as it does by itself."""
        if self.own_hangs_ns is not None:
            self.hangs_ns, self.own_hangs_ns = self.own_hangs_ns, None

    def doom(self, effect: Effect[DurationRange], at_ns: int) -> None:
        """Let it crash at that time, until `spare`."""
        if self.own_end is None:
            self.own_end = Ending(self.ends_ns, self.exit_code, self.reason)
        self.dooms[effect] = Ending(at_ns, 1, "Error")
        if at_ns < self.ends_ns:
            self._set_end(self.dooms[effect])

    def spare(self, effect: Effect[DurationRange], now: int) -> None:
        """Let it live as long as it does without this fault; what has ended stays so."""
        if self.dooms.pop(effect, None) is None or self.own_end is None:
            return
        if not self.exited(now):
            ends = (self.own_end, *self.dooms.values())
            self._set_end(min(ends, key=lambda ending: ending.at_ns))
        if not self.dooms:
            self.own_end = None

    def postpone(self, since: int, by: int) -> None:
        """It stood still from `since` on, for so long: whatever was to come comes so much later."""

        def later(time_ns: int) -> int:
            return time_ns + by if since < time_ns < NEVER else time_ns

        self.started_ns, self.answers_ns = later(self.started_ns), later(self.answers_ns)
        self.hangs_ns, self.ends_ns = later(self.hangs_ns), later(self.ends_ns)
        if self.own_hangs_ns is not None:
            self.own_hangs_ns = later(self.own_hangs_ns)
        if self.own_end is not None:
            self.own_end = attrs.evolve(self.own_end, at_ns=later(self.own_end.at_ns))
        self.dooms = {
            effect: attrs.evolve(ending, at_ns=later(ending.at_ns))
            for effect, ending in self.dooms.items()
        }

    def _set_end(self, ending: Ending) -> None:
        self.ends_ns, self.exit_code, self.reason = ending.at_ns, ending.exit_code, ending.reason


@attrs.define(eq=False, kw_only=True)
class Sandbox:
    """A pod's own network and cgroup; without it (a reboot) its containers are dead."""

    id: str
    attempt: int
    created_ns: int
    ip: str
    """Empty for a pod in the host's network."""
    ready: bool = True


@attrs.define(eq=False)
class PodRecord:
    """What the runtime knows of one pod: the newest sandbox, and each container's records, newest last, two at the most."""

    namespace: str
    name: str
    sandbox: Sandbox | None = None
    containers: dict[str, list[ContainerRecord]] = attrs.field(factory=dict)

    def newest(self, name: str) -> ContainerRecord | None:
        records = self.containers.get(name)
        return records[-1] if records else None

    def current(self, name: str) -> ContainerRecord | None:
        """The newest record of that container in the newest sandbox."""
        record = self.newest(name)
        if record is None or self.sandbox is None:
            return None
        return record if record.sandbox_attempt == self.sandbox.attempt else None
