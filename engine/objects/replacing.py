"""Copies of frozen values with some fields replaced: `attrs.evolve`, for the path of every event.

`attrs.evolve` looks at every field by name and runs `__init__` over all of them. Here a function is written for each class and choice of fields, as
source text, when it is first met; it copies slot by slot and costs a fifth of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

import attrs

from engine.objects.base import EMPTY_EXTRA, ApiType
from store import draft_of

V = TypeVar("V")


@cache
def copier(cls: type, *names: str) -> Callable[..., object]:
    """The function (object, *values) -> copy that `replaced` uses, for those who always replace the same fields."""
    return _make_copier(cls, names)


def replaced(obj: V, **changes: object) -> V:
    """A copy of an attrs value with these fields set. Raises TypeError for a field that its class has not.

    `__init__` does not run: the other fields have been through it, and the new ones must be as it would leave them. A value
    with fields that its type does not model goes through `attrs.evolve`, which keeps `extra` as `ApiType` wants it.
    """
    return copier(type(obj), *changes)(obj, *changes.values())  # type: ignore[return-value, arg-type]  # a V, as written


def _make_copier(cls: type, names: tuple[str, ...]) -> Callable[..., object]:
    """The function (object, *values) -> copy with the values in the fields `names`."""
    fields = [field.name for field in attrs.fields(cast("type[ApiType]", cls))]
    for name in names:
        if name not in fields:
            raise TypeError(f"{cls.__name__} has no field {name}")
    # Slots are set while the copy is a draft. A user's class is set by name, past its own guard: it may have no slots, or mind being subclassed.
    ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    slotted = ours and all(inspect.ismemberdescriptor(getattr(cls, f, None)) for f in fields)
    draft = draft_of(cls) if slotted else cls
    namespace: dict[str, object] = {
        "cls": cls,
        "draft": draft,
        "new": cls.__new__,
        "set_by_name": object.__setattr__,
    }
    lines = [f"def copy(obj, {', '.join(f'new_{name}' for name in names)}):"]
    if issubclass(cls, ApiType):
        namespace |= {"EMPTY_EXTRA": EMPTY_EXTRA, "evolve": attrs.evolve}
        condition = " or ".join(
            ["obj.extra is not EMPTY_EXTRA"] + ["new_extra is not EMPTY_EXTRA"] * ("extra" in names)
        )
        given = ", ".join(f"{name}=new_{name}" for name in names)
        lines.append(f" if {condition}: return evolve(obj, {given})")
    lines.append(" copy = new(draft)")
    for field in fields:
        value = f"new_{field}" if field in names else f"obj.{field}"
        lines.append(
            f" copy.{field} = {value}" if slotted else f" set_by_name(copy, {field!r}, {value})"
        )
    if slotted:
        lines.append(" copy.__class__ = cls")
    lines.append(" return copy")
    exec("\n".join(lines), namespace)  # noqa: S102 -- made of field names and nothing else
    return cast("Callable[..., object]", namespace["copy"])
