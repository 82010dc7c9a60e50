"""The history: what forgetting keeps, and what an undone revision leaves."""

from __future__ import annotations

import pytest

from store import Compacted, EventType, Get, Origin
from store.history import History
from tests.store.support import CODEC, USER, pairs


def write(history: History, *operations: tuple[str, object]) -> None:
    """One revision for each operation; the value None deletes."""
    for key, value in operations:
        if value is None:
            before = history.newest(key)
            assert before is not None
            history.delete([before], USER, 0)
        else:
            history.put(key, value, 0, USER, 0)
        history.seal(history.open_commit())
        history.check()


def example() -> History:
    """Key `a` of store.records: events at 2, 3, 5 (deleted) and 6, and other keys around it."""
    history = History()
    write(history, ("a", "x"), ("a", "y"), ("b", "z"), ("a", None), ("a", "x"))
    write(history, ("b", 1), ("b", 2), ("b", 3))
    return history


@pytest.mark.parametrize(
    ("revision", "kept"),
    [(2, [2, 3, 5, 6]), (3, [3, 5, 6]), (4, [3, 5, 6]), (5, [6]), (6, [6]), (9, [6])],
)
def test_forgetting_keeps_what_can_still_be_read(revision: int, kept: list[int]) -> None:
    """The drawing in store.history."""
    history = example()
    history.forget(revision)
    history.check()

    assert kept == [event.revision for event in history.versions("a")]
    assert history.revisions_in_memory == 9 - revision + 1


def test_forgetting_in_steps_is_forgetting_at_once() -> None:
    """At any stride the same is left, and every read that is allowed gives the same answer."""
    for stride in (1, 2, 3, 7):
        stepped, at_once = example(), example()
        last = 0
        for revision in range(1, 10, stride):
            stepped.forget(revision)
            stepped.check()
            last = revision
        at_once.forget(last)
        assert stepped._newest == at_once._newest
        assert stepped._older == at_once._older
        for revision in range(last, 10):
            get = Get("\0", "\0", revision=revision)
            assert stepped.range(get, CODEC.encode) == at_once.range(get, CODEC.encode)


def test_a_key_that_is_gone_leaves_nothing() -> None:
    """A deletion that is forgotten takes the key's last trace with it: churn does not fill memory."""
    history = History()
    for n in range(100):
        write(history, (f"k{n}", n), (f"k{n}", None))
        history.forget(history.head)

    assert (history._newest, history._older) == ({}, {})
    assert (len(history), len(history._dead), history.revisions_in_memory) == (0, 0, 1)


def test_a_deletion_at_the_compacted_revision_is_watched() -> None:
    """The commit of the window's own revision stays, tombstones included."""
    history = example()
    history.forget(5)

    assert [event.type for event in next(history.commits(5, 5))] == [EventType.DELETE]
    with pytest.raises(Compacted):
        history.range(Get("a", revision=4), CODEC.encode)


def test_an_aborted_revision_never_was() -> None:
    """Puts of new, present and deleted keys and deletes are all undone."""
    history = example()
    write(history, ("dead", 1), ("dead", None))
    before = pairs(history.range(Get("\0", "\0"), CODEC.encode).kvs)
    present = history.newest("b")
    assert present is not None
    history.put("new", 1, 0, USER, 0)
    history.put("dead", 2, 0, USER, 0)
    history.put("a", 3, 0, USER, 0)
    history.delete([present], USER, 0)
    assert history.current == history.head + 1
    history.abort()
    history.check()

    assert before == pairs(history.range(Get("\0", "\0"), CODEC.encode).kvs)
    assert history.current == history.head == 11
    write(history, ("new", 1))
    assert history.newest("new") is not None


def test_events_are_frozen() -> None:
    """They are shared by everybody who reads."""
    event = next(example().commits(2, 2))[0]
    with pytest.raises(AttributeError):
        event.origin = Origin("somebody else")  # type: ignore[misc]
