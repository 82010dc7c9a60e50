"""Requests: faults whose target, time or length may be left to chance, and how they become a plan.

Every choice is a labelled draw of the seed, keyed by the place of the request, so that one request more does not change what the others become.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import attrs

from engine import NO_TIME, Draws, DurationRange, Json, SelectorError, parse_label_selector
from wavetank.errors import BadInput
from wavetank.faults.catalogue import fault_type
from wavetank.faults.inventory import ZONE_LABEL, Inventory
from wavetank.faults.model import FaultType, TargetKind
from wavetank.faults.plan import After, At, Plan, PlannedFault, Trigger


class Mode(enum.Enum):
    """How many of those that match are struck."""

    ONE = "one"
    ALL = "all"
    FIXED = "fixed"
    PERCENT = "percent"


@attrs.frozen(kw_only=True)
class TargetRequest:
    """Whom a fault may strike: all that match, of which `mode` draws."""

    names: tuple[str, ...] = ()
    """Only these; empty: any."""
    selector: str = ""
    """Labels of nodes; empty: any."""
    zone: str = ""
    """Nodes of this zone; empty: of any."""
    mode: Mode = Mode.ONE
    value: float = 1
    """For `fixed` how many, at most as many as match; for `percent` how many of 100, rounded up."""

    def drawn(
        self, kind: FaultType, inventory: Inventory, draws: Draws, label: str, where: str
    ) -> list[str]:
        """The targets, in the order of the inventory. Raises BadInput when none matches."""
        matching = self._matching(kind, inventory, where)
        match self.mode:
            case Mode.ONE:
                count = 1
            case Mode.ALL:
                count = len(matching)
            case Mode.FIXED:
                count = min(int(self.value), len(matching))
            case Mode.PERCENT:
                count = -int(-len(matching) * self.value // 100)
        if count == len(matching):
            return matching
        drawn = dict.fromkeys(draws.shuffled(label, 0, matching)[:count])
        return [each for each in matching if each in drawn]

    def _matching(self, kind: FaultType, inventory: Inventory, where: str) -> list[str]:
        candidates = inventory.candidates(kind.target)
        if kind.target in {TargetKind.POD, TargetKind.OBJECT}:
            # Pods and objects come and go: what is named may be made in the run.
            return list(self.names or candidates) or self._none(kind, candidates, where)
        for name in self.names:
            if name not in candidates:
                self._none(kind, candidates, where, name)
        if (self.selector or self.zone) and kind.target is not TargetKind.NODE:
            raise BadInput(
                f"{where}: {kind.name} strikes {kind.target.value}: only nodes have labels"
            )
        try:
            selector = parse_label_selector(self.selector)
        except SelectorError as error:
            raise BadInput(f"{where}.selector: {error}") from None
        found = [
            name
            for name in (self.names or candidates)
            if kind.target is not TargetKind.NODE
            or (
                selector.matches(inventory.nodes[name])
                and self.zone in {"", inventory.nodes[name].get(ZONE_LABEL, "")}
            )
        ]
        return found or self._none(kind, candidates, where)

    def _none(
        self, kind: FaultType, candidates: Sequence[str], where: str, name: str = ""
    ) -> list[str]:
        there = ", ".join(candidates[:_SHOWN]) or "none"
        more = f" and {len(candidates) - _SHOWN} more" if len(candidates) > _SHOWN else ""
        missing = f"there is no {name!r}" if name else "nothing matches"
        what = f"{kind.name} strikes {kind.target.value}; {missing}; there are: {there}{more}"
        raise BadInput(f"{where}: {what}")


_SHOWN = 12


@attrs.frozen(kw_only=True)
class FaultRequest:
    """A fault as it is asked for. `where` is FILE:LINE: field.path, for what is wrong with it."""

    type: str
    target: TargetRequest = TargetRequest()
    at: DurationRange | After = NO_TIME
    lasts: DurationRange | None = None
    """None: until everything is healed, or no time at all."""
    parameters: Mapping[str, Json] = attrs.field(factory=dict)
    where: str = "faults"

    @property
    def latest_end(self) -> float:
        """When it is over at the latest, in seconds from the settled start; one that waits for something is not counted."""
        if isinstance(self.at, After):
            return 0.0
        return self.at.high + (0.0 if self.lasts is None else self.lasts.high)

    def checked(self) -> FaultType:
        """Its type. Raises BadInput for whatever can be wrong without a cluster."""
        kind = fault_type(self.type, f"{self.where}.type")
        kind.checked(self.parameters, f"{self.where}.parameters")
        if self.lasts is not None and not kind.lasting:
            raise BadInput(f"{self.where}.for: {kind.name} takes no time: leave it out")
        return kind


def materialise(requests: Sequence[FaultRequest], inventory: Inventory, draws: Draws) -> Plan:
    """The requests with every choice made. Raises BadInput."""
    faults: list[PlannedFault] = []
    for index, request in enumerate(requests):
        kind = request.checked()
        label = f"fault/{index}"
        targets = request.target.drawn(
            kind, inventory, draws, f"{label}/target", f"{request.where}.target"
        )
        at: Trigger
        if isinstance(request.at, After):
            at = request.at
        else:
            at = At(seconds=round(draws.duration(f"{label}/at", 0, request.at), 3))
        lasts = request.lasts
        seconds = None if lasts is None else round(draws.duration(f"{label}/for", 0, lasts), 3)
        for number, target in enumerate(targets):
            suffix = f".{number}" if len(targets) > 1 else ""
            faults.append(
                PlannedFault(
                    id=f"f{index}{suffix}",
                    type=kind.name,
                    target=target,
                    at=at,
                    seconds=seconds,
                    parameters=request.parameters,
                )
            )
    return Plan(tuple(faults))
