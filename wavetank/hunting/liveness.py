"""The second phase of a trial: everything is healed; the desired state has to be reached within a bound, and to stay (eventually stable reconciliation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from wavetank.cluster import Cluster
from wavetank.errors import NotReached
from wavetank.faults.residue import residue
from wavetank.hunting.outcome import Finding, Verdict
from wavetank.view import UnsettledSearch


@attrs.frozen(kw_only=True)
class Bounds:
    """How long a cluster may take, in seconds of its time."""

    recover: float = 1200.0
    """From the healing of everything to the desired state. Kubernetes' own longest waits are below: pod eviction after 300 s, back-off up to 300 s, the
    ten minutes of a Deployment's progress deadline."""
    hold: float = 120.0
    """How long the desired state has to stay then: past the 40 to 50 s in which the loss of a node goes unnoticed."""
    steady: float = 120.0
    """How long the checks of the steady state may take once the cluster has settled: of kinds of the user's own nobody knows when they have."""


HEALING: Final = 60.0
"""Seconds in which what a heal writes has to get through, once nothing stands in its way any more."""


async def heal(cluster: Cluster) -> list[Finding]:
    """Heal everything; what is left of a fault then is our own mistake."""
    await cluster.chaos.heal_all()
    world = cluster.chaos.world
    deadline = cluster.clock.now() + HEALING
    while (left := residue(world)) and cluster.clock.now() < deadline:  # noqa: ASYNC110 - no mechanism tells when it is free
        await trio.sleep(1.0)
    return [
        Finding(verdict=Verdict.RESIDUE, name="", message=each, revision=cluster.log.head)
        for each in left
    ]


async def converge(cluster: Cluster, bounds: Bounds) -> list[Finding]:
    """Wait until the cluster has settled and stays so; what was settled may fall apart while news of the faults still travel."""
    deadline = cluster.clock.now() + bounds.recover
    lost = ""
    while True:
        try:
            await cluster.settled(max(0.0, deadline - cluster.clock.now()))
        except NotReached as error:
            verdict = Verdict.UNSTABLE if lost else Verdict.NOT_CONVERGED
            return [
                Finding(
                    verdict=verdict,
                    name=_kinds(error.unsettled),
                    message=f"{error}{lost}",
                    revision=cluster.log.head,
                )
            ]
        search = UnsettledSearch()
        try:
            await cluster.observer.until(search.found, bounds.hold, "anything to do")
        except NotReached:
            return []
        left = "; ".join(cluster.view.unsettled()[:3])
        lost = f" (reached before, and left at {cluster.clock.now():.0f}s: {left})"


def _kinds(unsettled: Sequence[str]) -> str:
    """The kinds of objects that have something left to do: what makes two failures the same."""
    return ", ".join(sorted(dict.fromkeys(each.partition(" ")[0] for each in unsettled)))
