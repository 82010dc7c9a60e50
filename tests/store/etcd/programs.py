"""Random operations on a pair: drawn from a `random.Random`, which Hypothesis can play as well, and shrink."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from store.records import (
    Compare,
    CompareOp,
    Delete,
    EventType,
    Get,
    Op,
    Put,
    SortTarget,
    Target,
    Txn,
)
from tests.store.etcd.pair import KEYS, Pair

ENDS: Final = (None, None, None, "\0", "a0", "b", "c", "d", "", "a/1")
VALUES: Final = ("", "x", "y", "yy", "z")
LEASES: Final = (0, 0, 0, 0, 1, 2, 3, 4)
"""Lease 4 is never granted."""
GRANTED_SECONDS: Final = 5_000
DEEPEST: Final = 3
"""Transactions stand in transactions so deep."""


def key(rnd: Random) -> str:
    """A key, rarely none at all."""
    return "" if rnd.random() < 0.005 else rnd.choice(KEYS)


def any_revision(rnd: Random, pair: Pair) -> int:
    """A revision: mostly one that can be read, or 0; sometimes compacted or in the future."""
    kind = rnd.randrange(12)
    if kind < 6:
        return 0
    if kind < 10:
        return rnd.randint(max(1, pair.core.compacted), pair.head)
    if kind == 10:
        return rnd.randint(0, pair.head + 2)
    return rnd.randint(max(1, pair.core.compacted - 2), pair.core.compacted + 1)


def get(rnd: Random, pair: Pair) -> Get:
    """A read with some of the options."""
    if rnd.random() < 0.4:
        return Get(key(rnd), revision=any_revision(rnd, pair))
    bounds = [rnd.randint(0, pair.head + 1) if rnd.random() < 0.15 else 0 for _ in range(4)]
    start, end = (("\0", "\0"), (key(rnd), rnd.choice(ENDS)))[rnd.random() < 0.6]
    return Get(
        start,
        end,
        revision=any_revision(rnd, pair),
        limit=rnd.choice((0, 0, 0, 1, 2, 3)),
        keys_only=rnd.random() < 0.2,
        count_only=rnd.random() < 0.2,
        sort_by=rnd.choice(list(SortTarget)),
        descending=rnd.random() < 0.4,
        min_mod_revision=bounds[0],
        max_mod_revision=bounds[1],
        min_create_revision=bounds[2],
        max_create_revision=bounds[3],
    )


def put(rnd: Random) -> Put:
    """A put with some of the options; sometimes with two that contradict each other."""
    ignore_value = rnd.random() < 0.12
    ignore_lease = rnd.random() < 0.12
    contradicts = rnd.random() < 0.05
    return Put(
        key(rnd),
        (rnd.choice(VALUES[1:]) if contradicts else None) if ignore_value else rnd.choice(VALUES),
        lease=0 if ignore_lease and not contradicts else rnd.choice(LEASES),
        prev_kv=rnd.random() < 0.4,
        ignore_value=ignore_value,
        ignore_lease=ignore_lease,
    )


def delete(rnd: Random) -> Delete:
    """A delete, mostly of little."""
    if rnd.random() < 0.03:
        return Delete("\0", "\0", prev_kv=True)
    end = rnd.choice(ENDS) if rnd.random() < 0.3 else None
    return Delete(key(rnd), end, prev_kv=rnd.random() < 0.5)


def compare(rnd: Random, pair: Pair) -> Compare:
    """A condition, with an operand that is often near the truth."""
    target = rnd.choice(list(Target))
    operand: object
    if target is Target.VALUE:
        operand = rnd.choice(VALUES)
    elif target in (Target.CREATE, Target.MOD):
        operand = rnd.choice((0, 1, pair.head, rnd.randint(-1, pair.head + 1)))
    else:
        operand = rnd.randint(-1, 4)
    operators: tuple[CompareOp, ...] = ("=", "!=", "<", ">")
    end = rnd.choice(ENDS) if rnd.random() < 0.3 else None
    return Compare(key(rnd), target, rnd.choice(operators), operand, range_end=end)


def txn(rnd: Random, pair: Pair, depth: int = 1) -> Txn:
    """A transaction, nested now and then."""
    return Txn(
        tuple(compare(rnd, pair) for _ in range(rnd.choice((0, 1, 1, 2)))),
        tuple(operation(rnd, pair, depth) for _ in range(rnd.choice((0, 1, 2, 3)))),
        tuple(operation(rnd, pair, depth) for _ in range(rnd.choice((0, 0, 1, 2)))),
    )


def operation(rnd: Random, pair: Pair, depth: int) -> Op:
    """One operation of a transaction."""
    kind = rnd.random()
    if kind < 0.15 and depth < DEEPEST:
        return txn(rnd, pair, depth + 1)
    if kind < 0.6:
        return put(rnd)
    if kind < 0.75:
        return delete(rnd)
    return get(rnd, pair)


# -- steps: each does one thing to both ---------------------------------------------------------------


def step_txn(rnd: Random, pair: Pair) -> None:
    pair.txn(txn(rnd, pair))


def step_alone(rnd: Random, pair: Pair) -> None:
    pair.alone(put(rnd) if rnd.random() < 0.75 else delete(rnd))


def step_range(rnd: Random, pair: Pair) -> None:
    pair.range(get(rnd, pair))


def step_compact(rnd: Random, pair: Pair) -> None:
    """Mostly near the head, sometimes where it was done already, or ahead."""
    if rnd.random() < 0.2:
        revision = rnd.randint(1, pair.head + 2)
    else:
        revision = max(pair.core.compacted, pair.head - rnd.randint(0, 8))
    pair.compact(revision, physical=rnd.random() < 0.5)


def step_lease(rnd: Random, pair: Pair) -> None:
    """One of all that can be done with leases."""
    lease = rnd.randint(1, 3)
    kind = rnd.randrange(8)
    if kind < 3:
        pair.grant(10**10 if rnd.random() < 0.05 else GRANTED_SECONDS + lease, lease)
    elif kind == 3:
        pair.revoke(rnd.randint(1, 4))
    elif kind == 4:
        pair.keep_alive(rnd.randint(1, 4))
    elif kind == 5:
        pair.list_leases()
    elif kind == 6:
        pair.grant_any(rnd.choice((1, 2, 60)))
    else:
        pair.time_to_live(rnd.randint(1, 4))


def step_watch(rnd: Random, pair: Pair, at_most: int = 6) -> None:
    """Open a watch; of too many the oldest is closed first."""
    if len(pair.watches) >= at_most:
        pair.settle(pair.watches[0])
        if len(pair.watches) >= at_most:
            pair.cancel(pair.watches[0])
    start = rnd.choice((0, pair.head + 1, pair.head + rnd.randint(0, 3), rnd.randint(1, pair.head)))
    begin, end = (("\0", "\0"), (rnd.choice(KEYS), rnd.choice(ENDS)))[rnd.random() < 0.7]
    without = tuple(each for each in EventType if rnd.random() < 0.15)
    pair.watch(
        begin,
        end,
        start,
        prev_kv=rnd.random() < 0.5,
        without=without,
        progress=rnd.random() < 0.3,
    )


def step_look(rnd: Random, pair: Pair) -> None:
    """Compare a watch now, or cut it and resume it."""
    if pair.watches:
        watch = rnd.choice(pair.watches)
        if rnd.random() < 0.5:
            pair.check(watch)
        else:
            pair.resume(watch)


STEPS: Final[tuple[tuple[Callable[[Random, Pair], None], int], ...]] = (
    (step_txn, 40),
    (step_alone, 20),
    (step_range, 20),
    (step_lease, 10),
    (step_compact, 2),
    (step_watch, 3),
    (step_look, 3),
)
"""What a program is made of, and how often."""


def step(rnd: Random, pair: Pair) -> None:
    """Any of the steps."""
    functions = [function for function, _ in STEPS]
    (chosen,) = rnd.choices(functions, [weight for _, weight in STEPS])
    chosen(rnd, pair)
