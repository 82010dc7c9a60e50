"""The content of an object without what is time, and with names and uids told by whose they are.

Two runs that came to the same end by ways of different lengths differ in moments, in counters of writes, and in which of several equals was
taken; in nothing else. So here
- a moment becomes the word `time`: that there is one still counts, which one does not;
- `resourceVersion`, `generation` and `observedGeneration` count writes, and are left out;
- a uid becomes the object's name, with `(former)` when that object is gone: a reference to a predecessor of the same name differs;
- a drawn name becomes what it was drawn for, `web-7d4b9c-*`: pods of one ReplicaSet are equals;
- where a pod runs, and the addresses that follow from that, become `some`: a node among those that fit; what nodes have pulled is left out,
  and so is how often a node has started a container: that is its history, and no reconciler's work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

from engine import Json, KubeObject, Node, Pod, Scheme

Leaves = Mapping[str, Json]
"""The leaves of an object by their paths, as `status.conditions[0].type`."""

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_COUNTERS: Final = ("resourceVersion", "generation", "observedGeneration", "managedFields")
_PLACE: Final = ("nodeName", "hostIP", "hostIPs", "podIP", "podIPs", "containerID")
"""What follows from where a pod was placed."""
_HISTORY: Final = re.compile(
    r"status\.(images\b|(initC|c)ontainerStatuses\[\w+\]\.(restartCount|lastState))"
)
"""Of what a node has been through."""


def leaves(document: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """The leaves of a document with their paths, moments made equal and counters of writes left out."""
    if isinstance(document, dict) and document:
        for name in sorted(document):
            if name not in _COUNTERS:
                yield from leaves(document[name], f"{path}.{name}" if path else name)
    elif isinstance(document, list) and document:
        for name, each in zip(_names(document), document, strict=True):
            yield from leaves(each, f"{path}[{name}]")
    elif isinstance(document, str) and _TIME.fullmatch(document):
        yield path, "time"
    else:
        yield path, document


def _names(items: list[Json]) -> list[str]:
    """What the items of a list are called: conditions by their type, owners by their name, where that tells them apart; all others by their place."""
    for mark, key in (("type", "type"), ("uid", "name")):
        names = [each.get(key) for each in items if isinstance(each, dict) and mark in each]
        texts = [name for name in names if isinstance(name, str)]
        if len(dict.fromkeys(texts)) == len(items):
            return texts
    return [str(index) for index in range(len(items))]


def content(obj: KubeObject | None, scheme: Scheme) -> dict[str, Json]:
    """The leaves of an object; none of one that is not there."""
    return {} if obj is None else dict(leaves(scheme.to_dict(obj)))


def canonical(obj: KubeObject, scheme: Scheme, known: Mapping[str, str]) -> dict[str, Json]:
    """The leaves of an object, as the module's text says; `known` tells uids and drawn names by whose they are."""
    document = scheme.to_dict(obj)
    if isinstance(obj, Pod):
        document = cast("dict[str, Json]", _placed(document))
    found: dict[str, Json] = {}
    for path, value in leaves(document):
        if isinstance(obj, Node | Pod) and _HISTORY.match(path):
            continue
        found[path] = known.get(value, value) if isinstance(value, str) else value
    return found


def _placed(document: Json) -> Json:
    if isinstance(document, dict):
        return {
            name: "some" if name in _PLACE and value else _placed(value)
            for name, value in document.items()
        }
    if isinstance(document, list):
        return [_placed(each) for each in document]
    return document
