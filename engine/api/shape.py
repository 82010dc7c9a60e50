"""Reading and changing objects whose kind is not known where it is done.

An object is a frozen attrs value of a class, or an `Unstructured`; both have `metadata`, most have `spec` and `status`. Parts that
a change leaves alone keep their identity, and so cost the store's encoder nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, cast

import attrs

from engine.objects.base import Json
from engine.objects.meta import KubeObject, ObjectMeta, TypedObject
from engine.objects.replacing import copier, replaced
from engine.objects.unstructured import Unstructured

T = TypeVar("T", bound=KubeObject)

_evolve: Final = cast("Callable[..., KubeObject]", attrs.evolve)
_with_version: Final = copier(ObjectMeta, "resource_version")


_names: Final[dict[type, tuple[str, ...]]] = {}


def _names_of(cls: type) -> tuple[str, ...]:
    """The fields of a class."""
    found = _names.get(cls)
    if found is None:
        found = _names[cls] = tuple(
            field.name for field in attrs.fields(cast("type[TypedObject]", cls))
        )
    return found


def with_metadata(obj: T, metadata: ObjectMeta) -> T:
    """`obj` with other metadata; itself when the metadata is its own."""
    if obj.metadata is metadata:
        return obj
    return copier(type(obj), "metadata")(obj, metadata)  # type: ignore[return-value]  # a T


def with_part(obj: T, name: str, value: object) -> T:
    """`obj` with another `spec`, `status` or whatever `name` names; itself when it has that very value."""
    if isinstance(obj, Unstructured):
        if name in obj.body and obj.body[name] == value:
            return obj
        body = {key: part for key, part in obj.body.items() if key != name}
        if value is not None:
            body[name] = cast("Json", value)
        return cast("T", attrs.evolve(obj, body=body))
    if not has_part(obj, name):
        typed = cast("TypedObject", obj)
        if name in typed.extra and typed.extra[name] == value:
            return obj
        extra = {key: part for key, part in typed.extra.items() if key != name}
        if value is not None:
            extra[name] = cast("Json", value)
        return cast("T", _evolve(obj, extra=extra))
    if getattr(obj, name) is value:
        return obj
    return replaced(obj, **{name: value})


def part_of(obj: KubeObject, name: str) -> object:
    """`spec`, `status` or another top-level part; None when the kind or the object has none."""
    if isinstance(obj, Unstructured):
        return obj.body.get(name)
    if has_part(obj, name):
        return getattr(obj, name)
    return cast("TypedObject", obj).extra.get(name)


def has_part(obj: KubeObject, name: str) -> bool:
    """Whether the class of `obj` models that part; if not, it is among the fields kept as they came."""
    return name in _names_of(type(obj))


def without_part(obj: T, name: str) -> T:
    """`obj` with that part as it is in a new object."""
    if not has_part(obj, name):
        return obj if part_of(obj, name) is None else with_part(obj, name, None)
    default = _default_of(type(cast("TypedObject", obj)), name)
    return obj if getattr(obj, name) == default else with_part(obj, name, default)


def _default_of(cls: type[TypedObject], name: str) -> object:
    field = attrs.fields_dict(cls)[name]
    default: object = field.default
    assert default is not attrs.NOTHING, f"{cls.__name__}.{name} has no default"
    return default


def keep_equal_parts(new: T, old: T) -> T:
    """`new`, with every part that equals the one of `old` replaced by that very one."""
    if isinstance(new, Unstructured) or type(new) is not type(old):
        return new
    kept: dict[str, object] = {}
    for name in _names_of(type(new)):
        before, after = getattr(old, name), getattr(new, name)
        if after is not before and after == before:
            kept[name] = before
    return cast("T", _evolve(new, **kept)) if kept else new


def decorated(obj: T, revision: int) -> T:
    """The stored object as clients see it: with its resourceVersion."""
    metadata = _with_version(obj.metadata, str(revision))
    return copier(type(obj), "metadata")(obj, metadata)  # type: ignore[return-value]  # a T


def undecorated(obj: T) -> T:
    """The object as it is stored: without a resourceVersion."""
    if not obj.metadata.resource_version:
        return obj
    return with_metadata(obj, attrs.evolve(obj.metadata, resource_version=""))
