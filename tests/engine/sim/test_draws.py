"""Draws: a function of seed, label and n, the same on every version and machine, and evenly spread."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sim import SUFFIX_ALPHABET, Draws, DurationRange

DRAWS = Draws(7)


def test_values_are_constants() -> None:
    """Recorded on CPython 3.11, x86-64: a change here renames every object of every recorded run."""
    assert {
        "bits": DRAWS.bits("label", 0),
        "uniform": DRAWS.uniform("label", 1, 2.0, 5.0),
        "integer": [DRAWS.integer("label", n, 10) for n in range(10)],
        "shuffled": DRAWS.shuffled("label", 0, "abcdefghij"),
        "exponential": DRAWS.exponential("label", 0, 10.0),
        "duration": DRAWS.duration("label", 0, DurationRange.parse("1s..5s")),
        "uid": DRAWS.uid("apps/replicasets", "owner", 3),
        "suffix": DRAWS.suffix("owner", 3),
        "hash": DRAWS.suffix("owner", length=10),
    } == {
        "bits": 11934323100853361515,
        "uniform": 4.661140778262453,
        "integer": [6, 8, 8, 6, 6, 1, 2, 1, 2, 9],
        "shuffled": ["h", "g", "j", "a", "b", "d", "c", "e", "f", "i"],
        "exponential": 21.42649204666573,
        "duration": 3.587844,
        "uid": "af5989f3-a764-41dc-97e0-9bb935518a64",
        "suffix": "2w822",
        "hash": "kkr859wlvb",
    }


@given(st.integers(), st.text(), st.integers(0, 10**6), st.integers(1, 2**32))
def test_a_draw_depends_on_seed_label_and_n_alone(
    seed: int, label: str, n: int, bound: int
) -> None:
    """Not on what was drawn before; and it keeps to its bounds."""
    fresh, used = Draws(seed), Draws(seed)
    used.shuffled(label, n, range(10))
    used.uid(label)

    assert fresh.bits(label, n) == used.bits(label, n)
    assert 0 <= fresh.integer(label, n, bound) < bound
    assert 0 <= fresh.uniform(label, n) < 1
    assert fresh.exponential(label, n, 1.0) >= 0


def test_seeds_labels_numbers_and_kinds_are_apart() -> None:
    """No two of these share a value: also a uid whose path spells a label."""
    values = [
        *(Draws(seed).bits("a", 0) for seed in (-1, 0, 1, 2**64, 2**64 + 1)),
        DRAWS.bits("a", 1),
        DRAWS.bits("a", 11),
        DRAWS.bits("a1", 1),
        DRAWS.bits("b", 0),
        DRAWS.uid("a", 0),
        DRAWS.uid("a"),
        DRAWS.uid("a", 0, 0),
    ]

    assert len(set(values)) == len(values)


def test_draws_are_evenly_spread() -> None:
    """Ten thousand of each; the bounds are five standard deviations of an honest generator away."""
    n = 10_000
    dice = [DRAWS.integer("die", i, 6) for i in range(n)]
    assert all(abs(dice.count(face) - n / 6) < 5 * (n * 5 / 36) ** 0.5 for face in range(6))

    assert (
        abs(sum(DRAWS.chance("coin", i, 0.3) for i in range(n)) - 0.3 * n) < 5 * (0.21 * n) ** 0.5
    )
    assert abs(sum(DRAWS.uniform("mean", i) for i in range(n)) / n - 0.5) < 5 * (1 / 12 / n) ** 0.5

    times = [DRAWS.exponential("gap", i, 2.0) for i in range(n)]
    assert abs(sum(times) / n - 2.0) < 5 * 2.0 / n**0.5
    for after, share in ((1.0, 0.606531), (2.0, 0.367879), (6.0, 0.049787)):  # exp(-after / 2)
        spread = (share * (1 - share) / n) ** 0.5
        assert abs(sum(time > after for time in times) / n - share) < 5 * spread


def test_every_order_comes_out_of_a_shuffle() -> None:
    orders = [tuple(DRAWS.shuffled("order", n, "abc")) for n in range(600)]

    assert len(set(orders)) == 6
    assert all(60 < orders.count(order) < 140 for order in set(orders))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_never_and_always_are_exact(probability: float) -> None:
    assert all(DRAWS.chance("x", n, probability) == bool(probability) for n in range(1000))


def test_a_choice_is_one_of_the_options() -> None:
    options = ["a", "b", "c"]

    assert {DRAWS.choice("x", n, options) for n in range(100)} == set(options)
    with pytest.raises(ValueError, match="draw 'x': bound is 0, allowed are 1 to"):
        DRAWS.choice("x", 0, [])


def test_a_fixed_duration_is_itself() -> None:
    assert DRAWS.duration("x", 0, DurationRange.fixed(0.1)) == 0.1


@given(st.lists(st.one_of(st.text(), st.integers())))
def test_uids_are_shaped_like_version_4(path: list[str | int]) -> None:
    uid = uuid.UUID(DRAWS.uid(*path))

    assert (uid.version, uid.variant) == (4, uuid.RFC_4122)
    assert str(uid) == DRAWS.uid(*path)


def test_suffixes_have_kubernetes_letters() -> None:
    """And any two of a thousand siblings differ in ten letters, as ReplicaSet hashes must."""
    names = [DRAWS.suffix("owner", n, length=10) for n in range(1000)]

    assert all(re.fullmatch(f"[{SUFFIX_ALPHABET}]{{10}}", name) for name in names)
    assert len(set(names)) == 1000
    assert set("".join(names)) == set(SUFFIX_ALPHABET)
    with pytest.raises(ValueError, match="suffix of 0 letters"):
        DRAWS.suffix("owner", length=0)
