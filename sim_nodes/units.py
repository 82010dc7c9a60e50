"""Time as the pure parts of this package count it: integer nanoseconds since the start of the run."""

from __future__ import annotations

from typing import Final

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""

NEVER: Final = 1 << 62
"""Later than every run ends: the wake-up time of what waits for no time."""


def to_ns(seconds: float) -> int:
    """Seconds as nanoseconds, in whole microseconds (the step of cluster time)."""
    return round(seconds * 1_000_000) * 1000


def next_tick(time_ns: int, *, period_ns: int, phase_ns: int) -> int:
    """The first tick at or after `time_ns` of a ticker that ticks at phase, phase + period, ...; NEVER stays NEVER."""
    if time_ns >= NEVER:
        return NEVER
    return time_ns + (phase_ns - time_ns) % period_ns


def go_duration(duration_ns: int) -> str:
    """As Go prints a time.Duration cut to milliseconds: `350ms`, `1.2s`, `1m2.5s`, `0s`."""
    milliseconds = duration_ns // 1_000_000
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    text = f"{seconds}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
