"""What every API type is built from: the base class, timestamps, and the naming rule.

An API type is a frozen, slotted attrs class. Its fields are snake_case here and Kubernetes'
camelCase outside; `field_name_outside` is the one rule between the two. A field that no type
models is kept in `extra`, at the level where it was met, and written back from there.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A JSON value, as YAML, HTTP and the log file carry it."""

EMPTY: Final[Mapping[str, str]] = MappingProxyType({})
"""The shared empty map, default of every map-valued field."""

EMPTY_EXTRA: Final[Mapping[str, Json]] = MappingProxyType({})

_UPPERCASE_WORDS: Final = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "uuid": "UUID",
    "pid": "PID",
    "ipc": "IPC",
}


@cache
def field_name_outside(name: str) -> str:
    """The camelCase name of a snake_case field: `pod_ip` is `podIP`, `owner_references` is
    `ownerReferences` (Kubernetes API conventions, "Naming conventions").
    """
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(_UPPERCASE_WORDS.get(word, word.capitalize()) for word in rest)


@attrs.frozen(kw_only=True, repr=False)
class ApiType:
    """Base of every API type, top-level or nested.

    `extra` holds, by their outside names, JSON values that the type does not model, and defaults that the manifest
    spelled out (`hostNetwork: false`): both are written back where they were met. It takes part in equality, so
    that no difference is lost. A field that has left its default is never in `extra` as well: `attrs.evolve`
    comes through here, and an object equals what its own bytes decode to
    (tests/engine/objects/test_codec.py, test_evolved_objects_survive).
    """

    extra: Mapping[str, Json] = EMPTY_EXTRA

    def __attrs_post_init__(self) -> None:
        if self.extra is not EMPTY_EXTRA:
            kept = {
                key: value for key, value in self.extra.items() if not _has_left_default(self, key)
            }
            object.__setattr__(self, "extra", MappingProxyType(kept) if kept else EMPTY_EXTRA)

    def __repr__(self) -> str:
        """What differs from the defaults. (One for all types: making one for each takes a third of their import.)"""
        shown = [
            f"{f.name}={dict(value) if isinstance(value, MappingProxyType) else value!r}"
            for f in attrs.fields(type(self))
            if (value := getattr(self, f.name)) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


_DEFAULTS: Final[dict[type, Mapping[str, tuple[str, object]]]] = {}


def _defaults(cls: type[ApiType]) -> Mapping[str, tuple[str, object]]:
    """Of each modelled field, by its outside name: its own name and its default."""
    defaults = _DEFAULTS.get(cls)
    if defaults is None:
        found = {field_name_outside(f.name): (f.name, f.default) for f in attrs.fields(cls)}
        defaults = _DEFAULTS[cls] = found
    return defaults


def _has_left_default(value: ApiType, outside: str) -> bool:
    modelled = _defaults(type(value)).get(outside)
    return modelled is not None and getattr(value, modelled[0]) != modelled[1]


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d([.]\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


@lru_cache(maxsize=4096)
def _format_seconds(seconds: int) -> str:
    return (_EPOCH + dt.timedelta(seconds=seconds)).isoformat()[:19]


class Time(int):
    """A `metav1.Time`: Unix time in microseconds, always on a whole second, as Kubernetes stores it.

    >>> str(Time.of(1_767_225_600_900_000))
    '2026-01-01T00:00:00Z'
    """

    __slots__ = ()

    @classmethod
    def of(cls, unix_us: int) -> Time:
        """The time at `unix_us` microseconds since 1970, cut to the second."""
        return _time_at(unix_us - unix_us % 1_000_000)

    @classmethod
    def parse(cls, text: str) -> Time:
        """Read RFC 3339. Raises ValueError."""
        return cls.of(_parse_rfc3339(text))

    @property
    def seconds(self) -> float:
        """Unix time in seconds."""
        return self / 1_000_000

    def __str__(self) -> str:
        return _format_seconds(self // 1_000_000) + "Z"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


_time_at: Final = lru_cache(maxsize=4096)(Time)
"""The one object for a second: a status has twenty times, and those of thousands of pods are the same."""


class MicroTime(Time):
    """A `metav1.MicroTime`: Unix time in microseconds.

    >>> str(MicroTime.of(1_767_225_600_900_000))
    '2026-01-01T00:00:00.900000Z'
    """

    __slots__ = ()

    @classmethod
    def of(cls, unix_us: int) -> MicroTime:
        return cls(unix_us)

    @classmethod
    def parse(cls, text: str) -> MicroTime:
        return cls(_parse_rfc3339(text))

    def __str__(self) -> str:
        seconds, microseconds = divmod(int(self), 1_000_000)
        return f"{_format_seconds(seconds)}.{microseconds:06d}Z"


def _parse_rfc3339(text: str) -> int:
    if _RFC3339.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no RFC 3339 time such as 2006-01-02T15:04:05Z")
    return (dt.datetime.fromisoformat(text.upper()) - _EPOCH) // _MICROSECOND
