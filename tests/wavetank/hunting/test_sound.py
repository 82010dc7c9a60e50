"""The sound cluster, hunted with every fault that there is: no alarm. 10,000 seeds were run by hand (docs/chaos.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wavetank.hunting.hunted import write_shop
from wavetank.experiment.load import load_experiment
from wavetank.faults.drawing import types_of
from wavetank.hunting.campaign import Hunt, run_seeds

SEEDS = 100


@pytest.mark.parametrize("start", range(0, SEEDS, 20))
def test_no_seed_finds_anything(start: int, tmp_path: Path) -> None:
    """Whatever was struck, no invariant was broken, nothing of a fault was left, and the cluster came to rest."""
    types = tuple(kind.name for kind in types_of([]))
    hunt = Hunt.of(load_experiment(write_shop(tmp_path)), faults=types)
    outcomes = run_seeds(hunt, range(start, start + 20))
    assert {each.trial.seed: each.findings for each in outcomes if not each.passed} == {}
