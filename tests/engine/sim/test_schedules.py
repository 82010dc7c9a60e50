"""Descriptions of schedules: written as text and JSON, and read back as the same value; bad ones say what is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sim import (
    CanonicalSchedule,
    DecisionRange,
    Deviation,
    KeyedSchedule,
    PctSchedule,
    PriorityRule,
    PrioritySchedule,
    RandomSchedule,
    Schedule,
    ScheduleError,
    TapeSchedule,
    parse_schedule,
    schedule_from_json,
)

SEEDS = st.none() | st.integers(-(2**64), 2**64)
DECISIONS = st.integers(0, 2**53 - 10)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[DecisionRange, ...]:
    bounds = sorted(draw(st.sets(DECISIONS, max_size=8)))
    pairs = [DecisionRange(*pair) for pair in zip(bounds[0::2], bounds[1::2], strict=False)]
    if len(bounds) % 2:
        pairs.append(DecisionRange(bounds[-1]))
    return tuple(pairs)


@st.composite
def tapes(draw: st.DrawFn) -> TapeSchedule:
    stepwise = draw(st.booleans())
    order = st.lists(
        st.integers(0, 500), min_size=1, max_size=1 if stepwise else 6, unique=True
    ).map(tuple)
    decisions = sorted(draw(st.sets(DECISIONS, max_size=8)))
    return TapeSchedule(
        deviations=tuple(Deviation(each, draw(order)) for each in decisions), stepwise=stepwise
    )


@st.composite
def priorities(draw: st.DrawFn) -> PrioritySchedule:
    places = sorted(draw(st.sets(st.tuples(DECISIONS, DECISIONS), max_size=8)))
    priority = st.integers(-(2**53), 2**53)
    return PrioritySchedule(rules=tuple(PriorityRule(*each, draw(priority)) for each in places))


SCHEDULES = st.one_of(
    st.just(CanonicalSchedule()),
    st.builds(RandomSchedule, seed=SEEDS),
    st.builds(
        PctSchedule,
        depth=st.integers(1, 100),
        seed=SEEDS,
        steps=st.none() | st.integers(1, 2**32),
    ),
    st.builds(KeyedSchedule, seed=SEEDS, ranges=ranges()),
    priorities(),
    tapes(),
)


@given(schedule=SCHEDULES)
def test_json_is_read_back_as_the_same_schedule(schedule: Schedule) -> None:
    """Through a JSON text, as a file would hold it."""
    assert schedule == schedule_from_json(json.loads(json.dumps(schedule.to_json())))


@given(schedule=SCHEDULES)
def test_text_is_read_back_as_the_same_schedule(schedule: Schedule) -> None:
    """`str` and `parse_schedule` are each other's inverse."""
    assert schedule == parse_schedule(str(schedule))


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("random", RandomSchedule()),
        ("random:-7", RandomSchedule(seed=-7)),
        ("canonical", CanonicalSchedule()),
        ("pct:3", PctSchedule(depth=3)),
        ("pct:3:9", PctSchedule(depth=3, seed=9)),
        ("pct:3/20000", PctSchedule(depth=3, steps=20_000)),
        ("pct:3/20000:9", PctSchedule(depth=3, steps=20_000, seed=9)),
        (
            "priorities:5@12=-2,61=1",
            PrioritySchedule(rules=(PriorityRule(5, 12, -2), PriorityRule(61, 0, 1))),
        ),
        ("keyed", KeyedSchedule()),
        ("keyed:9", KeyedSchedule(seed=9)),
        ("keyed::3..8", KeyedSchedule(ranges=(DecisionRange(3, 8),))),
        (
            "keyed:9:3..8,12,100..",
            KeyedSchedule(
                seed=9, ranges=(DecisionRange(3, 8), DecisionRange(12, 13), DecisionRange(100))
            ),
        ),
        ("keyed:9:", KeyedSchedule(seed=9, ranges=())),
        ("tape:", TapeSchedule()),
        (
            "tape:12=1,40=2.0",
            TapeSchedule(deviations=(Deviation(12, (1,)), Deviation(40, (2, 0)))),
        ),
        ("step-tape:12=1", TapeSchedule(deviations=(Deviation(12, (1,)),), stepwise=True)),
    ],
)
def test_each_form_of_text(text: str, schedule: Schedule) -> None:
    """The forms that people write, and the one that is written back."""
    assert schedule == parse_schedule(text)
    assert text == str(schedule)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "",
            "unknown kind '', expected is canonical, keyed, pct, priorities, random, step-tape, tape",
        ),
        ("dfs:3", "unknown kind 'dfs'"),
        ("random:", "seed is '', expected is an integer"),
        ("random:x", "seed is 'x', expected is an integer"),
        ("random:٣", "expected is an integer"),
        ("random:1_0", "expected is an integer"),
        ("random:99999999999999999999", "seed is 99999999999999999999, expected is an integer"),
        ("random:" + "9" * 5000, "expected is an integer"),
        ("canonical:1", "canonical takes nothing"),
        ("pct", "the depth is missing"),
        ("pct:0", "depth is 0, expected is an integer from 1 to 100"),
        ("pct:x", "depth is 'x'"),
        ("pct:3/0", "steps is 0"),
        ("pct:3/", "steps is ''"),
        ("pct:3:", "seed is ''"),
        ("pct:3:1:2", "seed is '1:2'"),
        ("priorities:5", "'5' is no rule, expected is TASK=PRIORITY"),
        ("priorities:5@=1", "step is ''"),
        ("priorities:5@-1=1", "step is -1"),
        ("priorities:5=1,5=2", "rule 5=2 comes after rule 5=1: they ascend"),
        ("keyed:", "seed is ''"),
        ("keyed:1:5..5", "stop is 5, expected is an integer from 6"),
        ("keyed:1:3..8,5", "ranges 3..8 and 5: each starts where the one before has stopped"),
        ("keyed:1:3..,9", "ranges 3.. and 9"),
        ("keyed:1:a..b", "range is 'a'"),
        ("keyed:1:-3..4", "start is -3"),
        ("tape:12", "'12' is no deviation, expected is DECISION=INDEX"),
        ("tape:12=", "index is ''"),
        ("tape:12=1.1", "decision 12: an index is named twice"),
        ("tape:12=-1", "decision 12: index is -1"),
        ("tape:12=1,12=2", "decision 12 comes after decision 12: they ascend"),
        ("tape:12=1,", "'' is no deviation"),
        ("step-tape:1=2.3", "step 1=2.3: one task at a time runs, name one index"),
    ],
)
def test_a_text_that_is_no_schedule_says_why(text: str, complaint: str) -> None:
    """With the text, and what would be right; a long text is cut."""
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)

    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "a schedule is an object with a kind, and not None"),
        ([], "and not []"),
        (
            {},
            "schedule of unknown kind None, expected is canonical, keyed, pct, priorities, random, tape",
        ),
        ({"kind": ["pct"]}, "unknown kind ['pct']"),
        ({"kind": "random", "sed": 1}, "schedule of kind random: unknown fields sed"),
        ({"kind": "random", "seed": "1"}, "seed is '1', expected is an integer"),
        ({"kind": "random", "seed": True}, "seed is True"),
        ({"kind": "random", "seed": 1.0}, "seed is 1.0"),
        ({"kind": "pct"}, "schedule of kind pct: the depth is missing"),
        ({"kind": "pct", "depth": 101}, "depth is 101"),
        ({"kind": "keyed"}, "ranges is None, expected is a list"),
        ({"kind": "keyed", "ranges": [[1]]}, "[1] in ranges is no pair"),
        ({"kind": "keyed", "ranges": [[1, "2"]]}, "stop is '2'"),
        ({"kind": "keyed", "ranges": [[None, 2]]}, "start is None"),
        ({"kind": "priorities"}, "rules is None, expected is a list"),
        ({"kind": "priorities", "rules": [[1, 2]]}, "[1, 2] in rules is no list of task, step"),
        ({"kind": "tape", "deviations": {}}, "deviations is {}"),
        ({"kind": "tape", "deviations": [[1, 2]]}, "decision 1: 2 is no list"),
        ({"kind": "tape", "deviations": [[1, []]]}, "decision 1: no index is named"),
        ({"kind": "tape", "deviations": [], "stepwise": 1}, "stepwise is 1"),
    ],
)
def test_a_json_value_that_is_no_schedule_says_why(value: object, complaint: str) -> None:
    """Never a KeyError or a TypeError from deep inside."""
    with pytest.raises(ScheduleError) as caught:
        schedule_from_json(value)

    assert complaint in str(caught.value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(
    kind=st.sampled_from(["canonical", "keyed", "pct", "priorities", "random", "tape"]),
    fields=st.dictionaries(
        st.sampled_from(["depth", "deviations", "ranges", "rules", "seed", "steps", "stepwise"]),
        JSON_VALUES,
    ),
)
def test_any_json_object_is_a_schedule_or_a_schedule_error(
    kind: str, fields: dict[str, object]
) -> None:
    """And what is read is written as what was read."""
    try:
        schedule = schedule_from_json({"kind": kind, **fields})
    except ScheduleError:
        return

    assert schedule == schedule_from_json(schedule.to_json())
