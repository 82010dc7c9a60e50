"""Lists worked on as a whole: a few hundred nodes at a time, without a Python step for each.

Positions are indexes in the cache's node order, as a `range` when they are contiguous. `map` over a bound `__getitem__` and
`compress` run in C: for the sizes met here (100 to 500 nodes of a few distinct values) that is as fast as NumPy, with none
of its conversions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress, islice, repeat
from typing import TypeVar, cast

T = TypeVar("T")
K = TypeVar("K")


def take(values: list[T], positions: Sequence[int]) -> list[T]:
    """The values at the positions."""
    if isinstance(positions, range):
        return values[positions.start : positions.stop]
    return list(map(values.__getitem__, positions))


def look_up(table: Mapping[K, T], keys: Iterable[K]) -> list[T]:
    """The table's value for each key; all keys must be in it."""
    return list(map(table.__getitem__, keys))


def keep_at(positions: Sequence[int], column: list[K], among: Mapping[T, object]) -> list[int]:
    """The positions whose entry in `column` is a key of `among`."""
    return list(compress(positions, map(among.__contains__, column)))


def keep_off(positions: Sequence[int], column: list[K], among: Mapping[T, object]) -> Sequence[int]:
    """The positions whose entry in `column` is no key of `among`."""
    return list(compress(positions, map(operator.not_, map(among.__contains__, column))))


def keep_up_to(
    positions: Sequence[int], column: list[str | None], counts: Mapping[str, int], limit: int
) -> Sequence[int]:
    """The positions whose entry has a count of at most `limit`; an entry of None has none and is left out."""
    if None in column:
        kept = [p for p, value in zip(positions, column, strict=True) if value is not None]
        return keep_up_to(kept, [value for value in column if value is not None], counts, limit)
    get = cast("Callable[[str | None, int], int]", counts.get)
    return list(compress(positions, map(limit.__ge__, map(get, column, repeat(0)))))


def plus(a: Iterable[int], b: Iterable[int]) -> list[int]:
    """Sum by sum."""
    return list(map(operator.add, a, b))


def nth_of(positions: Sequence[int], totals: list[int], best: int, n: int) -> int:
    """The n-th position (from 0) whose total is `best`."""
    return next(islice(compress(positions, map(best.__eq__, totals)), n, None))
