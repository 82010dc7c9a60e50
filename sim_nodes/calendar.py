"""The calendar of one machine: by how much its clock is wrong, now and at any time before.

A machine's timers run right; what is wrong is the time of day it writes into statuses and leases. What was written stays as it was when the clock is
set right, so errors that are over are remembered for the time they were in force.
"""

from __future__ import annotations

from typing import Final

import attrs

from sim_nodes.units import NEVER

_PPM: Final = 1_000_000


@attrs.define(eq=False)
class ClockError:
    """One fault's part in it: an offset, and a drift in parts per million that begins at nothing. `end(now)` sets that right, once."""

    offset_us: int
    drift_ppm: int
    reason: str
    since_ns: int
    until_ns: int = NEVER

    @property
    def active(self) -> bool:
        """Whether it is in force."""
        return self.until_ns >= NEVER

    def end(self, now: int) -> None:
        """Take it back; again does nothing."""
        if self.active:
            self.until_ns = now

    def at(self, time_ns: int) -> int:
        """Its microseconds at that time."""
        if not self.since_ns <= time_ns < self.until_ns:
            return 0
        return self.offset_us + (time_ns - self.since_ns) // 1000 * self.drift_ppm // _PPM


@attrs.define(eq=False)
class Calendar:
    """The errors of one machine's clock; they add up."""

    _errors: list[ClockError] = attrs.field(factory=list, init=False)

    @property
    def active(self) -> list[ClockError]:
        """Those in force, oldest first."""
        return [error for error in self._errors if error.active]

    def err(self, *, offset_us: int, drift_ppm: int, reason: str, now: int) -> ClockError:
        """From now on the clock is wrong by that much more."""
        error = ClockError(offset_us, drift_ppm, reason, now)
        self._errors.append(error)
        return error

    def error_us(self, time_ns: int) -> int:
        """By how many microseconds the clock was ahead at that time."""
        if not self._errors:
            return 0
        return sum(error.at(time_ns) for error in self._errors)

    def ns_of(self, true_us: int) -> int:
        """When a clock that errs as this one does now shows `true_us` microseconds since the start of the run."""
        active = self.active
        if not active:
            return true_us * 1000
        drift = sum(error.drift_ppm for error in active)
        fixed = sum(
            error.offset_us - error.since_ns // 1000 * error.drift_ppm // _PPM for error in active
        )
        return (true_us - fixed) * _PPM // (_PPM + drift) * 1000
