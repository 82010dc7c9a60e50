"""PCT keeps what its paper promises: a calibrated suite of races of depth 1 to 4 is hit at least as often as the bound says.

All seeds are given: the rates are constants, and nothing here can fail by chance.
"""

from __future__ import annotations

import pytest

from engine.sim import PctSchedule
from tests.engine.sim.races import CALIBRATED, Calibrated

SEEDS = {1: 300, 2: 1000, 3: 2000, 4: 2000}
"""Runs for each depth: enough for the bound to promise a hit, but at depth 4 (0.07 of one, and there is one)."""


def estimate(race: Calibrated) -> int:
    """Steps of the program: the most decisions that a probe run made."""
    return max(race.recorded(PctSchedule(depth=1), seed).decisions for seed in range(20))


def hits(race: Calibrated, schedule: PctSchedule, seeds: int) -> int:
    return sum(race.fails(schedule, seed) for seed in range(seeds))


@pytest.mark.parametrize("race", CALIBRATED, ids=lambda race: race.name)
def test_a_race_is_hit_as_often_as_the_bound_promises(race: Calibrated) -> None:
    """At least 1 of n * k**(d - 1) seeds, with n tasks, k decisions and depth d."""
    seeds, steps = SEEDS[race.depth], estimate(race)
    bound = 1 / (race.tasks() * steps ** (race.depth - 1))

    assert hits(race, PctSchedule(depth=race.depth, steps=steps), seeds) / seeds >= bound


@pytest.mark.parametrize(
    "race", [each for each in CALIBRATED if each.depth > 1], ids=lambda race: race.name
)
def test_a_race_needs_its_depth(race: Calibrated) -> None:
    """With one change of priority fewer no seed hits it: the suite is calibrated, and priorities really hold."""
    steps = estimate(race)

    assert 0 == hits(race, PctSchedule(depth=race.depth - 1, steps=steps), 300)


@pytest.mark.parametrize(
    "race", [each for each in CALIBRATED if each.depth <= 2], ids=lambda race: race.name
)
def test_without_an_estimate_a_race_is_found_too(race: Calibrated) -> None:
    """Change points by powers of two cost a factor of 20 for each: at depth 2 the bound is 1 of n * 20 k seeds."""
    seeds = SEEDS[race.depth]
    bound = 1 / (race.tasks() * (20 * estimate(race)) ** (race.depth - 1))

    assert hits(race, PctSchedule(depth=race.depth), seeds) / seeds >= bound
