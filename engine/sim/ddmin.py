"""Delta debugging: the smallest part of a list that still makes a run fail.

Theory of operation. Chunks are taken away, half the list first, then ever smaller ones, and each time what is left still fails they stay away
(the complements of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", TSE 2002). The chunks at the end go first:
what comes late in a schedule or a fault plan is often past the failure, and what comes before keeps its meaning without it.
When a pass over single items takes none away, the rest is 1-minimal: without any one of its items the run passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def minimise(
    items: Sequence[T], still_fails: Callable[[Sequence[T]], bool], budget: int
) -> list[T]:
    """The fewest of the items, in their order, found to fail with at most `budget` calls of `still_fails`.

    That all of them fail is taken for granted and not asked; that none of them is needed is asked first. 1-minimal when the
    budget suffices: some 2 k log2(n) calls for k needed items among n, and k**2 at worst once only few are left.
    """
    left = budget
    current = list(items)
    if not current or left < 1:
        return current
    left -= 1
    if still_fails([]):
        return []
    chunk = max(1, (len(current) + 1) // 2)
    while len(current) > 1:
        before = len(current)
        stop = before
        while stop > 0:
            start = max(0, stop - chunk)
            candidate = current[:start] + current[stop:]
            if candidate:  # that nothing at all passes is known
                if left < 1:
                    return current
                left -= 1
                if still_fails(candidate):
                    current = candidate
            stop = start
        if chunk == 1 and len(current) == before:
            return current
        chunk = max(1, min(chunk, len(current)) // 2)
    return current
