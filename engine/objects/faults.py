"""What can be wrong with the shape of an object: faults with their paths, collected into one error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

import attrs

_GO_NAMES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "bool"),
    (int, "number"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (tuple, "array"),
    (dict, "object"),
    (type(None), "null"),
)
"""What Go's JSON decoder calls the values; bool stands before int, which it is a kind of in Python."""

_INDEX: Final = re.compile(r"\[[^]]*\]")
_SHOWN_CHARACTERS: Final = 60

REQUIRED: Final = "Required value"
"""The message of a fault whose field is missing (the validation reason FieldValueRequired)."""


@attrs.frozen(kw_only=True)
class FieldFault:
    """One thing wrong with one field.

    `path` is written as in Kubernetes: spec.containers[0].image, metadata.labels[app]. `message` says what is wrong and what is
    allowed. `decoder` is what Kubernetes' decoder says of it, with `{field}` where it names the Go field; `struct` is the
    innermost type the fault is in.
    """

    path: str
    message: str
    decoder: str = ""
    struct: str = ""

    @property
    def required(self) -> bool:
        """Whether the field is missing, rather than of the wrong type."""
        return self.message == REQUIRED

    @property
    def decoder_message(self) -> str:
        """The fault in the words of Kubernetes' decoder."""
        field = f"{self.struct}.{_INDEX.sub('', self.path)}"
        return (self.decoder or f"{self.path}: {self.message}").replace("{field}", field)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class StructureError(ValueError):
    """An object does not have the shape of its kind; `faults` holds all that is wrong, in the order of the input."""

    def __init__(self, faults: Iterable[FieldFault], api_version: str = "", kind: str = "") -> None:
        self.faults = tuple(faults)
        self.api_version = api_version
        self.kind = kind
        super().__init__("; ".join(str(fault) for fault in self.faults))

    def under(self, step: str, struct: str = "") -> list[FieldFault]:
        """The faults as seen one level higher, below `step` (a field, or an index in brackets)."""
        return [
            attrs.evolve(fault, path=join_path(step, fault.path), struct=fault.struct or struct)
            for fault in self.faults
        ]

    def of_kind(self, api_version: str, kind: str) -> StructureError:
        """The same error, with the kind it is about."""
        return StructureError(self.faults, api_version, kind)

    @property
    def api_message(self) -> str:
        """What the API answers (400 BadRequest): Kubernetes' decoder stops at the first fault, and so does this text."""
        version = self.api_version.rpartition("/")[2]
        said = self.faults[0].decoder_message
        if not self.kind:
            return said
        return f'{self.kind} in version "{version}" cannot be handled as a {self.kind}: {said}'


def join_path(parent: str, child: str) -> str:
    """Join two paths: a dot before a field, none before an index."""
    if not parent or not child:
        return parent or child
    return parent + child if child.startswith("[") else f"{parent}.{child}"


def show(value: object) -> str:
    """A value as JSON, cut to what fits into a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def type_fault(path: str, value: object, expected: str) -> FieldFault:
    """The fault of a value of the wrong type; `expected` is Go's name of the right one."""
    found = next((name for kind, name in _GO_NAMES if isinstance(value, kind)), "value")
    named = {"array": "a list", "object": "a map", "int": "an integer", "bool": "a boolean"}
    message = f"{show(value)} must be {named.get(expected, f'a {expected}')}"
    if expected == "string" and found in {"bool", "number"}:
        message += f', in quotes: "{show(value)}"'
    decoder = f"json: cannot unmarshal {found} into Go struct field {{field}} of type {expected}"
    return FieldFault(path=path, message=message, decoder=decoder)
