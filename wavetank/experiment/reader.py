"""What the readers of an experiment's parts have in common: its document, its files, and how a fault is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs

from engine import (
    DurationError,
    Json,
    ManifestError,
    QuantityError,
    Scheme,
    SelectorError,
    UnknownKind,
    YamlDocument,
    load_manifests_text,
    parse_duration,
)
from wavetank.errors import BadInput
from wavetank.experiment.validate import Path as FieldPath
from wavetank.experiment.validate import field_path

T = TypeVar("T")
Map = dict[str, Json]


@attrs.define
class Reader:
    """One experiment file that has the right shape; every fault found in it is one line: FILE:LINE: field.path: what, allowed."""

    document: YamlDocument
    folder: str
    """Where the file lies; "" for one restored from a log's header."""
    read: Callable[[str], str]
    """The text of a file that the experiment names. Raises BadInput."""
    texts: dict[str, str]
    """All texts read so far: they become part of the experiment."""
    scheme: Scheme

    def shown(self, name: str) -> str:
        """A file's name as the user would open it."""
        return str(Path(self.folder) / name) if self.folder else name

    def line(self, path: FieldPath) -> int:
        """The line of a field."""
        return self.document.line(field_path(path))

    def where(self, path: FieldPath) -> str:
        """FILE:LINE: field.path"""
        place = f"{self.document.source}:{self.line(path)}"
        return f"{place}: {field_path(path)}" if path else place

    def fault(self, path: FieldPath, message: str) -> BadInput:
        """The error of what is wrong at a field."""
        return BadInput(f"{self.where(path)}: {message}")

    def parse(self, path: FieldPath, parse: Callable[[str], T], value: Json) -> T:
        """A text read by the code that knows its form. Raises BadInput."""
        try:
            return parse(str(value))
        except (DurationError, QuantityError, SelectorError, UnknownKind, ValueError) as error:
            raise self.fault(path, str(error)) from None

    def seconds(self, path: FieldPath, holder: Map, key: str, default: float) -> float:
        """The duration `holder[key]`, which lies at `path`."""
        return self.parse(path, parse_duration, holder[key]) if key in holder else default

    def check_manifest(self, path: FieldPath, name: str) -> None:
        """Read the manifest now, so that what is wrong in it is said before anything runs."""
        if name not in self.texts:
            try:
                self.read(name)
            except BadInput as error:
                raise self.fault(path, f"cannot read {error}") from None
        try:
            load_manifests_text(self.read(name), self.shown(name), self.scheme)
        except ManifestError as error:
            raise BadInput(str(error)) from None
