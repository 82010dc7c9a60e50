"""The clock and the spelling of durations."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engine.sim import (
    EPOCH_US,
    Clock,
    DurationError,
    DurationRange,
    Simulation,
    format_duration,
    parse_duration,
    run,
)


def test_virtual_time_starts_at_zero_and_at_the_epoch() -> None:
    async def main(simulation: Simulation) -> None:
        clock = simulation.clock
        assert (clock.now_ns(), clock.now_us(), clock.now(), clock.unix_us()) == (
            0,
            0,
            0.0,
            EPOCH_US,
        )
        await trio.sleep(90)
        assert clock.now_ns() == 90 * 10**9
        assert clock.now() == 90.0
        assert clock.unix_us() == EPOCH_US + 90 * 10**6

    run(main, seed=1)

    assert datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 10**6 == EPOCH_US


async def test_wall_time_is_the_systems_at_the_start() -> None:
    """And goes on with trio's clock from there."""
    before = time.time_ns() // 1000
    clock = Clock.wall()
    first = clock.unix_us()
    second = clock.unix_us()
    after = time.time_ns() // 1000

    assert before <= clock.epoch_us <= after
    assert clock.epoch_us <= first <= second


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("0", 0),
        ("0s", 0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("1m0.1s", 60.1),
    ],
)
def test_durations_are_read_exactly(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "-5s", "5 s", "s", "5d", "1h 30m", "1.s", "5S", "0.1us", "\u0665s"]
)
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(
        DurationError, match=r"is no duration: allowed are|is finer than a microsecond"
    ):
        parse_duration(text)


@given(st.integers(0, 10**15))
def test_durations_survive_being_written(micros: int) -> None:
    assert parse_duration(format_duration(micros / 10**6)) == micros / 10**6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5400, "1h30m"), (0.5, "500ms"), (0, "0s"), (-2, "-2s"), (61.25, "1m1s250ms")],
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_ranges_are_read_and_written() -> None:
    assert DurationRange.parse("1s..5s") == DurationRange(low=1.0, high=5.0)
    assert DurationRange.parse("30s") == DurationRange.fixed(30.0)
    assert [str(DurationRange.parse(text)) for text in ("500ms..2s", "30s")] == ["500ms..2s", "30s"]


@pytest.mark.parametrize("text", ["5s..1s", "1s..", "..5s", "1s...5s", "a..b"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(DurationError):
        DurationRange.parse(text)
