"""Reads the faults of an experiment."""

from __future__ import annotations

from typing import cast

from engine import DurationRange, Json, parse_duration
from wavetank.experiment.reader import Map, Reader
from wavetank.experiment.schema import TARGETS
from wavetank.experiment.validate import Path as FieldPath
from wavetank.experiment.validate import faults_of_part, field_path
from wavetank.faults.plan import After
from wavetank.faults.request import FaultRequest, Mode, TargetRequest


def read_faults(reader: Reader, given: list[Map]) -> tuple[FaultRequest, ...]:
    """The requests in order. Raises BadInput for whatever can be wrong without a cluster."""
    found = []
    for index, entry in enumerate(given):
        path: FieldPath = ("spec", "faults", index)
        if "at" in entry and "after" in entry:
            raise reader.fault(path, "at and after are both given; allowed: one of them")
        request = FaultRequest(
            type=str(entry["type"]),
            target=_target(reader, (*path, "target"), entry.get("target", {})),
            at=_trigger(reader, path, entry),
            lasts=reader.parse((*path, "for"), DurationRange.parse, entry["for"])
            if "for" in entry
            else None,
            parameters=cast("Map", entry.get("parameters", {})),
            where=f"{reader.document.source}:{reader.line(path)}: {field_path(path)}",
        )
        request.checked()
        found.append(request)
    return tuple(found)


def _target(reader: Reader, path: FieldPath, value: Json) -> TargetRequest:
    if isinstance(value, str):
        return TargetRequest(names=(value,))
    for where, what in faults_of_part(TARGETS, value):
        raise reader.fault((*path, *where), what)
    options = cast("Map", value)
    return TargetRequest(
        names=tuple(cast("list[str]", options.get("names", []))),
        selector=str(options.get("selector", "")),
        zone=str(options.get("zone", "")),
        mode=Mode(options.get("mode", "one")),
        value=cast("float", options.get("value", 1)),
    )


def _trigger(reader: Reader, path: FieldPath, entry: Map) -> DurationRange | After:
    if "after" not in entry:
        return reader.parse((*path, "at"), DurationRange.parse, entry.get("at", "0s"))
    after = cast("Map", entry["after"])
    reader.parse((*path, "after", "kind"), reader.scheme.resource_of, after["kind"])
    return After(
        kind=str(after["kind"]),
        change=str(after.get("change", "created")),
        occurrence=cast("int", after.get("occurrence", 1)),
        namespace=str(after.get("namespace", "")),
        name=str(after.get("name", "")),
        seconds=reader.parse((*path, "after", "wait"), parse_duration, after.get("wait", "0s")),
    )
