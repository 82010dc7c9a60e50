"""Reads the checks of an experiment's steady state, and its invariants."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from engine import parse_label_selector
from wavetank.experiment.code import read_code
from wavetank.experiment.model import Check, DeploymentAvailable, NodeReady, PodsReady, PythonCheck
from wavetank.experiment.reader import Map, Reader
from wavetank.experiment.validate import Path as FieldPath
from wavetank.invariants import INVARIANTS


def read_checks(reader: Reader, given: list[Map], nodes: Collection[str]) -> tuple[Check, ...]:
    """The checks in order. Raises BadInput."""
    found: list[Check] = []
    for index, entry in enumerate(given):
        (kind, value), *_ = entry.items()
        path: FieldPath = ("spec", "steadyState", index, kind)
        if kind == "python":
            found.append(_python_check(reader, path, str(value)))
        else:
            found.append(_check(reader, path, kind, cast("Map", value), nodes))
    return tuple(found)


def _check(
    reader: Reader, path: FieldPath, kind: str, options: Map, nodes: Collection[str]
) -> Check:
    match kind:
        case "deploymentAvailable":
            return DeploymentAvailable(
                name=str(options["name"]), namespace=str(options.get("namespace", "default"))
            )
        case "podsReady":
            reader.parse((*path, "selector"), parse_label_selector, options["selector"])
            namespace = options.get("namespace")
            return PodsReady(
                selector=str(options["selector"]),
                count=cast("int", options["count"]),
                namespace=None if namespace is None else str(namespace),
            )
        case _:
            name = str(options["name"])
            check_node(reader, (*path, "name"), name, nodes)
            return NodeReady(name=name)


def check_node(reader: Reader, path: FieldPath, name: str, nodes: Collection[str]) -> None:
    """Raises BadInput when no node has that name."""
    if name not in nodes:
        raise reader.fault(path, f"no node is called {name!r}; allowed: {', '.join(nodes)}")


def _python_check(reader: Reader, path: FieldPath, target: str) -> PythonCheck:
    """A check of the user's own; its file, when it lies beside the experiment, becomes part of it."""
    read_code(reader, target)
    return PythonCheck(target=target, where=reader.where(path))


def read_invariants(reader: Reader, names: list[str]) -> tuple[str, ...]:
    """The names as given. Raises BadInput for one that is none of ours."""
    for index, name in enumerate(names):
        if name not in INVARIANTS:
            allowed = ", ".join(INVARIANTS)
            path: FieldPath = ("spec", "invariants", index)
            raise reader.fault(path, f"unknown invariant {name!r}; allowed: {allowed}")
    return tuple(names)
