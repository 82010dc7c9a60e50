"""Ranges of keys, and the index of watchers over them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import FROM_KEY, InvalidRequest, Limits, Origin, prefix_end
from store.history import History
from store.keys import KeyRange, SortedKeys
from store.watchers import Watcher, WatcherGroup, WatcherState

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
NEAR = st.text(st.sampled_from("ab\ud7ff\ue000\U0010ffff"), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("/registry/pods/", "/registry/pods0"),
        ("a", "b"),
        ("", FROM_KEY),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff", FROM_KEY),
    ],
)
def test_prefix_end(prefix: str, end: str) -> None:
    """The first text above all that begin with the prefix; surrogates, which are no text, are left out."""
    assert end == prefix_end(prefix)


@given(TEXT | NEAR, TEXT | NEAR)
def test_a_prefix_range_holds_what_begins_with_it(prefix: str, key: str) -> None:
    """Neither more nor less, and the order of keys is that of their UTF-8 bytes."""
    keys = KeyRange.of(prefix, prefix_end(prefix))

    assert (key in keys) is key.startswith(prefix)
    assert (prefix < key) is (prefix.encode() < key.encode())


@given(st.lists(TEXT, unique=True), TEXT, st.none() | TEXT, st.integers(0, 5))
def test_sorted_keys_within_a_range(
    names: list[str], start: str, end: str | None, limit: int
) -> None:
    """Counting and reading agree with looking at every key."""
    keys = SortedKeys(names)
    inside = KeyRange(start, end)
    expected = sorted(name for name in names if name in inside)

    keys.check()
    assert len(expected) == keys.count(inside)
    assert expected[: limit or None] == keys.within(inside, limit)


def test_an_empty_key_names_no_range() -> None:
    """The message says how to name all keys."""
    with pytest.raises(InvalidRequest, match="all keys"):
        KeyRange.of("", None)


SMALL = st.text(st.sampled_from("abc"), min_size=1, max_size=2)


@given(
    st.lists(st.tuples(SMALL, st.none() | SMALL | st.just(FROM_KEY)), max_size=12),
    st.lists(st.integers(0, 11), max_size=12),
)
def test_the_index_finds_exactly_the_watchers_of_a_key(
    ranges: list[tuple[str, str | None]], removals: list[int]
) -> None:
    """Through any adding and removing, in the order of adding."""
    group = WatcherGroup(Limits())
    watchers = [Watcher(keys=KeyRange.of(key, end)) for key, end in ranges]
    for watcher in watchers:
        group.add(watcher)
        group.check()
    for position in removals:
        if position < len(watchers) and watchers[position] in group.watchers():
            group.remove(watchers[position])
            group.check()
    left = list(group.watchers())
    for key in ("a", "aa", "ab", "b", "ba", "c", "cc", "d", "0"):
        assert [watcher for watcher in left if key in watcher.keys] == list(group.covering(key))
    for watcher in left:
        group.remove(watcher)
    group.check()
    assert group.covering("a") == ()


def test_foreign_watchers_are_not_even_looked_at() -> None:
    """An event finds the watchers of its key alone, however many others there are."""
    group = WatcherGroup(Limits())
    for n in range(1000):
        prefix = f"/registry/pods/ns-{n}/"
        group.add(Watcher(keys=KeyRange.of(prefix, prefix_end(prefix))))
    mine = Watcher(keys=KeyRange.of("/registry/nodes/a", None))
    group.add(mine)

    assert group.covering("/registry/nodes/a") == (mine,)
    assert len(group.covering("/registry/pods/ns-7/x")) == 1
    assert group.covering("/registry/nodes/b") == ()


def test_a_waiting_watcher_is_woken_once() -> None:
    """Many events, one wake-up; none when nobody waits."""
    group = WatcherGroup(Limits())
    watcher = Watcher(keys=KeyRange("a", None), state=WatcherState.SYNCED, next_revision=2)
    group.add(watcher)
    history = History()
    woken = 0
    watcher.waiting = True
    for _ in range(3):
        history.put("a", 1, 0, Origin("test"), 0)
        history.put("b", 1, 0, Origin("test"), 0)
        commit = history.open_commit()
        history.seal(commit)
        woken += len(group.post(commit))

    assert woken == 1
    assert len(watcher.pending) == 6
