"""Reads the method of an experiment: what is done to the cluster, and when."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from engine import Json, parse_duration, parse_label_selector
from wavetank.experiment.model import (
    Action,
    ApplyManifest,
    CordonNode,
    CrashNode,
    DeleteObjects,
    NodeTarget,
    PartitionNode,
    PauseKubelet,
    RestartNode,
    RestartReconciler,
    ScaleDeployment,
    Step,
)
from wavetank.experiment.reader import Map, Reader
from wavetank.experiment.steady_state import check_node
from wavetank.experiment.validate import Path as FieldPath


def read_method(
    reader: Reader, steps: list[Map], nodes: Collection[str], reconcilers: Sequence[str]
) -> list[Step]:
    """The steps in the file's order. Raises BadInput."""
    found = []
    for index, step in enumerate(steps):
        path: FieldPath = ("spec", "method", index)
        at = reader.parse((*path, "at"), parse_duration, step["at"])
        kind = next(key for key in step if key != "at")
        action = _action(reader, (*path, kind), kind, step[kind], reconcilers)
        target = getattr(action, "node", None)
        if isinstance(target, NodeTarget) and target.name:
            check_node(reader, (*path, kind, "name"), target.name, nodes)
        elif isinstance(target, str):
            check_node(reader, (*path, kind, "node"), target, nodes)
        found.append(Step(at=at, action=action, where=reader.where((*path, kind))))
    return found


def _action(  # noqa: PLR0911 - one return a case
    reader: Reader, path: FieldPath, kind: str, value: Json, reconcilers: Sequence[str]
) -> Action:
    if isinstance(value, str):
        reader.check_manifest(path, value)
        return ApplyManifest(file=value)
    options = cast("Map", value)
    node = NodeTarget(
        name=str(options.get("name", "")), busiest=bool(options.get("busiest", False))
    )
    namespace = str(options.get("namespace", "default"))
    match kind:
        case "crashNode":
            return CrashNode(node=node)
        case "restartNode":
            return RestartNode(
                node=node, containers="kept" if options.get("containers") == "kept" else "lost"
            )
        case "partitionNode":
            return PartitionNode(
                node=node, seconds=reader.seconds((*path, "for"), options, "for", 0)
            )
        case "pauseKubelet":
            return PauseKubelet(
                node=node, seconds=reader.seconds((*path, "for"), options, "for", 0)
            )
        case "scale":
            return ScaleDeployment(
                name=str(options["deployment"]),
                replicas=cast("int", options["replicas"]),
                namespace=namespace,
            )
        case "delete":
            return _delete(reader, path, options, namespace)
        case "restartReconciler":
            name = str(options["name"])
            if name not in reconcilers:
                what = f"no reconciler is called {name!r}; allowed: {', '.join(reconcilers)}"
                raise reader.fault((*path, "name"), what)
            return RestartReconciler(name=name)
        case _:
            return CordonNode(node=str(options["node"]), unschedulable=kind == "cordon")


def _delete(reader: Reader, path: FieldPath, options: Map, namespace: str) -> DeleteObjects:
    reader.parse((*path, "kind"), reader.scheme.resource_of, options["kind"])
    selector = str(options.get("selector", ""))
    reader.parse((*path, "selector"), parse_label_selector, selector)
    if ("name" in options) == ("selector" in options):
        raise reader.fault(path, "exactly one of these is needed: name, selector")
    return DeleteObjects(
        kind=str(options["kind"]),
        namespace=namespace,
        name=str(options.get("name", "")),
        selector=selector,
    )
