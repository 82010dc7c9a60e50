"""Reading and changing objects whose kind is not known where it is done.

An object is a frozen attrs value of a class, or an `Unstructured`; both have `metadata`, most have `spec` and `status`. Parts that
a change leaves alone keep their identity, and so cost the store's encoder nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import attrgetter
from typing import Final, TypeVar, cast

import attrs

from engine.objects.base import Json
from engine.objects.meta import KubeObject, ObjectMeta, TypedObject
from engine.objects.unstructured import Unstructured

T = TypeVar("T", bound=KubeObject)
V = TypeVar("V")

_evolve: Final = cast("Callable[..., KubeObject]", attrs.evolve)


@attrs.frozen
class _Layout:
    """How to copy an object of one class slot by slot."""

    names: tuple[str, ...]
    read: Callable[[object], tuple[object, ...]]
    writers: tuple[Callable[[object, object], None], ...]


_layouts: Final[dict[type, _Layout]] = {}


def _layout(cls: type) -> _Layout:
    found = _layouts.get(cls)
    if found is None:
        names = tuple(field.name for field in attrs.fields(cast("type[TypedObject]", cls)))
        read = cast("Callable[[object], tuple[object, ...]]", attrgetter(*names))
        writers = tuple(_writer(cls, name) for name in names)
        found = _layouts[cls] = _Layout(names, read, writers)
    return found


def _writer(cls: type, name: str) -> Callable[[object, object], None]:
    """Sets one field past the class's own guard: through its slot, or, in a user's class without slots, by name."""
    slot = getattr(cls, name, None)
    if inspect.ismemberdescriptor(slot):
        return slot.__set__

    def write(obj: object, value: object) -> None:
        object.__setattr__(obj, name, value)

    return write


def replaced(obj: V, name: str, value: object) -> V:
    """A copy of a frozen attrs value with one field set.

    `attrs.evolve` does the same at more than twice the cost, and each event needs two of these. `__init__` does not run: the
    other fields have been through it, and the new one must be as it would leave it.
    """
    cls = type(obj)
    layout = _layout(cls)
    copy = cls.__new__(cls)
    for write, part in zip(layout.writers, layout.read(obj), strict=True):
        write(copy, part)
    layout.writers[layout.names.index(name)](copy, value)
    return copy


def with_metadata(obj: T, metadata: ObjectMeta) -> T:
    """`obj` with other metadata; itself when the metadata is its own."""
    if obj.metadata is metadata:
        return obj
    return replaced(obj, "metadata", metadata)


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
    return replaced(obj, name, value)


def part_of(obj: KubeObject, name: str) -> object:
    """`spec`, `status` or another top-level part; None when the kind or the object has none."""
    if isinstance(obj, Unstructured):
        return obj.body.get(name)
    if has_part(obj, name):
        return getattr(obj, name)
    return cast("TypedObject", obj).extra.get(name)


def has_part(obj: KubeObject, name: str) -> bool:
    """Whether the class of `obj` models that part; if not, it is among the fields kept as they came."""
    return name in _layout(type(obj)).names


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
    for name in _layout(type(new)).names:
        before, after = getattr(old, name), getattr(new, name)
        if after is not before and after == before:
            kept[name] = before
    return cast("T", _evolve(new, **kept)) if kept else new


def decorated(obj: T, revision: int) -> T:
    """The stored object as clients see it: with its resourceVersion."""
    return replaced(obj, "metadata", replaced(obj.metadata, "resource_version", str(revision)))


def undecorated(obj: T) -> T:
    """The object as it is stored: without a resourceVersion."""
    if not obj.metadata.resource_version:
        return obj
    return with_metadata(obj, attrs.evolve(obj.metadata, resource_version=""))
