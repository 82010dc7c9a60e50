"""Manifests: YAML or JSON text into objects, with the line of everything that is wrong.

YAML is read as kubectl reads it (version 1.1 as Go's yaml.v2 has it): `yes`, `on` and `0644` mean what they mean there, while dates and
`12:30` stay text. A key that stands twice in a map is an error. Every error is one line:

    shop.yaml:12: spec.replicas: "three" must be an integer
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from engine.objects.base import Json
from engine.objects.faults import FieldFault, StructureError, join_path
from engine.objects.meta import KubeObject
from engine.objects.scheme import Scheme, UnknownKind

if TYPE_CHECKING:
    import yaml

Manifests: TypeAlias = (
    "str | os.PathLike[str] | Mapping[str, Json] | KubeObject | Iterable[Manifests]"
)
"""A path, YAML or JSON text, an object as data or as an object, or several of these."""

_MAX_NODES: Final = 300_000
"""Values in one document, those behind aliases counted at each use: a few lines of aliases can stand for billions."""


class ManifestError(ValueError):
    """A manifest cannot be used; the text is one line, `FILE:LINE: field.path: what is wrong, what is allowed`.

    `faults` has all of them as (line, path, message); the text shows the first and the number of the others.
    """

    def __init__(self, source: str, faults: Sequence[tuple[int, str, str]]) -> None:
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: fault[0]))
        first = self.lines[0]
        super().__init__(first if len(faults) == 1 else f"{first} (and {len(faults) - 1} more)")

    @property
    def lines(self) -> tuple[str, ...]:
        """Every fault as a line of its own."""
        return tuple(
            ": ".join(
                part
                for part in (f"{self.source}:{line}" if line else self.source, path, message)
                if part
            )
            for line, path, message in self.faults
        )


@attrs.frozen(kw_only=True)
class YamlDocument:
    r"""One document as plain data, and where each value of it stands.

    >>> document = load_yaml("spec:\\n  replicas: 3\\n", "f.yaml")[0]
    >>> document.line("spec.replicas"), document.line("spec.paused"), document.line("")
    (2, 1, 1)
    """

    source: str
    data: Json
    _node: yaml.Node = attrs.field(repr=False, eq=False, alias="node")

    def line(self, path: str) -> int:
        """The line, from 1, of the value at a path such as `spec.containers[0].image` or `metadata.labels[app]`.

        Of a path that does not exist, the line of the nearest value around it.
        """
        node, line = self._node, self._node.start_mark.line
        for step in _steps(path):
            child = _child(node, step)
            if child is None:
                break
            node, line = child
        return line + 1

    def error(self, path: str, message: str) -> ManifestError:
        """The error of what is wrong at a path of this document."""
        return ManifestError(self.source, [(self.line(path), path, message)])


@attrs.frozen(kw_only=True)
class Sourced:
    """An object and where it came from: `source` is "" and `line` 0 for what came as objects."""

    object: KubeObject
    source: str = ""
    line: int = 0


# ---- YAML ------------------------------------------------------------------------------------

_STEP: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


def _steps(path: str) -> Iterator[str]:
    return (match[1] if match[2] is None else match[2] for match in _STEP.finditer(path))


def _kind(node: yaml.Node) -> str:
    """What a node is: scalar, sequence or mapping."""
    kind: str = getattr(node, "id")  # noqa: B009 -- the type stubs do not know it
    return kind


def _child(node: yaml.Node, step: str) -> tuple[yaml.Node, int] | None:
    """The node below, and its line: that of the key in a map, of the item in a list."""
    if _kind(node) == "sequence":
        if not step.isdecimal() or int(step) >= len(node.value):
            return None
        item = node.value[int(step)]
        return item, item.start_mark.line
    if _kind(node) == "mapping":
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line
    return None


_FALSE: Final = "n|N|no|No|NO|false|False|FALSE|off|Off|OFF"
_TRUE: Final = "y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON"
_SCALARS: Final = (
    # tag, pattern, first characters: Go yaml.v2, resolve.go
    ("bool", re.compile(f"{_TRUE}|{_FALSE}"), "yYnNtTfFoO"),
    ("null", re.compile("~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("int", re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*)"), "-+0123456789"),
    (
        "float",
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
    ("merge", re.compile("<<"), "<"),
)


@cache
def _loader() -> type[yaml.SafeLoader]:
    """The loader class, with the scalars of Go's yaml.v2. PyYAML is imported when first needed."""
    import yaml  # noqa: PLC0415 -- importing it takes 20 ms, and a cluster made of objects needs none

    base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc,valid-type]  # one of two bases, chosen at import
        """Resolves scalars as Go's yaml.v2 does."""

        yaml_implicit_resolvers: dict[str, list[object]] = {}  # noqa: RUF012 -- PyYAML's name

    for tag, pattern, first in _SCALARS:
        anchored = re.compile(f"(?:{pattern.pattern})\\Z")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", anchored, list(first))
    return Loader


def load_yaml(text: str, source: str) -> list[YamlDocument]:
    """Read all documents of a YAML or JSON text, empty ones left out. Raises ManifestError."""
    import yaml  # noqa: PLC0415 -- see _loader

    if text.lstrip()[:1] in {"{", "["}:
        # JSON allows tabs between values, YAML does not; within a JSON string neither does.
        text = text.replace("\t", " ")
    documents: list[YamlDocument] = []
    try:
        for node in yaml.compose_all(text, Loader=_loader()):
            if node is None:
                continue
            data = _Constructor(source).construct(node, "")
            if data is not None:
                documents.append(YamlDocument(source=source, data=data, node=node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"invalid YAML: {error.problem or error.context}"
        raise ManifestError(source, [(mark.line + 1 if mark else 0, "", message)]) from None
    except RecursionError:
        raise ManifestError(source, [(0, "", "nested too deep, or an alias of itself")]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ManifestError(source, [(line, "", f"invalid YAML: {error.reason}")]) from None
    return documents


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file. Raises ManifestError if it is missing or unreadable."""
    name = os.fspath(path)
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(name, [(0, "", error.strerror or str(error))]) from None
    except UnicodeDecodeError as error:
        raise ManifestError(
            name, [(0, "", f"not UTF-8 text: {error.reason} at byte {error.start}")]
        ) from None


class _Constructor:
    """Turns a document's nodes into data; counts them, and finds keys that stand twice."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0

    def fail(self, node: yaml.Node, path: str, message: str) -> ManifestError:
        return ManifestError(self.source, [(node.start_mark.line + 1, path, message)])

    def construct(self, node: yaml.Node, path: str) -> Json:
        self.count += 1
        if self.count > _MAX_NODES:
            raise self.fail(node, path, f"more than {_MAX_NODES} values, aliases followed")
        if _kind(node) == "mapping":
            return self.mapping(node, path)
        if _kind(node) == "sequence":
            return [self.construct(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        return self.scalar(node, path)

    def mapping(self, node: yaml.Node, path: str) -> Json:
        result: dict[str, Json] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if _kind(key_node) != "scalar":
                raise self.fail(key_node, path, "a key must be a string")
            if key_node.tag.endswith(":merge"):
                merged.append(value_node)
                continue
            key: str = key_node.value
            below = _below(path, key)
            if key in result:
                raise self.fail(key_node, below, f'the key "{key}" stands twice in this map')
            result[key] = self.construct(value_node, below)
        for value_node in merged:
            sources = value_node.value if _kind(value_node) == "sequence" else [value_node]
            for source in sources:
                found = self.construct(source, path)
                if not isinstance(found, dict):
                    raise self.fail(value_node, path, "<< must name a map or a list of maps")
                result = {**found, **result}
        return result

    def scalar(self, node: yaml.Node, path: str) -> Json:
        text: str = node.value
        tag = node.tag.rpartition(":")[2]
        if tag in {"str", "merge", "!"}:
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return text in _TRUE.split("|")
        try:
            if tag == "int":
                return _integer(text)
            if tag == "float":
                return _float(text)
        except ValueError:
            raise self.fail(node, path, f"{text} is no number") from None
        raise self.fail(node, path, f"the tag {node.tag} is not supported")


def _below(path: str, key: str) -> str:
    return join_path(path, f"[{key}]" if re.search(r"[.\[\]/]", key) else key)


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    unsigned = digits.lstrip("+-")
    if unsigned[:2] in {"0b", "0x", "0o"}:
        return int(digits, 0)
    if len(unsigned) > 1 and unsigned[0] == "0" and set(unsigned) <= set("01234567"):
        return int(digits, 8)
    return int(digits)


def _float(text: str) -> float:
    lowered = text.lower()
    if lowered.endswith((".inf", ".nan")):
        raise ValueError(text)
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


# ---- manifests -------------------------------------------------------------------------------


def load_manifests(source: Manifests, scheme: Scheme) -> list[Sourced]:
    """Read objects from a path, a text, data or objects; kind List is taken apart. Raises ManifestError.

    A string is a text if it has a line break or a `:` followed by a space, and else a path. A directory stands for its *.yaml, *.yml and *.json
    files in the order of their names, as with `kubectl apply -f`.
    """
    if isinstance(source, str) and not _is_text(source):
        source = Path(source)
    if isinstance(source, os.PathLike):
        return _load_path(Path(source), scheme)
    if isinstance(source, str):
        return load_manifests_text(source, "<text>", scheme)
    if isinstance(source, Mapping):
        return _load_data(source, scheme)
    if isinstance(source, Iterable):
        return [loaded for item in source for loaded in load_manifests(item, scheme)]
    return [Sourced(object=source)]


def _is_text(source: str) -> bool:
    return "\n" in source or ": " in source or source.lstrip().startswith("{")


def _load_path(path: Path, scheme: Scheme) -> list[Sourced]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml", ".json"})
        return [loaded for file in files for loaded in _load_path(file, scheme)]
    return load_manifests_text(read_text(path), str(path), scheme)


def load_manifests_text(text: str, source: str, scheme: Scheme) -> list[Sourced]:
    """Read objects from a text; `source` names it in errors. Raises ManifestError."""
    loaded: list[Sourced] = []
    faults: list[tuple[int, str, str]] = []
    for document in load_yaml(text, source):
        for path, item in _items(document.data):
            try:
                obj = _read(item, scheme)
            except StructureError as error:
                for fault in error.faults:
                    at = join_path(path, fault.path)
                    faults.append((document.line(at), at, fault.message))
            else:
                loaded.append(Sourced(object=obj, source=source, line=document.line(path)))
    if faults:
        raise ManifestError(source, faults)
    return loaded


def _load_data(data: Mapping[str, Json], scheme: Scheme) -> list[Sourced]:
    loaded: list[Sourced] = []
    faults: list[tuple[int, str, str]] = []
    for path, item in _items(dict(data)):
        try:
            loaded.append(Sourced(object=_read(item, scheme)))
        except StructureError as error:
            faults += [(0, join_path(path, fault.path), fault.message) for fault in error.faults]
    if faults:
        raise ManifestError("<data>", faults)
    return loaded


def _items(data: Json) -> Iterator[tuple[str, Json]]:
    """The objects of a document, each with its path: one, or those of a List."""
    if isinstance(data, dict) and str(data.get("kind", "")).endswith("List"):
        items = data.get("items")
        if isinstance(items, list):
            for index, item in enumerate(items):
                yield f"items[{index}]", item
            return
    yield "", data


def _read(data: Json, scheme: Scheme) -> KubeObject:
    """One object, with all that must hold before it can be sent. Raises StructureError."""
    if not isinstance(data, dict):
        message = f"{json.dumps(data)} is no object; a manifest is a map with apiVersion, kind and metadata"
        raise StructureError([FieldFault(path="", message=message)])
    try:
        obj = scheme.from_dict(data)
    except UnknownKind as error:
        known = ", ".join(sorted(r.kind for r in scheme.resources))
        hint = "" if error.near else f"; known are {known}"
        raise StructureError([FieldFault(path="kind", message=f"{error}{hint}")]) from None
    if not obj.metadata.name and not obj.metadata.generate_name:
        message = "Required value: name or generateName is required"
        raise StructureError([FieldFault(path="metadata.name", message=message)])
    return obj
