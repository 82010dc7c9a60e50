"""Faults of API servers. What they refuse or delay are the requests of processes; the user and the simulator have a way of their own."""

from __future__ import annotations

from typing import Final

from engine import Hanging, Interposer, Refusing, Slow
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
from wavetank.faults.requests import CHANCE, KIND, PROCESS, VERB, odds_of
from wavetank.faults.world import World

STATUSES: Final = (409, 429, 500, 503)


def _interposed(blow: Blow, interposer: Interposer) -> Heal:
    return releasing(blow.world.api_server(blow.target).interpose(interposer, blow.reason))


async def error(blow: Blow) -> Heal:
    """Some requests are refused."""
    status = blow.count("status")
    if status not in STATUSES:
        allowed = ", ".join(map(str, STATUSES))
        raise BadInput(f"parameters.status: {status}; allowed: {allowed}")
    refusing = Refusing(
        odds=odds_of(blow, process=blow.text("process")),
        status=status,
        retry_after_seconds=blow.count("retry_after"),
    )
    return _interposed(blow, refusing)


async def timeout(blow: Blow) -> Heal:
    """Some requests get no answer."""
    hanging = Hanging(
        odds=odds_of(blow, process=blow.text("process")), applied=blow.flag("applied")
    )
    return _interposed(blow, hanging)


async def latency(blow: Blow) -> Heal:
    """Requests take longer."""
    slow = Slow(odds=odds_of(blow, process=blow.text("process")), delay=blow.span("delay"))
    return _interposed(blow, slow)


async def crash(blow: Blow) -> Heal:
    """Down until it is healed."""
    server = blow.world.api_server(blow.target)
    hold = server.process.keep_down(blow.reason)

    async def heal() -> None:
        hold.release()
        await server.known()

    return heal


async def restart(blow: Blow) -> None:
    """Down, and up again at once."""
    server = blow.world.api_server(blow.target)
    if not server.process.living:
        raise NoEffect("the API server is down")
    await server.process.restart()
    await server.known()


def residue(world: World) -> list[str]:
    """What refuses or delays requests at a server, and servers that are down."""
    found = []
    for name, server in world.servers.items():
        found += [f"{name}: {reason}" for reason in server.rules]
        if not server.process.living:
            found.append(f"{name}: down")
    return found


FAULTS: Final = (
    FaultType(
        name="server.error",
        about="The API server answers some requests with an error status, and does nothing; 409 is for writes to what exists.",
        target=TargetKind.SERVER,
        strike=error,
        parameters={
            "status": Parameter(
                kind=ParameterKind.COUNT,
                about="409, 429, 500 or 503",
                default=503,
                hunted=STATUSES,
            ),
            "chance": CHANCE,
            "verb": VERB,
            "kind": KIND,
            "process": PROCESS,
            "retry_after": Parameter(
                kind=ParameterKind.COUNT,
                about="seconds that the answer asks to wait; 0 for none",
                default=0,
                hunted=(0, 1, 5),
            ),
        },
    ),
    FaultType(
        name="server.timeout",
        about="The API server does not answer some requests, which it has carried out or not: their callers get Timeout.",
        target=TargetKind.SERVER,
        strike=timeout,
        parameters={
            "applied": Parameter(
                kind=ParameterKind.FLAG,
                about="whether they are carried out",
                default=True,
                hunted=(True, False),
            ),
            "chance": CHANCE,
            "verb": VERB,
            "kind": KIND,
            "process": PROCESS,
        },
    ),
    FaultType(
        name="server.latency",
        about="The API server takes a further time for each request, and for opening a watch.",
        target=TargetKind.SERVER,
        strike=latency,
        parameters={
            "delay": Parameter(
                kind=ParameterKind.RANGE,
                about="for each",
                default="100ms..2s",
                hunted=("10ms..200ms", "100ms..2s", "5s..30s"),
            ),
            "verb": VERB,
            "kind": KIND,
            "process": PROCESS,
        },
    ),
    FaultType(
        name="server.crash",
        about="The API server is down: requests to it are refused and its watches end; it comes back with empty memory.",
        target=TargetKind.SERVER,
        strike=crash,
    ),
    FaultType(
        name="server.restart",
        about="The API server goes down and comes back at once, with empty memory: every watch is opened anew.",
        target=TargetKind.SERVER,
        strike=restart,
        lasting=False,
    ),
)
