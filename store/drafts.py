"""Frozen records at the price of mutable ones: for those that every write makes.

A frozen attrs class sets each field by a call that goes around its own `__setattr__`: an event of ten fields takes a microsecond, twice what
encoding it takes. A draft is a subclass without fields of its own that may be set; filled in, it becomes the record proper: the same fields in
the same places, and frozen (tests/store/test_drafts.py). Fields are given by position, as naming them costs as much as the rest; those left out
have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import attrs

Record = TypeVar("Record", bound=attrs.AttrsInstance)


def draft_of(record: type[Record], **body: object) -> type[Record]:
    """A subclass of a slotted record whose fields may be set; `copy.__class__ = record` ends that. `body` is added to the class."""
    # CPython has one slot for both, and its fast way only while neither is overridden.
    mutable = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    made = type(f"{record.__name__}Draft", (record,), {"__slots__": (), **mutable, **body})
    return cast("type[Record]", made)


def maker(record: type[Record]) -> Callable[..., Record]:
    """A function that makes a record from its fields in their order: an Event in a quarter of the time of `Event(...)`."""

    def become(draft: object) -> None:
        draft.__class__ = record

    fields = {field.name: attrs.field(default=field.default) for field in attrs.fields(record)}
    # Its `__init__` is borrowed: attrs writes it, and calls `become` last.
    mutable = attrs.make_class(record.__name__, {**fields, "__attrs_post_init__": become})
    return draft_of(record, __init__=vars(mutable)["__init__"], __attrs_post_init__=become)
