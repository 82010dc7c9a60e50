"""What a benchmark is, what it is given and what it answers."""

from __future__ import annotations

import contextlib
import cProfile
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

Value: TypeAlias = str | int | float | bool
Case: TypeAlias = Mapping[str, Value]
"""The settings of one run of a benchmark, for example `{"nodes": 100, "pods": 3000}`."""
Figures: TypeAlias = dict[str, float | int | str]
"""What was measured, by names that end in their unit."""
Results: TypeAlias = Sequence[tuple[Case, Figures]]
"""Each case with its figures."""


@attrs.define(eq=False)
class Meter:
    """Measures the part of a benchmark that counts, and says how far it is.

    with meter.measured():
        ...
    meter.wall_seconds, meter.cpu_seconds
    """

    tell: Callable[[float, str], None] = lambda _share, _what: None
    """Told the share that is done (0 to 1), and of what."""
    profile: cProfile.Profile | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Add the block to what is measured; the profile sees these blocks alone."""
        wall, cpu = time.perf_counter(), time.process_time()
        if self.profile is not None:
            self.profile.enable()
        try:
            yield
        finally:
            if self.profile is not None:
                self.profile.disable()
            self.wall_seconds += time.perf_counter() - wall
            self.cpu_seconds += time.process_time() - cpu

    def times(self) -> Figures:
        """`wall_s` and `cpu_s`."""
        return {"wall_s": round(self.wall_seconds, 4), "cpu_s": round(self.cpu_seconds, 4)}


@attrs.frozen(kw_only=True)
class Benchmark:
    """One benchmark: `cases` by size; `measure` runs one case; `summary` adds figures that need all of them."""

    name: str
    about: str
    cases: Mapping[str, Sequence[Case]]
    """By size: "tiny" for the tests, "small" for a look of a minute, "full" for the README."""
    measure: Callable[[Case, Meter], Figures]
    summary: Callable[[Results], None] | None = None
    """Adds to the figures what follows from all cases together."""
    curve: tuple[str, tuple[str, ...]] | None = None
    """What `--plot` draws: the setting along the axis, and the figures above it."""


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """The collector off, as it is in a simulation."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def number(case: Case, name: str) -> int:
    """A setting that is a whole number."""
    return int(case[name])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
