"""Reads the cluster of an experiment: its nodes, its settings and how its images behave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import attrs

from engine import (
    ZERO,
    DurationRange,
    Json,
    Quantity,
    Settings,
    Taint,
    field_name_outside,
    parse_duration,
    parse_version,
)
from sim_nodes import ImageBehaviour, SimulatedNode
from wavetank.experiment.reader import Map, Reader
from wavetank.experiment.validate import Path as FieldPath

DEFAULT_CAPACITY: Final[Mapping[str, Json]] = {"cpu": "4", "memory": "8Gi", "pods": "110"}
"""What a node group without `capacity` has, and what one leaves out of it."""


def read_nodes(reader: Reader, groups: list[Map]) -> tuple[SimulatedNode, ...]:
    """The nodes of all groups, in order. Raises BadInput."""
    nodes: list[SimulatedNode] = []
    names: dict[str, None] = {}
    for index, group in enumerate(groups):
        path: FieldPath = ("spec", "cluster", "nodes", index)
        capacity = _capacity(reader, (*path, "capacity"), cast("Map", group.get("capacity", {})))
        taints = tuple(
            Taint(
                key=str(taint["key"]),
                value=str(taint.get("value", "")),
                effect=str(taint["effect"]),
            )
            for taint in cast("list[Map]", group.get("taints", []))
        )
        for number in range(cast("int", group["count"])):
            name = f"{group['prefix']}-{number}"
            if name in names:
                raise reader.fault((*path, "prefix"), f"node {name} is in another group already")
            names[name] = None
            nodes.append(
                SimulatedNode(
                    name=name,
                    zone=str(group.get("zone", "")),
                    region=str(group.get("region", "")),
                    capacity=capacity,
                    labels=cast("dict[str, str]", group.get("labels", {})),
                    taints=taints,
                )
            )
    return tuple(nodes)


def _capacity(reader: Reader, path: FieldPath, given: Map) -> dict[str, Quantity]:
    capacity = {}
    for name, value in {**DEFAULT_CAPACITY, **given}.items():
        amount = reader.parse((*path, name), Quantity.parse, value)
        if amount < ZERO:
            raise reader.fault((*path, name), f"{value} is negative; allowed: 0 or more")
        capacity[name] = amount
    return capacity


def read_settings(reader: Reader, given: Map) -> Settings:
    """The settings of the version that `compat` names, with what is given in their place. Raises BadInput."""
    path: FieldPath = ("spec", "cluster", "settings")
    settings = Settings()
    if "compat" in given:
        if not isinstance(given["compat"], str):
            what = f'{given["compat"]} is a number; allowed: a version in quotes, such as "1.30"'
            raise reader.fault((*path, "compat"), what)
        version = reader.parse((*path, "compat"), _version, given["compat"])
        settings = Settings.for_version(version)
    fields = {field_name_outside(f.name): f for f in attrs.fields(Settings)}
    changes: dict[str, object] = {}
    for name, value in given.items():
        if name == "compat":
            continue
        field = fields.get(name)
        if field is None:
            allowed = ", ".join(fields)
            raise reader.fault((*path, name), f"unknown setting; allowed: {allowed}")
        default = getattr(settings, field.name)
        changes[field.name] = _setting(reader, (*path, name), default, value)
    return attrs.evolve(settings, **changes)  # type: ignore[arg-type]  # checked by _setting


def _setting(reader: Reader, path: FieldPath, default: object, value: Json) -> object:
    """A value of the type that the setting's default has: durations may be written as such."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise reader.fault(path, f"{value!r} is not allowed; allowed: true or false")
        return value
    if isinstance(default, str):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise reader.fault(path, f"{value!r} is not allowed; allowed: a number or a duration")
    if isinstance(value, str):
        value = reader.parse(path, parse_duration, value)
    if value < 0:
        raise reader.fault(path, f"{value!r} is not allowed; allowed: 0 or more")
    if isinstance(default, int):
        if value != int(value):
            raise reader.fault(path, f"{value!r} is not allowed; allowed: a whole number")
        return int(value)
    return float(value)


def read_images(reader: Reader, rules: list[Map]) -> tuple[ImageBehaviour, ...]:
    """The rules in order. Raises BadInput."""
    found = []
    for index, rule in enumerate(rules):
        path: FieldPath = ("spec", "images", index)
        options: dict[str, object] = {}
        for key, field in _RANGES.items():
            if key in rule:
                options[field] = reader.parse((*path, key), DurationRange.parse, rule[key])
        if "memory" in rule:
            options["memory"] = reader.parse((*path, "memory"), Quantity.parse, rule["memory"])
        if "exitCode" in rule:
            options["exit_code"] = rule["exitCode"]
        found.append(ImageBehaviour(match=str(rule["match"]), **options))  # type: ignore[arg-type]  # by the schema
    return tuple(found)


_RANGES: Final = {"pull": "pull", "start": "start", "readyAfter": "ready_after", "runs": "runs"}


def _version(text: str) -> str:
    try:
        parse_version(text)
    except ValueError:
        raise ValueError(f"{text!r} is no Kubernetes version; allowed: such as 1.20") from None
    return text
