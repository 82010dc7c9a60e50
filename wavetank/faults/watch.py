"""Faults of what a process is told: of its watches, and of the view that its lists show. What it asks for anew and what it writes is right.

engine.control.views has what a stale replica answers, and what its clients make of that.
"""

from __future__ import annotations

from typing import Final

from engine import (
    Coalesced,
    Delayed,
    Forgetting,
    Interposer,
    Seam,
    Stage,
    StaleView,
    Stalled,
)
from store import Store
from wavetank.errors import BadInput
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    NoEffect,
    Parameter,
    ParameterKind,
    TargetKind,
    releasing,
)
from wavetank.faults.requests import KIND, kind_of
from wavetank.faults.world import World


async def broken(blow: Blow) -> None:
    """The connections are closed."""
    if not blow.world.seam(blow.target).break_watches(kind_of(blow)):
        raise NoEffect("no such watch is open")


def _staged(blow: Blow, stage: Stage) -> Heal:
    return releasing(blow.world.seam(blow.target).stage(stage, blow.reason))


async def stalled(blow: Blow) -> Heal:
    """Nothing is told."""
    return _staged(blow, Stalled(kind=kind_of(blow)))


async def delayed(blow: Blow) -> Heal:
    """All is told later."""
    stage = Delayed(
        delay=blow.span("delay"),
        draws=blow.world.draws,
        label=f"{blow.id}/{blow.target}",
        kind=kind_of(blow),
    )
    return _staged(blow, stage)


async def skipped(blow: Blow) -> Heal:
    """States between are not told."""
    stage = Coalesced(
        window=blow.number("window"),
        kind=kind_of(blow),
        across_recreation=blow.flag("across_recreation"),
    )
    return _staged(blow, stage)


async def gone(blow: Blow) -> Heal:
    """Watches are not resumed."""
    seam, kind = blow.world.seam(blow.target), kind_of(blow)
    entry = seam.interpose(Forgetting(times=blow.count("times"), kind=kind), blow.reason)
    if blow.flag("break_now"):
        seam.break_watches(kind)
    return releasing(entry)


def _shown(blow: Blow, seam: Seam, revision: int) -> Heal:
    view, reason = StaleView(revision=revision, kind=kind_of(blow)), blow.reason
    interposer: Interposer = view
    return releasing(seam.interpose(interposer, reason), seam.stage(view, reason))


async def pinned(blow: Blow) -> Heal:
    """The view of now, until it is healed."""
    return _shown(blow, blow.world.seam(blow.target), _store(blow.world).head)


async def rewound(blow: Blow) -> Heal:
    """A view of the past."""
    world, seam = blow.world, blow.world.seam(blow.target)
    heal = _shown(blow, seam, _past(blow))
    process = world.process(blow.target)
    if blow.flag("restart") and process.living:
        await process.restart()
    elif not blow.flag("restart"):
        seam.break_watches(kind_of(blow))
    return heal


def _store(world: World) -> Store:
    """The store, as the API servers have it."""
    return next(iter(world.servers.values())).api.store


def _past(blow: Blow) -> int:
    """The revision to go back to: the one named, so many before the newest, or the last before a time. Raises BadInput."""
    store, named, steps = _store(blow.world), blow.count("revision"), blow.count("back_revisions")
    if named and steps:
        raise BadInput("parameters: revision and back_revisions name two revisions; give one")
    if named:
        if not store.compacted <= named <= store.head:
            allowed = f"{max(store.compacted, 1)} to {store.head}"
            raise BadInput(f"parameters.revision: {named}; there are: {allowed}")
        return named
    oldest = max(store.compacted, 1)
    if steps:
        return max(oldest, store.head - steps)
    since_ns = blow.world.clock.now_ns() - round(blow.number("back") * 1e9)
    last = oldest
    for event in store.history(oldest):
        if event.time_ns > since_ns:
            break
        last = event.revision
    return last


def residue(world: World) -> list[str]:
    """Whatever is done to the requests and watches of a process by a fault."""
    return [
        f"seam {name}: {reason}" for name, seam in world.seams.items() for reason in seam.reasons
    ]


FAULTS: Final = (
    FaultType(
        name="watch.broken",
        about="The connections of the process' watches are closed; it opens them anew from where it was.",
        target=TargetKind.PROCESS,
        strike=broken,
        parameters={"kind": KIND},
        lasting=False,
    ),
    FaultType(
        name="watch.stalled",
        about="The process' watches tell nothing, though their connections stay open; at the heal all that was held back comes at once.",
        target=TargetKind.PROCESS,
        strike=stalled,
        parameters={"kind": KIND},
    ),
    FaultType(
        name="watch.delayed",
        about="What the process' watches tell comes later, in order.",
        target=TargetKind.PROCESS,
        strike=delayed,
        parameters={
            "delay": Parameter(
                kind=ParameterKind.RANGE,
                about="of each batch",
                default="1s..10s",
                hunted=("10ms..500ms", "1s..10s", "30s"),
            ),
            "kind": KIND,
        },
    ),
    FaultType(
        name="watch.skipped",
        about="Of several changes of one object within a window of time the process' watches tell only the last.",
        target=TargetKind.PROCESS,
        strike=skipped,
        parameters={
            "window": Parameter(
                kind=ParameterKind.SECONDS,
                about="from the first change; what changes in it is told at its end",
                default="5s",
                hunted=("1s", "5s", "30s"),
            ),
            "across_recreation": Parameter(
                kind=ParameterKind.FLAG,
                about="whether a deletion and a creation under the same name are one update",
                default=False,
                hunted=(False, True),
            ),
            "kind": KIND,
        },
    ),
    FaultType(
        name="watch.gone",
        about="The revisions from which the process' watches would go on are compacted: opened anew they are refused (410), and it lists again.",
        target=TargetKind.PROCESS,
        strike=gone,
        parameters={
            "times": Parameter(
                kind=ParameterKind.COUNT,
                about="how often for each watch",
                default=1,
                hunted=(1, 3),
            ),
            "break_now": Parameter(
                kind=ParameterKind.FLAG,
                about="close the watches, so that they are opened anew now",
                default=True,
                hunted=(True, False),
            ),
            "kind": KIND,
        },
    ),
    FaultType(
        name="watch.pinned",
        about="The process' view stays at the revision of the strike, as with a stale replica: its watches tell nothing newer, and lists from a cache show that state; writes and reads of the newest state are right.",
        target=TargetKind.PROCESS,
        strike=pinned,
        parameters={"kind": KIND},
    ),
    FaultType(
        name="watch.rewound",
        about="The process is connected to a replica that shows a past revision; restarted, it lists there and acts on it, and catches up when it is healed.",
        target=TargetKind.PROCESS,
        strike=rewound,
        parameters={
            "back": Parameter(
                kind=ParameterKind.SECONDS,
                about="how far back in time, when no revision is named",
                default="30s",
                hunted=("5s", "30s", "2m"),
            ),
            "back_revisions": Parameter(
                kind=ParameterKind.COUNT,
                about="how many revisions back instead",
                default=0,
            ),
            "revision": Parameter(
                kind=ParameterKind.COUNT,
                about="the revision itself instead",
                default=0,
            ),
            "restart": Parameter(
                kind=ParameterKind.FLAG,
                about="restart the process: one that runs on does not go back behind what it has seen",
                default=True,
                hunted=(True, False),
            ),
            "kind": KIND,
        },
    ),
)
