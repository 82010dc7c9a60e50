"""Records made by `maker` are the records proper."""

from __future__ import annotations

import copy

import attrs
import pytest

from store import Event, EventType, KeyValue, Origin, Revision
from store.drafts import maker
from store.records import Get, Put, PutResult, Txn, TxnResult

PAIRS = [
    (
        maker(Event)(EventType.PUT, "a", b"1", 5, 3, 2, 2, 0, 7, Origin("user")),
        Event(
            type=EventType.PUT,
            key="a",
            value=b"1",
            revision=Revision(5),
            previous=3,
            create_revision=2,
            version=2,
            lease=0,
            time_ns=7,
            origin=Origin("user"),
        ),
    ),
    (
        maker(KeyValue)("a", b"1", 2, 5, 2, 0),
        KeyValue(
            key="a", value=b"1", create_revision=2, mod_revision=Revision(5), version=2, lease=0
        ),
    ),
    (maker(PutResult)(None, 5), PutResult(prev_kv=None, revision=Revision(5))),
    (maker(TxnResult)(True, 5, ()), TxnResult(succeeded=True, revision=Revision(5))),
    (maker(Put)("a", None, 0, False, False, False), Put("a")),
    (maker(Txn)((), (), ()), Txn()),
    (maker(Get)("a"), Get("a")),
]


@pytest.mark.parametrize(("made", "proper"), PAIRS, ids=lambda each: type(each).__name__)
def test_a_draft_becomes_the_record(made: attrs.AttrsInstance, proper: attrs.AttrsInstance) -> None:
    """Its class, its equality, its hash, its text and its copies are those of the record made by name."""
    assert type(made) is type(proper)
    assert made == proper
    assert hash(made) == hash(proper)
    assert repr(made) == repr(proper)
    assert attrs.evolve(made) == copy.copy(made) == proper


@pytest.mark.parametrize(("made", "proper"), PAIRS, ids=lambda each: type(each).__name__)
def test_it_is_frozen_and_has_no_room_for_more(
    made: attrs.AttrsInstance, proper: attrs.AttrsInstance
) -> None:
    """Neither a field nor anything else can be set or deleted."""
    name = attrs.fields(type(proper))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        delattr(made, name)
    assert not hasattr(made, "__dict__")


def test_a_field_without_a_default_is_given() -> None:
    """One that is forgotten is an error at once."""
    with pytest.raises(TypeError, match="mod_revision"):
        maker(KeyValue)("a", b"1", 2)
