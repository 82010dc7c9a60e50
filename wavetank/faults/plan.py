"""Plans: faults made concrete, so that they can be printed, stored, edited, shrunk and struck again.

A request (`wavetank.faults.request`) may leave its target and its time to chance. Before a run every choice is made, by labelled draws of
the seed, and what is left is a plan: a list of faults, each with one target, one trigger and one duration. A plan draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, cast

import attrs

from engine import Json
from wavetank.errors import BadInput

CHANGES: Final = ("created", "updated", "deleted")


@attrs.frozen(kw_only=True)
class At:
    """A moment of the run, in seconds of cluster time from the settled start."""

    seconds: float

    def __str__(self) -> str:
        return f"at {self.seconds:g}s"


@attrs.frozen(kw_only=True)
class After:
    """When something happens: the n-th time, counted from the settled start, that an object so described changes so."""

    kind: str
    """As the scheme knows it: Pod, ReplicaSet, ..."""
    change: str = "created"
    """created, updated or deleted."""
    occurrence: int = 1
    """1 is the first time."""
    namespace: str = ""
    """Empty: in any."""
    name: str = ""
    """Empty: of any name."""
    seconds: float = 0.0
    """How long after it, in seconds of cluster time."""

    def __str__(self) -> str:
        which = f" {self.namespace}/{self.name}" if self.name else ""
        later = f" + {self.seconds:g}s" if self.seconds else ""
        return f"after {self.kind}{which} {self.change} #{self.occurrence}{later}"


Trigger: TypeAlias = At | After


@attrs.frozen(kw_only=True)
class PlannedFault:
    """One fault, all of it decided."""

    id: str
    """Names it in its plan."""
    type: str
    """A name of the catalogue: node.crash, link.delay, ..."""
    target: str = ""
    """The concrete target: a node, a process, NAMESPACE/NAME of a pod, ...; empty for what there is only one of."""
    at: Trigger
    seconds: float | None = None
    """How long it lasts; None is until everything is healed, and says nothing for a fault that takes no time."""
    parameters: Mapping[str, Json] = attrs.field(factory=dict)

    def __str__(self) -> str:
        lasting = "" if self.seconds is None else f" for {self.seconds:g}s"
        options = "".join(f" {name}={value}" for name, value in self.parameters.items())
        target = f" {self.target}" if self.target else ""
        return f"{self.id}: {self.type}{target} {self.at}{lasting}{options}"

    def to_json(self) -> dict[str, Json]:
        """As in a plan's file."""
        if isinstance(self.at, At):
            at: Json = self.at.seconds
        else:
            default = After(kind=self.at.kind)
            fields: dict[str, Json] = attrs.asdict(self.at)
            given = {
                name: value
                for name, value in fields.items()
                if name == "kind" or value != getattr(default, name)
            }
            at = {"after": given}
        json: dict[str, Json] = {"id": self.id, "type": self.type, "at": at}
        if self.target:
            json["target"] = self.target
        if self.seconds is not None:
            json["seconds"] = self.seconds
        if self.parameters:
            json["parameters"] = dict(self.parameters)
        return json


@attrs.frozen
class Plan:
    """What is done to a cluster in one run. The order decides between faults of one moment."""

    faults: tuple[PlannedFault, ...] = ()

    def __len__(self) -> int:
        return len(self.faults)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults) or "no faults"

    def keeping(self, ids: Iterable[str]) -> Plan:
        """The plan with these faults alone."""
        kept = set(ids)
        return Plan(tuple(fault for fault in self.faults if fault.id in kept))

    def to_json(self) -> list[Json]:
        """As in a plan's file."""
        return [fault.to_json() for fault in self.faults]


def plan_from_json(document: Json, where: str = "plan") -> Plan:
    """The plan of a file; `where` stands in front of what is wrong with it. Raises BadInput."""
    if not isinstance(document, list):
        raise BadInput(f"{where}: must be a list of faults")
    faults = tuple(_fault(each, f"{where}[{index}]") for index, each in enumerate(document))
    ids: set[str] = set()
    for index, fault in enumerate(faults):
        if fault.id in ids:
            raise BadInput(f"{where}[{index}].id: {fault.id!r} is there twice")
        ids.add(fault.id)
    return Plan(faults)


_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "id": (str,),
    "type": (str,),
    "target": (str,),
    "at": (int, float, dict),
    "seconds": (int, float),
    "parameters": (dict,),
}
_AFTER_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "kind": (str,),
    "change": (str,),
    "occurrence": (int,),
    "namespace": (str,),
    "name": (str,),
    "seconds": (int, float),
}


def _fault(document: Json, where: str) -> PlannedFault:
    fields = _checked(document, _FIELDS, ("id", "type", "at"), where)
    seconds = cast("float | None", fields.get("seconds"))
    if seconds is not None and seconds < 0:
        raise BadInput(f"{where}.seconds: {seconds:g} is negative")
    return PlannedFault(
        id=str(fields["id"]),
        type=str(fields["type"]),
        target=str(fields.get("target", "")),
        at=_trigger(fields["at"], f"{where}.at"),
        seconds=seconds,
        parameters=cast("dict[str, Json]", fields.get("parameters", {})),
    )


def _trigger(document: Json, where: str) -> Trigger:
    if isinstance(document, int | float):
        if document < 0:
            raise BadInput(f"{where}: {document:g} is negative")
        return At(seconds=float(document))
    outer = _checked(document, {"after": (dict,)}, ("after",), where)
    fields = _checked(outer["after"], _AFTER_FIELDS, ("kind",), f"{where}.after")
    trigger = After(
        kind=str(fields["kind"]),
        change=str(fields.get("change", "created")),
        occurrence=cast("int", fields.get("occurrence", 1)),
        namespace=str(fields.get("namespace", "")),
        name=str(fields.get("name", "")),
        seconds=float(cast("float", fields.get("seconds", 0.0))),
    )
    if trigger.change not in CHANGES:
        raise BadInput(f"{where}.after.change: {trigger.change!r}; allowed: {', '.join(CHANGES)}")
    if trigger.occurrence < 1:
        raise BadInput(f"{where}.after.occurrence: {trigger.occurrence} is under 1")
    return trigger


def _checked(
    document: Json, known: Mapping[str, tuple[type, ...]], needed: tuple[str, ...], where: str
) -> dict[str, Json]:
    """The fields of a mapping, their names and types checked."""
    if not isinstance(document, dict):
        raise BadInput(f"{where}: must be a mapping")
    for name, value in document.items():
        types = known.get(name)
        if types is None:
            raise BadInput(f"{where}: unknown field {name!r}; allowed: {', '.join(known)}")
        if not isinstance(value, types) or isinstance(value, bool):
            allowed = " or ".join(each.__name__ for each in types)
            raise BadInput(f"{where}.{name}: must be {allowed}, is {type(value).__name__}")
    for name in needed:
        if name not in document:
            raise BadInput(f"{where}: {name} is missing")
    return document
