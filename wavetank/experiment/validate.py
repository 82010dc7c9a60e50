"""Says what is wrong with an experiment file, in one line, with the place and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, cast

import attrs

from engine import Json
from wavetank.experiment.schema import SCHEMA

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Path = tuple[str | int, ...]


def field_path(path: Sequence[str | int]) -> str:
    """`("spec", "method", 0, "at")` as `spec.method[0].at`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import, needed here only

    return Draft202012Validator(SCHEMA)


@attrs.frozen
class Failure:
    """One keyword of the schema that a value does not keep."""

    keyword: str
    expected: Json
    schema: dict[str, Json]
    value: Json

    def allowed(self, key: str) -> Json:
        """What the schema says beside the keyword."""
        return self.schema.get(key)

    @property
    def names(self) -> list[str]:
        """The fields that the schema knows at this place."""
        return list(cast("dict[str, Json]", self.schema.get("properties", {})))

    @property
    def fields(self) -> list[str]:
        """The fields that the value has."""
        return list(cast("dict[str, Json]", self.value))


def faults(document: Json) -> Iterator[tuple[Path, str]]:
    """Every fault of the document against the schema: the path it is at, and a sentence."""
    yield from _faults(_validator(), document)


def faults_of_part(schema: dict[str, Json], part: Json) -> Iterator[tuple[Path, str]]:
    """Every fault of a part of a document that may have several forms, against the schema of one of them."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - likewise

    yield from _faults(Draft202012Validator(schema), part)


def _faults(validator: Draft202012Validator, document: Json) -> Iterator[tuple[Path, str]]:
    for error in validator.iter_errors(document):
        path: Path = tuple(error.absolute_path)
        failure = Failure(
            str(error.validator),
            cast("Json", error.validator_value),
            cast("dict[str, Json]", error.schema),
            cast("Json", error.instance),
        )
        say = _SENTENCES.get(failure.keyword)
        if say is None:
            yield path, error.message
        else:
            yield from say(path, failure)


Saying = Iterator[tuple[Path, str]]


def _unknown(path: Path, failure: Failure) -> Saying:
    known = failure.names
    for name in failure.fields:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield (*path, name), f"unknown field{hint}; allowed: {', '.join(known)}"


def _required(path: Path, failure: Failure) -> Saying:
    for name in cast("list[str]", failure.expected):
        if name not in failure.fields:
            yield (*path, name), "required field is missing"


def _type(path: Path, failure: Failure) -> Saying:
    expected = cast("str | list[str]", failure.expected)
    allowed = failure.allowed("description") or _names(expected)
    quote = isinstance(failure.value, bool) and "string" in expected
    hint = " (YAML reads words like y, n, on and off so; quote them)" if quote else ""
    yield path, f"{_text(failure.value)} is {_name_of(failure.value)}{hint}; allowed: {allowed}"


def _value(path: Path, failure: Failure) -> Saying:
    values = cast("list[Json]", failure.schema.get("enum", [failure.allowed("const")]))
    allowed = ", ".join("true" if value is True else str(value) for value in values)
    yield path, f"{_text(failure.value)} is not allowed; allowed: {allowed}"


def _shape(path: Path, failure: Failure) -> Saying:
    allowed = failure.allowed("description") or f"text that matches {failure.expected}"
    yield path, f"{_text(failure.value)} is not allowed; allowed: {allowed}"


def _bound(path: Path, failure: Failure) -> Saying:
    low, high = failure.allowed("minimum"), failure.allowed("maximum")
    allowed = f"{low} or more" if high is None else f"{low} to {high}"
    yield path, f"{_text(failure.value)} is out of range; allowed: {allowed}"


def _count(path: Path, failure: Failure) -> Saying:
    names = [name for name in failure.names if name not in _SETTINGS]
    given = [name for name in failure.fields if name not in _SETTINGS]
    yield path, f"{len(given)} of these are given, exactly one is needed: {', '.join(names)}"


def _empty(path: Path, failure: Failure) -> Saying:
    del failure
    yield path, "is empty; allowed: at least one"


_SETTINGS = ("at", "for", "containers")
"""Fields that say how, beside the one that says what."""

_SENTENCES: dict[str, Callable[[Path, Failure], Saying]] = {
    "additionalProperties": _unknown,
    "required": _required,
    "type": _type,
    "enum": _value,
    "const": _value,
    "pattern": _shape,
    "minLength": _empty,
    "minItems": _empty,
    "minimum": _bound,
    "maximum": _bound,
    "minProperties": _count,
    "maxProperties": _count,
    "oneOf": _count,
}

_TYPE_NAMES = {
    "object": "a map",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _text(value: Json) -> str:
    """A value as it may stand in the file, cut short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_SHOWN = 60


def _names(types: str | list[str]) -> str:
    listed = [types] if isinstance(types, str) else types
    return " or ".join(_TYPE_NAMES.get(name, name) for name in listed)


def _name_of(value: Json) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a map"
