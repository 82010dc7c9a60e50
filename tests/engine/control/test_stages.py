"""Coalescing: whoever hears less comes to know the same."""

from __future__ import annotations

from control_world import config_map
from hypothesis import given
from hypothesis import strategies as st

from engine import WatchEvent, WatchEventType
from engine.control.stages import coalesced

ADDED, MODIFIED, DELETED = WatchEventType.ADDED, WatchEventType.MODIFIED, WatchEventType.DELETED
State = dict[str, int]


def history(choices: list[tuple[str, bool]], known: frozenset[str]) -> tuple[WatchEvent, ...]:
    """A history in which `known` exist at first: each step makes, changes or, if it may, deletes an object."""
    there = {*known}
    events = []
    for revision, (name, deletes) in enumerate(choices, 1):
        obj = config_map(name, x=str(revision))
        if name not in there:
            kind = ADDED
            there.add(name)
        elif deletes:
            kind = DELETED
            there.remove(name)
        else:
            kind = MODIFIED
        events.append(WatchEvent(kind, obj, revision))
    return tuple(events)


def after(state: State, events: tuple[WatchEvent, ...]) -> State:
    """What a client knows after the events: the revision of each object."""
    state = dict(state)
    for event in events:
        assert event.object is not None
        name = event.object.metadata.name
        if event.type is DELETED:
            del state[
                name
            ]  # it was there, or the client would have heard of something it cannot place
        else:
            assert (name in state) is (event.type is MODIFIED)
            state[name] = event.revision
    return state


NAMES = ("a", "b", "c")


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=20),
    st.frozensets(st.sampled_from(NAMES)),
    st.booleans(),
)
def test_the_state_at_the_end_is_the_same(
    choices: list[tuple[str, bool]], known: frozenset[str], across: bool
) -> None:
    """Whatever happened: the same objects, in the order of revisions, and one event for each or two for one that was made again."""
    events = history(choices, known)
    before = dict.fromkeys(sorted(known), 0)
    told = coalesced(events, across_recreation=across)

    assert after(before, told) == after(before, events)
    assert [event.revision for event in told] == sorted(event.revision for event in told)
    counts = [
        sum(event.object is not None and event.object.metadata.name == name for event in told)
        for name in NAMES
    ]
    assert max(counts) <= (1 if across else 2)


def test_bookmarks_stay() -> None:
    """They promise that nothing before them is outstanding."""
    bookmark = WatchEvent(WatchEventType.BOOKMARK, None, 3)
    events = history([("a", False), ("a", False)], frozenset())

    told = coalesced((*events, bookmark))

    assert told == (WatchEvent(ADDED, events[1].object, 2), bookmark)
