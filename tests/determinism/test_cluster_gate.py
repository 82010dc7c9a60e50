"""The gate for whole clusters: same seed, same digest, wherever it runs; another seed, another run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from engine.sim.repeat import Verdict, repeat

PROGRAM: Final = f"{Path(__file__).parent / 'cluster_programs.py'}:node_failure"


@pytest.fixture(scope="module")
def processes() -> Verdict:
    """Seed 7 in three fresh processes, with random PYTHONHASHSEED and disturbed heaps."""
    return repeat([PROGRAM], seed=7, processes=3, runs_per_process=1)[0]


@pytest.fixture(scope="module")
def turns() -> Verdict:
    """Seed 8 twice in one process."""
    return repeat([PROGRAM], seed=8, processes=1, runs_per_process=2)[0]


def test_the_node_failure_is_the_same_in_every_process(processes: Verdict) -> None:
    """Every event is equal: time, key, actor, reconcile, causes, and the object byte for byte."""
    assert processes.divergence is None, str(processes.divergence)
    assert len(processes.runs) == 3
    assert len(processes.runs[0].events) > 1000


def test_nothing_is_left_from_run_to_run(turns: Verdict) -> None:
    """A counter or cache of the process that reached an event would show."""
    assert turns.divergence is None, str(turns.divergence)
    assert len(turns.runs) == 2


def test_another_seed_is_another_run(processes: Verdict, turns: Verdict) -> None:
    """The seed decides the interleaving and every draw."""
    seven, eight = (verdict.runs[0].events[-1] for verdict in (processes, turns))

    assert seven.startswith("digest ")
    assert eight.startswith("digest ")
    assert seven != eight
