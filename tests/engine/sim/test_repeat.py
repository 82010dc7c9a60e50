"""The gate: equal runs pass, and each of twelve planted leaks is caught and named with the first event that differs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.sim.repeat import Divergence, RepeatError, Run, Verdict, compare, load, repeat

PROGRAMS = Path(__file__).with_name("programs.py")

LEAKS = (
    "wall_time",
    "uuid4",
    "urandom",
    "set_of_strings",
    "set_of_identities",
    "hash_of_none",
    "abort_order",
    "abandoned_generator",
    "thread",
    "process_counter",
    "set_in_encoding",
    "repr_with_address",
)
CLEAN = ("schedule", "collected_generator")


def program(name: str) -> str:
    return f"{PROGRAMS}:{name}"


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    names = (*CLEAN, "unseeded", *LEAKS)
    found = repeat([program(name) for name in names], seed=7, processes=4)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("name", CLEAN)
def test_a_run_has_the_same_events_in_every_process(
    verdicts: dict[str, Verdict], name: str
) -> None:
    """Three ways of waking 300 tasks at once, and an async generator abandoned in a cycle: under `run` they leak nothing."""
    verdict = verdicts[name]

    assert verdict.divergence is None, verdict.divergence
    assert len(verdict.runs) == 8


def test_stock_trio_has_not(verdicts: dict[str, Verdict]) -> None:
    """The same 300 tasks without our scheduling differ: the gate sees schedules, and the test above is no accident."""
    assert verdicts["unseeded"].divergence is not None


@pytest.mark.parametrize("name", LEAKS)
def test_each_leak_is_named_with_its_first_differing_event(
    verdicts: dict[str, Verdict], name: str
) -> None:
    """The two harmless events before it agree, and the event at which the runs part is the leak's own."""
    divergence = verdicts[name].divergence

    if name == "hash_of_none" and sys.version_info >= (3, 12):
        assert divergence is None  # its hash is a constant there
        return
    assert divergence is not None
    assert divergence.index >= 2
    assert f"{divergence.expected}".startswith(f"{name} ")
    assert f"{divergence.expected}" in str(divergence)
    assert f"{divergence.found}" in str(divergence)


def test_a_counter_that_outlives_a_run_shows_within_one_process(
    verdicts: dict[str, Verdict],
) -> None:
    """Fresh processes all count from 0, so only the second run in one of them can tell."""
    runs = verdicts["process_counter"].runs
    firsts = [run for run in runs if run.label.endswith("run 1")]

    assert compare(firsts) is None
    assert compare(runs) is not None


def test_the_earliest_divergence_is_reported() -> None:
    """Not that of the first run that differs: the earlier event is nearer to the cause."""
    runs = [
        Run(label="a", events=["1", "2", "3"]),
        Run(label="b", events=["1", "2"]),
        Run(label="c", events=["1", "x", "3"]),
    ]

    assert compare(runs) == Divergence(
        index=1, expected="2", found="x", expected_in="a", found_in="c"
    )


def test_a_run_that_ends_early_differs_where_it_ends() -> None:
    divergence = compare([Run(label="a", events=["1", "2"]), Run(label="b", events=["1"])])

    assert divergence is not None
    assert (divergence.index, divergence.expected, divergence.found) == (1, "2", None)
    assert "(no more events)  in b" in str(divergence)


def test_a_program_that_raises_is_reported_with_its_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def program(seed):\n    raise ValueError(f'broken by seed {seed}')\n")

    with pytest.raises(RepeatError, match="ValueError: broken by seed 7"):
        repeat([f"{broken}:program"], seed=7, processes=1)


@pytest.mark.parametrize("name", ["no_such_module:f", "engine.sim:f", "nowhere.py:f", "engine"])
def test_a_program_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(RepeatError, match=name):
        load(name)
