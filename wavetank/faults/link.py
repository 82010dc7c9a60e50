"""Faults of the network between processes and API servers. Each is around the process and outlives its death; two on one link add up."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

import attrs
import trio

from engine import (
    ApiError,
    Direction,
    DurationRange,
    Fate,
    Impairment,
    Odds,
    Request,
    Route,
    Verb,
)
from wavetank.errors import BadInput, UnknownTarget
from wavetank.faults.background import Background
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    Parameter,
    ParameterKind,
    TargetKind,
    releasing,
)
from wavetank.faults.requests import CHANCE, KIND, WRITE_VERB, odds_of
from wavetank.faults.world import World

_WRITING: Final = (Verb.CREATE, Verb.UPDATE, Verb.PATCH, Verb.DELETE)


async def partition(blow: Blow) -> Heal:
    """Cut, from every API server or from one."""
    world, reason = blow.world, blow.reason
    link = world.link(blow.target)
    if blow.text("server"):
        if Direction(blow.text("direction")) is not Direction.BOTH:
            raise BadInput("parameters.direction: from a single server only both ways are cut")
        return releasing(
            world.route(blow.target).cut(world.api_server(blow.text("server")), reason)
        )
    holds = link.partition(Direction(blow.text("direction")), reason)

    return releasing(*holds)


async def clog(blow: Blow) -> Heal:
    """All messages stand still, and go on in order."""
    link = blow.world.link(blow.target)
    holds = link.clog(Direction(blow.text("direction")), blow.reason)

    return releasing(*holds)


def _impaired(blow: Blow, impairment: Impairment) -> Heal:
    return releasing(blow.world.link(blow.target).impair(impairment, blow.reason))


async def delay(blow: Blow) -> Heal:
    """A further time for each message."""
    direction = Direction(blow.text("direction"))
    return _impaired(blow, Impairment(delay=blow.span("delay"), direction=direction))


async def loss(blow: Blow) -> Heal:
    """Messages are lost, and sent again."""
    chance, direction = blow.number("chance"), Direction(blow.text("direction"))
    if chance >= 1:
        raise BadInput("parameters.chance: 1; allowed: under 1 (link.partition lets nothing pass)")
    return _impaired(blow, Impairment(loss=chance, direction=direction))


async def reorder(blow: Blow) -> Heal:
    """Some messages wait, and are overtaken."""
    impairment = Impairment(
        reorder=blow.number("chance"),
        reorder_delay=blow.span("delay"),
        direction=Direction(blow.text("direction")),
    )
    return _impaired(blow, impairment)


@attrs.define(eq=False)
class _Copying:
    """Carries writes to the server a second time, after the first, past the process."""

    route: Route
    hit: Odds
    delay: DurationRange
    nursery: trio.Nursery
    _copies: int = attrs.field(default=0, init=False)

    def arrived(self, request: Request) -> None:
        """For `Seam.on_arrival`."""
        if request.verb in _WRITING and self.hit.request(request):
            self.nursery.start_soon(self._copy, request, self._copies)
            self._copies += 1

    async def _copy(self, request: Request, number: int) -> None:
        await trio.sleep(self.hit.draws.duration(f"{self.hit.label}/delay", number, self.delay))
        try:
            await self.route.request(request)
        except ApiError:
            return  # nobody waits for the second answer


async def duplicate(blow: Blow) -> Heal:
    """Writes arrive twice."""
    world = blow.world
    seam, route = world.seam(blow.target), world.route(blow.target)
    hit = odds_of(blow)
    started = trio.Event()

    async def copy() -> None:
        async with trio.open_nursery() as nursery:
            copying = _Copying(route, hit, blow.span("delay"), nursery)
            entry = seam.on_arrival(copying.arrived, blow.reason)
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                entry.release()

    background = Background.start(world.nursery, copy, f"chaos {blow.id}")
    await started.wait()
    return background.stop


async def answer_lost(blow: Blow) -> Heal:
    """Writes are applied, and their answers never come."""
    hit, left = odds_of(blow), blow.count("count")
    struck = 0

    def fate(request: Request) -> Fate:
        nonlocal struck
        if (left and struck >= left) or not hit.request(request):
            return Fate.ARRIVES
        struck += 1
        return Fate.ANSWER_LOST

    entry = blow.world.seam(blow.target).on_write(fate, blow.reason)

    return releasing(entry)


def _routes(blow: Blow) -> list[tuple[str, Route]]:
    """The processes that a partition among several servers is about. Raises BadInput, UnknownTarget."""
    world, pattern = blow.world, blow.text("processes")
    if len(world.servers) == 1:
        raise BadInput("there is one API server: this takes two or more (apiServers)")
    found = [item for item in world.routes.items() if fnmatchcase(item[0], pattern)]
    if not found:
        raise UnknownTarget(f"no process matches {pattern!r}; there are: {', '.join(world.routes)}")
    return found


async def ring(blow: Blow) -> Heal:
    """Each process is cut off from one server, the next process from the next."""
    servers = tuple(blow.world.servers.values())
    reason = blow.reason
    holds = [
        route.cut(servers[number % len(servers)], reason)
        for number, (_, route) in enumerate(_routes(blow))
    ]

    return releasing(*holds)


async def bridge(blow: Blow) -> Heal:
    """Two halves, and one process that reaches both."""
    servers = tuple(blow.world.servers.values())
    near, far = servers[: len(servers) // 2], servers[len(servers) // 2 :]
    reason, routes = blow.reason, _routes(blow)
    across = blow.text("bridge") or routes[0][0]
    if across not in dict(routes):
        raise UnknownTarget(f"parameters.bridge: no process is called {across!r}")
    halved = [route for name, route in routes if name != across]
    half = (len(halved) + 1) // 2
    holds = [
        route.cut(server, reason)
        for number, route in enumerate(halved)
        for server in (far if number < half else near)
    ]

    return releasing(*holds)


def residue(world: World) -> list[str]:
    """What cuts, clogs or impairs a link, or a way to one of the servers."""
    found = []
    for name, link in world.links.items():
        statistics = link.statistics()
        found += [f"link {name}: cut by {reason}" for reason in statistics.partitions]
        found += [f"link {name}: clogged by {reason}" for reason in statistics.clogs]
        found += [f"link {name}: impaired by {reason}" for reason in statistics.impairments]
    for name, route in world.routes.items():
        found += [f"route {name}: cut off from {cut}" for cut in route.cuts]
    return found


def _direction() -> Parameter:
    return Parameter(
        kind=ParameterKind.CHOICE,
        about="which way: requests go to-server, answers and watch events to-client",
        default=Direction.BOTH.value,
        choices=tuple(each.value for each in Direction),
        hunted=tuple(each.value for each in Direction),
    )


def _delay(default: str, hunted: tuple[str, ...], about: str) -> Parameter:
    return Parameter(kind=ParameterKind.RANGE, about=about, default=default, hunted=hunted)


_PROCESSES: Final = Parameter(
    kind=ParameterKind.TEXT, about="which processes, with * and ? as in file names", default="*"
)

FAULTS: Final = (
    FaultType(
        name="link.partition",
        about="No message passes between the process and the API servers, or one of them, until it is healed.",
        target=TargetKind.PROCESS,
        strike=partition,
        parameters={
            "direction": _direction(),
            "server": Parameter(
                kind=ParameterKind.TEXT,
                about="cut it off from this API server alone, as apiserver-1",
                default="",
            ),
        },
    ),
    FaultType(
        name="link.clog",
        about="All messages stand still; at the heal they go on in the order in which they were sent.",
        target=TargetKind.PROCESS,
        strike=clog,
        parameters={"direction": _direction()},
    ),
    FaultType(
        name="link.delay",
        about="Each message takes a further time.",
        target=TargetKind.PROCESS,
        strike=delay,
        parameters={
            "delay": _delay("100ms..2s", ("10ms..100ms", "100ms..2s", "1s..20s"), "one way"),
            "direction": _direction(),
        },
    ),
    FaultType(
        name="link.loss",
        about="Messages are lost and sent again, after 0.2 s and then twice as long each time.",
        target=TargetKind.PROCESS,
        strike=loss,
        parameters={
            "chance": Parameter(
                kind=ParameterKind.CHANCE,
                about="of each message, each time it is sent; under 1",
                default=0.3,
                hunted=(0.1, 0.5, 0.9),
            ),
            "direction": _direction(),
        },
    ),
    FaultType(
        name="link.reorder",
        about="Some messages wait a further time of their own, so that later ones overtake them.",
        target=TargetKind.PROCESS,
        strike=reorder,
        parameters={
            "chance": Parameter(
                kind=ParameterKind.CHANCE,
                about="of each message",
                default=0.5,
                hunted=(0.2, 0.5),
            ),
            "delay": _delay("10ms..1s", ("1ms..100ms", "10ms..1s", "1s..5s"), "how long it waits"),
            "direction": _direction(),
        },
    ),
    FaultType(
        name="link.duplicate",
        about="A write reaches the server a second time after the first, as with a proxy that tries again: applied twice, or refused the second time.",
        target=TargetKind.PROCESS,
        strike=duplicate,
        parameters={
            "chance": CHANCE,
            "delay": _delay("0s..1s", ("0s", "0s..1s", "1s..20s"), "until the second arrives"),
            "verb": WRITE_VERB,
            "kind": KIND,
        },
    ),
    FaultType(
        name="link.answer_lost",
        about="Writes are applied and their answers never come: the caller gets Timeout after its time-out.",
        target=TargetKind.PROCESS,
        strike=answer_lost,
        parameters={
            "count": Parameter(
                kind=ParameterKind.COUNT,
                about="how many writes, 0 for all until the heal",
                default=1,
                hunted=(1, 2, 0),
            ),
            "chance": CHANCE,
            "verb": WRITE_VERB,
            "kind": KIND,
        },
    ),
    FaultType(
        name="link.ring",
        about="The first process is cut off from the first API server, the second from the second, and so on round: all see most, no two the same.",
        target=TargetKind.NOTHING,
        strike=ring,
        parameters={"processes": _PROCESSES},
        hunted=False,
    ),
    FaultType(
        name="link.bridge",
        about="Half of the processes reach one half of the API servers, the others the other half, and one process reaches both.",
        target=TargetKind.NOTHING,
        strike=bridge,
        parameters={
            "processes": _PROCESSES,
            "bridge": Parameter(
                kind=ParameterKind.TEXT,
                about="the process that reaches both; the first when it is not named",
                default="",
            ),
        },
        hunted=False,
    ),
)
