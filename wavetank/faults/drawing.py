"""Random plans, for hunts: which faults, whom, when and how long, all drawn from one seed.

A swarm (Groce et al., ISSTA 2012): each seed also switches off a random half of the fault types, since faults suppress one another and a
run of every kind is a run of no kind. What is left may strike several times.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from engine import Draws, DurationRange, Json
from wavetank.errors import BadInput
from wavetank.faults.catalogue import CATALOGUE, FAMILIES
from wavetank.faults.inventory import Inventory
from wavetank.faults.model import FaultType
from wavetank.faults.plan import At, Plan, PlannedFault


def types_of(selection: Sequence[str]) -> list[FaultType]:
    """The faults that a hunt may draw: of families (`node`) or by name (`node.crash`); nothing given is all of them.

    One that is named is taken whatever the catalogue says of it. Raises BadInput.
    """
    if not selection:
        return [kind for kind in CATALOGUE.values() if kind.hunted]
    found: dict[str, FaultType] = {}
    for name in selection:
        if name in FAMILIES:
            of_family = (kind for kind in CATALOGUE.values() if kind.family == name)
            found.update((kind.name, kind) for kind in of_family if kind.hunted)
        elif name in CATALOGUE:
            found[name] = CATALOGUE[name]
        else:
            allowed = ", ".join(FAMILIES)
            raise BadInput(f"--faults: unknown {name!r}; allowed: {allowed}, or a fault's name")
    return [kind for kind in CATALOGUE.values() if kind.name in found]


@attrs.frozen(kw_only=True)
class PlanDrawing:
    """How random plans are drawn."""

    types: Sequence[FaultType]
    horizon: float = 300.0
    """Faults strike within so many seconds of cluster time from the settled start."""
    most: int = 4
    """Faults in a plan: 1 to this many."""
    lasts: DurationRange = attrs.field(factory=lambda: DurationRange.parse("1s..120s"))
    swarm: bool = True

    def plan(self, inventory: Inventory, draws: Draws) -> Plan:
        """The plan of a seed. Raises BadInput when there is nothing to strike."""
        usable = [kind for kind in self.types if inventory.candidates(kind.target)]
        if not usable:
            raise BadInput("no fault of these can strike this cluster: there are no targets")
        if self.swarm:
            kept = [kind for kind in usable if draws.chance(f"hunt/swarm/{kind.name}", 0, 0.5)]
            usable = kept or usable
        count = 1 + draws.integer("hunt/faults", 0, self.most)
        faults = [self._fault(number, usable, inventory, draws) for number in range(count)]
        return Plan(tuple(faults))

    def _fault(
        self, number: int, usable: Sequence[FaultType], inventory: Inventory, draws: Draws
    ) -> PlannedFault:
        label = f"hunt/fault/{number}"
        kind = draws.choice(f"{label}/type", 0, usable)
        at = round(draws.uniform(f"{label}/at", 0, 0.0, self.horizon), 3)
        lasts = round(draws.duration(f"{label}/for", 0, self.lasts), 3)
        parameters: dict[str, Json] = {
            name: draws.choice(f"{label}/{name}", 0, parameter.hunted)
            for name, parameter in kind.parameters.items()
            if parameter.hunted
        }
        return PlannedFault(
            id=f"f{number}",
            type=kind.name,
            target=draws.choice(f"{label}/target", 0, inventory.candidates(kind.target)),
            at=At(seconds=at),
            seconds=lasts if kind.lasting else None,
            parameters=parameters,
        )
