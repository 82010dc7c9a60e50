"""The catalogue: every fault there is, by its name."""

from __future__ import annotations

from typing import Final

from engine import Json
from wavetank.errors import BadInput
from wavetank.faults import (
    kubelet,
    link,
    node,
    node_object,
    process,
    server,
    store,
    watch,
    workload,
)
from wavetank.faults.model import FaultType, TargetKind
from wavetank.faults.plan import Plan, PlannedFault

CATALOGUE: Final[dict[str, FaultType]] = {
    kind.name: kind
    for kind in (
        *node.FAULTS,
        *node_object.FAULTS,
        *kubelet.FAULTS,
        *workload.FAULTS,
        *process.FAULTS,
        *store.FAULTS,
        *link.FAULTS,
        *server.FAULTS,
        *watch.FAULTS,
    )
}
"""By name, family after family."""

FAMILIES: Final[tuple[str, ...]] = tuple(dict.fromkeys(each.family for each in CATALOGUE.values()))


def fault_type(name: str, where: str) -> FaultType:
    """The fault of this name. Raises BadInput."""
    kind = CATALOGUE.get(name)
    if kind is None:
        family = name.partition(".")[0]
        near = [each for each in CATALOGUE if each.startswith(f"{family}.")] or list(CATALOGUE)
        raise BadInput(f"{where}: unknown fault {name!r}; allowed: {', '.join(near)}")
    return kind


def checked_fault(planned: PlannedFault, where: str) -> tuple[FaultType, dict[str, Json]]:
    """The type of a planned fault and all its parameters. Raises BadInput for whatever can be wrong without a cluster."""
    kind = fault_type(planned.type, f"{where}type")
    if planned.seconds is not None and not kind.lasting:
        raise BadInput(f"{where}seconds: {kind.name} takes no time: leave its duration out")
    if bool(planned.target) is (kind.target is TargetKind.NOTHING):
        allowed = kind.target.value
        raise BadInput(f"{where}target: {kind.name}: {planned.target!r}; allowed: {allowed}")
    return kind, kind.checked(planned.parameters, f"{where}parameters")


def check_plan(plan: Plan, where: str) -> None:
    """Raises BadInput for a fault of the plan that cannot be struck on any cluster; `where` stands in front."""
    for index, fault in enumerate(plan.faults):
        checked_fault(fault, f"{where}[{index}].")
