"""`minimise`: what is left still fails, and fails no more without any one item."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sim import minimise


def counted(
    still_fails: Callable[[Sequence[int]], bool],
) -> tuple[Callable[[Sequence[int]], bool], list[Sequence[int]]]:
    calls: list[Sequence[int]] = []

    def asked(items: Sequence[int]) -> bool:
        calls.append(items)
        return still_fails(items)

    return asked, calls


def contains(needed: Sequence[int]) -> Callable[[Sequence[int]], bool]:
    return lambda items: all(each in items for each in needed)


@pytest.mark.parametrize("needed", [[0], [4999], [17, 3000], [1, 2, 3], [0, 2500, 4999]])
def test_the_needed_items_of_5000_are_found_in_few_calls(needed: list[int]) -> None:
    """Each of k needed items costs some 2 log2(n) calls."""
    asked, calls = counted(contains(needed))

    assert needed == minimise(range(5000), asked, 10_000)
    assert len(calls) <= 40 * len(needed)


@given(
    size=st.integers(1, 60),
    groups=st.lists(st.lists(st.integers(0, 59), min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_the_result_is_1_minimal(size: int, groups: list[list[int]]) -> None:
    """Whatever makes it fail (here any one of several groups), no item can be spared, and the order is kept."""

    def fails(items: Sequence[int]) -> bool:
        return len(items) == size or any(
            all(each % size in items for each in group) for group in groups
        )

    found = minimise(range(size), fails, 10_000)

    assert fails(found)
    assert found == sorted(found)
    assert not [each for each in found if fails([other for other in found if other != each])]


@given(odd=st.integers(0, 2**40 - 1))
def test_a_failure_that_knows_no_reason_ends_1_minimal_too(odd: int) -> None:
    """Not monotone: whether so many items fail is drawn, as when a changed schedule leads elsewhere."""

    def fails(items: Sequence[int]) -> bool:
        return len(items) == 40 or bool(odd >> sum(items) % 40 & 1)

    found = minimise(range(40), fails, 100_000)

    assert fails(found)
    assert not [each for each in found if fails([other for other in found if other != each])]


@pytest.mark.parametrize("budget", [0, 1, 2, 7, 20])
def test_the_budget_is_kept(budget: int) -> None:
    """No call more, and what is returned fails."""
    asked, calls = counted(contains([3, 77]))

    found = minimise(range(100), asked, budget)

    assert len(calls) <= budget
    assert contains([3, 77])(found)


def test_nothing_is_needed_when_nothing_fails_too() -> None:
    """The empty list is asked first."""
    asked, calls = counted(lambda _: True)

    assert [] == minimise(range(100), asked, 10)
    assert [[]] == calls


def test_no_items_need_no_call() -> None:
    """Nothing can be taken from nothing."""
    asked, calls = counted(lambda _: True)

    assert [] == minimise([], asked, 10)
    assert [] == calls
