"""Reads the method of an experiment: what is done to the cluster, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from engine import Json, parse_duration, parse_label_selector
from reconcilers import default_reconcilers
from sim_nodes import SimulatedNode
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
from wavetank.experiment.validate import Path as FieldPath
from wavetank.experiment.validate import field_path


def method(reader: Reader, steps: list[Map], nodes: tuple[SimulatedNode, ...]) -> list[Step]:
    found = []
    known = {node.name: None for node in nodes}
    for index, step in enumerate(steps):
        path: FieldPath = ("spec", "method", index)
        at = reader.parse((*path, "at"), parse_duration, step["at"])
        kind = next(key for key in step if key != "at")
        action = self._action((*path, kind), kind, step[kind])
        target = getattr(action, "node", None)
        name = target.name if isinstance(target, NodeTarget) else target
        if isinstance(name, str) and name and name not in known:
            allowed = ", ".join(known)
            key = "node" if isinstance(target, str) else "name"
            raise reader.fault(
                (*path, kind, key), f"no node is called {name!r}; allowed: {allowed}"
            )
        line = self.document.line(field_path(path))
        found.append(Step(at=at, action=action, line=line))
    return found

def action(reader: Reader, path: FieldPath, kind: str, value: Json) -> Action:  # noqa: PLR0911 - one return a case
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
            return self._delete(path, options, namespace)
        case "restartReconciler":
            return RestartReconciler(name=str(options["name"]))
        case _:
            return CordonNode(node=str(options["node"]), unschedulable=kind == "cordon")

def delete(reader: Reader, path: FieldPath, options: Map, namespace: str) -> DeleteObjects:
    reader.parse((*path, "kind"), self.scheme.resource_of, options["kind"])
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
