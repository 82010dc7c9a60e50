"""Cluster time: what events, timestamps and timers are measured in.

Waiting is plain `trio.sleep`: trio's own clock is virtual in a simulation and real outside. A `Clock` only reads it, in integers,
so that no float reaches an event: 20,000 sleeps of 0.1 s end at 1999.9999999992765, and read here as 2000 s.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Final, Self

import trio

from engine.sim.alarms import Alarms
from engine.sim.timers import Timers

EPOCH_US: Final = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z in Unix microseconds: when every simulation starts, whatever the day."""

_US: Final = 10**6
_NS: Final = 10**9


class Clock:
    """Time since the start of the run, and the calendar time it stands for.

    In a simulation `Clock.virtual()` reads 0 at the start; after `await trio.sleep(90)` `now_ns()` is 90_000_000_000 and `unix_us()` is
    `EPOCH_US + 90_000_000`. `Clock.wall()` is the same outside a simulation, with the epoch taken from the system once, so
    that a step of the system clock never reaches the cluster.

    Made and read inside `trio.run` only; elsewhere trio raises `RuntimeError`.
    """

    __slots__ = ("_alarms", "_at", "_error_us", "_now_ns", "_read", "_start", "epoch_us", "timers")

    def __init__(self, *, epoch_us: int, timers: Timers | None = None) -> None:
        self.epoch_us: Final = epoch_us
        """Unix microseconds at the start of the run; recorded in the log's header."""
        self._read: Final = trio.current_time if timers is None else timers.now
        self._start: Final = self._read()
        self._at = self._start
        self._now_ns = 0
        self.timers: Final = timers
        """Those of the simulation; None outside of one."""
        self._alarms: Final = Alarms(self)
        self._error_us: Callable[[int], int] | None = None

    @classmethod
    def virtual(cls, timers: Timers | None = None) -> Self:
        """The clock of a simulation: the calendar starts at `EPOCH_US`."""
        return cls(epoch_us=EPOCH_US, timers=timers)

    @classmethod
    def wall(cls) -> Self:
        """The clock of a run in real time; the one place where the engine reads the system's."""
        return cls(epoch_us=time.time_ns() // 1000)  # noqa: TID251 - the one reading of the system's clock

    def erring(self, error_us: Callable[[int], int]) -> Self:
        """The clock of a machine: the same timers, and a calendar that is ahead by `error_us` of a time in nanoseconds."""
        clock = copy.copy(self)
        clock._error_us = error_us  # noqa: SLF001 - a copy of its own
        return clock

    def __repr__(self) -> str:
        return f"Clock(epoch_us={self.epoch_us})"

    def now_us(self) -> int:
        """Microseconds since the start of the run; never goes back."""
        return self.now_ns() // 1000

    def now_ns(self) -> int:
        """Nanoseconds since the start of the run, in whole microseconds: finer, trio's float would show its last bits."""
        at = self._read()
        if at is not self._at:
            # Virtual time stands still while thousands of things happen, each of which asks for it and keeps the answer.
            self._at = at
            self._now_ns = round((at - self._start) * _US) * 1000
        return self._now_ns

    def now(self) -> float:
        """Seconds since the start of the run, to the microsecond: for arithmetic with durations."""
        return self.now_us() / _US

    async def sleep(self, seconds: float) -> None:
        """As `trio.sleep`, and in a simulation cheaper (timers.py)."""
        if self.timers is None:
            await trio.sleep(seconds)
        else:
            await self.timers.sleep(seconds)

    async def sleep_until(self, due_ns: int) -> None:
        """Sleep until a time that `now_ns` will show; for the timers that thousands have, cheaper than `trio.sleep` (alarms.py)."""
        await self._alarms.wait(due_ns)

    def trio_time(self, time_ns: int) -> float:
        """What trio's clock shows at that time."""
        return self._start + time_ns / _NS

    def unix_us(self) -> int:
        """The calendar: Unix microseconds."""
        now = self.now_ns()
        error = 0 if self._error_us is None else self._error_us(now)
        return self.epoch_us + now // 1000 + error
