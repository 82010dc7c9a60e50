"""Durations as people write them (`500ms`, `90s`, `5m`, `1h30m`) and ranges of them (`1s..5s`), in seconds."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, Self

import attrs

_UNITS: Final = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|us|µs|m|s)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


class DurationError(ValueError):
    """A text that is no duration: names the text and what is allowed."""


def parse_duration(text: str) -> float:
    """Seconds, to the microsecond: `parse_duration("1h30m") == 5400.0`; a bare `0` is allowed, as in Go.

    Raises:
        DurationError: the text is not written so, or is finer than a microsecond.
    """
    if text == "0":
        return 0.0
    if not _WHOLE.fullmatch(text):
        raise DurationError(
            f"{text!r} is no duration: allowed are numbers with the units h, m, s, ms, us, such as 500ms, 90s, 1h30m"
        )
    seconds = sum(Fraction(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    micros = seconds * 10**6
    if micros.denominator != 1:
        raise DurationError(f"{text!r} is finer than a microsecond, the smallest step of time here")
    return micros.numerator / 10**6


def format_duration(seconds: float) -> str:
    """The shortest such text, to the microsecond: `format_duration(5400) == "1h30m"`, `"-2s"` for -2, `"0s"` for 0."""
    micros = round(seconds * 10**6)
    parts = ["-"] if micros < 0 else []
    rest = abs(micros)
    for unit, size in (
        ("h", 3600 * 10**6),
        ("m", 60 * 10**6),
        ("s", 10**6),
        ("ms", 1000),
        ("us", 1),
    ):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) if micros else "0s"


@attrs.frozen(kw_only=True)
class DurationRange:
    """A duration that is drawn anew each time, evenly between two bounds in seconds; or always the same.

    `DurationRange.parse("1s..5s")` is how long a pull may take; `DurationRange.fixed(0.5)` leaves nothing to draw.
    """

    low: float
    high: float

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise DurationError(
                f"the range {self} is empty or negative: allowed is 0 <= low <= high"
            )

    @classmethod
    def fixed(cls, seconds: float) -> Self:
        """The range of one duration."""
        return cls(low=seconds, high=seconds)

    @classmethod
    def parse(cls, text: str) -> Self:
        """`1s..5s`, or one duration for a fixed one.

        Raises:
            DurationError: a bound is no duration, or the low one is above the high one.
        """
        low, dots, high = text.partition("..")
        start = parse_duration(low)
        return cls(low=start, high=parse_duration(high) if dots else start)

    def __str__(self) -> str:
        low, high = format_duration(self.low), format_duration(self.high)
        return low if low == high else f"{low}..{high}"


NO_TIME: Final = DurationRange.fixed(0.0)
"""Takes no time, and draws nothing."""
