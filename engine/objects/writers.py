# ruff: noqa: ANN401 -- here values of any type pass
"""Objects to JSON data, in canonical order.

Theory of operation. For each class a function is written, as source text, when the class is first met: it tests each field against its
default and fills a dict in sorted order, since the same data, packed, are the bytes that are hashed (engine/objects/codec.py). A loop
over the fields would do the same and take three times as long, on the path of every event.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias, get_args

import attrs

from engine.objects.base import EMPTY_EXTRA, ApiType, Json, MicroTime, Time, field_name_outside
from engine.objects.converters import (
    FieldForm,
    copy_json,
    field_forms,
    is_int_or_str,
    is_list,
    is_map,
    plain_data,
    present_type,
)
from engine.objects.meta import TypedObject
from engine.objects.quantity import Quantity

_UnstructureHook: TypeAlias = Callable[[Any], Any]


def unstructure(value: object) -> dict[str, Json]:
    """The value as JSON data, in sorted order, defaults left out; nothing is shared with the value.

    Of a top-level object it includes apiVersion and kind.
    """
    result: dict[str, Json] = unstructure_hook(type(value))(value)
    return result


_time_text: Final = lru_cache(maxsize=8192)(Time.__str__)
_micro_time_text: Final = lru_cache(maxsize=8192)(MicroTime.__str__)


def merge_extra(data: dict[str, Any], extra: Mapping[str, Json]) -> dict[str, Any]:
    """`data` with what it lacks of `extra`, in sorted order."""
    for key, value in extra.items():
        if key not in data:
            data[key] = copy_json(value, key)
    return dict(sorted(data.items()))


_WRITERS_OF_LEAVES: Final[Mapping[Any, _UnstructureHook | None]] = {
    str: None,
    int: None,
    bool: None,
    Time: _time_text,
    MicroTime: _micro_time_text,
    Quantity: operator.attrgetter("outside"),
}


def writer_of(kind: Any) -> _UnstructureHook | None:  # noqa: PLR0911 -- one branch for each form of type
    """How a value of the type is made JSON data; None if it is JSON as it stands."""
    if kind in _WRITERS_OF_LEAVES:
        return _WRITERS_OF_LEAVES[kind]
    if is_int_or_str(kind):
        return None
    if is_list(kind):
        item = writer_of(present_type(get_args(kind)[0]))
        return list if item is None else lambda values: [item(value) for value in values]
    if is_map(kind):
        return _writer_of_map(writer_of(present_type(get_args(kind)[1])))
    if kind in _being_written:
        # A class that contains itself: its writer is there by the time it is needed.
        return lambda value: _writers[kind](value)  # noqa: PLW0108 -- not there yet
    if isinstance(kind, type) and attrs.has(kind):
        return unstructure_hook(kind)
    return plain_data


def _writer_of_map(item: _UnstructureHook | None) -> _UnstructureHook:
    if item is None:
        return lambda value: dict(sorted(value.items()))
    return lambda value: {key: item(v) for key, v in sorted(value.items())}


_writers: Final[dict[type, _UnstructureHook]] = {}
_being_written: Final[list[type]] = []
"""The classes whose writers are being made."""


def unstructure_hook(cls: type) -> _UnstructureHook:
    """The function that writes objects of the class as sorted JSON data."""
    hook = _writers.get(cls)
    if hook is None:
        hook = _writers[cls] = _make_writer(cls)
    return hook


def _make_writer(cls: type) -> _UnstructureHook:
    """The writer of a class.

    Made as source text, for speed: a loop over the fields takes three times as long, and this runs for every event.
    """
    _being_written.append(cls)
    namespace: dict[str, Any] = {"EMPTY_EXTRA": EMPTY_EXTRA, "merge_extra": merge_extra}
    lines = ["def write(o):", " d = {}"]
    chunks: list[tuple[str, list[str]]] = []
    if issubclass(cls, TypedObject):
        for name in ("api_version", "kind"):
            outside = field_name_outside(name)
            chunks.append((outside, [f" d[{outside!r}] = {getattr(cls, name)!r}"]))
    chunks += [(f.outside, _field_lines(f, namespace)) for f in field_forms(cls)]
    for _, chunk in sorted(chunks):
        lines += chunk
    if issubclass(cls, ApiType):
        lines.append(" if o.extra is not EMPTY_EXTRA: return merge_extra(d, o.extra)")
    lines.append(" return d")
    exec("\n".join(lines), namespace)  # noqa: S102 -- made of field names and nothing else
    _being_written.remove(cls)
    hook: _UnstructureHook = namespace["write"]
    return hook


def _field_lines(f: FieldForm, namespace: dict[str, Any]) -> list[str]:
    """The lines that write one field."""
    key, value, default = repr(f.outside), f" v = o.{f.name}", f.default
    writer = namespace[f"write_{f.name}"] = writer_of(f.type)
    namespace[f"default_{f.name}"] = default
    written = "v" if writer is None else f"write_{f.name}(v)"
    if default is attrs.NOTHING:
        return [value, f" d[{key}] = {written}"]
    if default is None:
        return [value, f" if v is not None: d[{key}] = {written}"]
    if writes_nothing(default):
        lines = [value, f" if v is not default_{f.name}:", f"  w = {written}"]
        return [*lines, f"  if w: d[{key}] = w"]
    if not default:
        return [value, f" if v: d[{key}] = {written}"]
    return [value, f" if v != default_{f.name}: d[{key}] = {written}"]


def writes_nothing(default: Any) -> bool:
    """Whether a default is an object with nothing to write; then whatever has nothing to write equals it."""
    return isinstance(default, ApiType) and not unstructure(default)
