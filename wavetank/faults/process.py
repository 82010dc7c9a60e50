"""Faults of processes: reconcilers, the candidates of the control plane, and kubelets.

A process that is struck keeps its name, its link and whatever is around it; what it loses when it dies is its memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import attrs
import trio

from engine import Fate, Hold, LeaderElector, Matching, NthWrite, Process, Request
from wavetank.errors import BadInput, UnknownTarget
from wavetank.faults.background import Background
from wavetank.faults.model import (
    Blow,
    FaultType,
    Heal,
    NoEffect,
    Parameter,
    ParameterKind,
    TargetKind,
    releasing,
    unknown,
)
from wavetank.faults.world import World

LOOK_SECONDS: Final = 1.0
"""How often a sleeping leader's fault looks whether another leads by now."""


def _living(blow: Blow) -> Process:
    """Raises UnknownTarget, NoEffect."""
    process = blow.world.process(blow.target)
    if not process.living:
        raise NoEffect("the process is down")
    return process


def _led_by(blow: Blow) -> list[Process]:
    """The living processes of the replica that is the target: one program with it, which its election starts and stops."""
    suffix = f"@{blow.target}"
    return [each for each in blow.world.processes if each.name.endswith(suffix) and each.living]


def _let_go(world: World, process: Process, hold: Hold) -> None:
    """Release what keeps a process down. A reconciler whose replica has stopped leading meanwhile stays away."""
    _, elected, candidate = process.name.partition("@")
    if elected:
        elector = world.electors[candidate]
        if not (elector.leading and world.process(candidate).living):
            process.give_up()
    hold.release()


async def crash(blow: Blow) -> Heal:
    """Killed, and kept from starting."""
    world, process = blow.world, blow.world.process(blow.target)
    hold = process.keep_down(blow.reason)
    try:
        await process.ended()
    except BaseException:
        _let_go(world, process, hold)
        raise

    async def heal() -> None:
        _let_go(world, process, hold)

    return heal


async def restart(blow: Blow) -> None:
    """Killed, and started at once."""
    process = _living(blow)
    hold = process.keep_down(blow.reason)
    try:
        await process.ended()
    finally:
        _let_go(blow.world, process, hold)


async def pause(blow: Blow) -> Heal:
    """Stopped as by SIGSTOP; a candidate with all that it runs while it leads."""
    reason = blow.reason
    holds = [each.pause(reason) for each in (_living(blow), *_led_by(blow))]

    return releasing(*holds)


async def slow(blow: Blow) -> Heal:
    """Time at each pass of its gate."""
    draws, span = blow.world.draws, blow.span("delay")
    process = blow.world.process(blow.target)
    if blow.target in blow.world.servers:  # its gate is its door: slowed, it would answer nobody
        raise UnknownTarget(f"{blow.target} is an API server: server.latency slows those")
    reason = blow.reason

    def pace(name: str) -> Callable[[], float]:
        label, passes = f"{blow.id}/gate{name}", itertools.count()
        return lambda: draws.duration(label, next(passes), span)

    slowdowns = [process.slow(pace(""), reason)]
    slowdowns += [each.slow(pace(f"/{each.name}"), reason) for each in _led_by(blow)]

    return releasing(*slowdowns)


@attrs.define(eq=False)
class _KilledAtWrite:
    """A process that dies at a write: counted, killed in the step in which the write leaves or has arrived, and started again later."""

    world: World
    process: Process
    nth: NthWrite
    before: bool
    down_seconds: float
    reason: str
    _hold: Hold | None = attrs.field(default=None, init=False)
    _killed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def sent(self, request: Request) -> Fate:
        """For `Seam.on_write`."""
        fate = self.nth(request)
        if self.before and self.nth.write is request:
            self._kill()
        return fate if self.before else Fate.ARRIVES

    def arrived(self, request: Request) -> None:
        """For `Seam.on_arrival`."""
        if not self.before and self.nth.write is request:
            self._kill()

    def _kill(self) -> None:
        if self._hold is None and self.process.living:
            self._hold = self.process.keep_down(self.reason)
            self._killed.set()

    async def stay_away(self) -> None:
        """Until it is started again."""
        await self._killed.wait()
        await trio.sleep(self.down_seconds)
        self.start()

    def start(self) -> None:
        """Let it start, if it has been killed."""
        hold, self._hold = self._hold, None
        if hold is not None:
            _let_go(self.world, self.process, hold)


async def crash_at_write(blow: Blow) -> Heal:
    """Dies at its k-th write from now on, or does not get its answer."""
    world, point, number = blow.world, blow.text("point"), blow.count("write")
    if number < 1:
        raise BadInput("parameters.write: 0; allowed: 1 (its next write) or more")
    process, seam = world.process(blow.target), world.seam(blow.target)
    reason = blow.reason
    lost = point == "answer_lost"
    nth = NthWrite(
        number,
        Fate.ANSWER_LOST if lost else Fate.KILLED_BEFORE,
        Matching(kind=blow.text("kind")),
    )
    if lost:
        answer = seam.on_write(nth, reason)

        async def give_back() -> None:
            answer.release()

        return give_back

    killed = _KilledAtWrite(world, process, nth, point == "before", blow.number("down"), reason)
    entries = (seam.on_write(killed.sent, reason), seam.on_arrival(killed.arrived, reason))
    background = Background.start(world.nursery, killed.stay_away, f"chaos {blow.id}")

    async def heal() -> None:
        for entry in entries:
            entry.release()
        await background.stop()
        killed.start()

    return heal


def _elector(blow: Blow) -> LeaderElector:
    """The candidate that is struck. Raises BadInput, UnknownTarget, NoEffect."""
    electors = blow.world.electors
    if not electors:
        raise BadInput("nobody is elected here: it takes a control_plane_replicas of 2 or more")
    if blow.target not in electors:
        raise unknown("candidate of the control plane", blow.target, electors)
    _living(blow)
    return electors[blow.target]


async def two_leaders(blow: Blow) -> Heal:
    """A candidate takes the lease though another has it."""
    elector = _elector(blow)
    if elector.leading:
        raise NoEffect("it leads")
    hold = elector.seizing.take(blow.reason)

    return releasing(hold)


async def old_leader(blow: Blow) -> Heal:
    """The leader sleeps until another leads, and then goes on where it was."""
    elector = _elector(blow)
    if not elector.leading:
        raise NoEffect("it does not lead")
    world, awake_seconds = blow.world, blow.number("awake")
    reason = blow.reason
    candidate = world.process(blow.target).pause(reason)
    workers = [
        process.pause(reason)
        for process in world.processes
        if process.name.endswith(f"@{blow.target}") and process.living
    ]

    async def wake() -> None:
        while not any(  # noqa: ASYNC110 - what others believe is no event to wait for
            other.leading
            for name, other in world.electors.items()
            if other.name == elector.name and name != blow.target
        ):
            await trio.sleep(LOOK_SECONDS)
        for hold in workers:
            hold.release()
        await trio.sleep(awake_seconds)
        candidate.release()

    background = Background.start(world.nursery, wake, f"chaos {blow.id}")

    async def heal() -> None:
        await background.stop()
        for hold in (*workers, candidate):
            hold.release()

    return heal


def residue(world: World) -> list[str]:
    """What stops, slows, keeps down or watches for the writes of a process, and who is to seize a lease."""
    found = []
    for process in world.processes:
        statistics = process.statistics()
        found += [f"{process.name}: paused by {reason}" for reason in statistics.held_by]
        found += [f"{process.name}: slowed by {reason}" for reason in statistics.slowed_by]
        found += [f"{process.name}: kept down by {reason}" for reason in statistics.kept_down_by]
    for name, elector in world.electors.items():
        found += [f"{name}: seizes the lease by {reason}" for reason in elector.seizing.reasons]
    return found


_BREAK: Final = ("withinSurge", "noOvercommit")
"""What two that lead at once may break, each with a view of its own: Kubernetes has no fence against it."""

FAULTS: Final = (
    FaultType(
        name="process.crash",
        about="The process is killed, and starts with empty memory when the fault is over.",
        target=TargetKind.PROCESS,
        strike=crash,
    ),
    FaultType(
        name="process.crash_at_write",
        about="The process is killed at one of its writes, before it is sent or after it is applied, or never gets the answer.",
        target=TargetKind.PROCESS,
        strike=crash_at_write,
        parameters={
            "write": Parameter(
                kind=ParameterKind.COUNT,
                about="which write, counted from the strike; 1 is the next",
                default=1,
                hunted=(1, 2, 3, 5, 8),
            ),
            "point": Parameter(
                kind=ParameterKind.CHOICE,
                about="before it is sent, after it is applied, or it lives on and gets a time-out for an answer",
                default="after",
                choices=("before", "after", "answer_lost"),
                hunted=("before", "after", "answer_lost"),
            ),
            "down": Parameter(
                kind=ParameterKind.SECONDS,
                about="how long it stays away when it was killed",
                default=1.0,
                hunted=(1.0, 20.0),
            ),
            "kind": Parameter(
                kind=ParameterKind.TEXT,
                about="only writes of objects of this kind count; empty: of any",
                default="",
            ),
        },
    ),
    FaultType(
        name="process.pause",
        about="The process stops as by SIGSTOP, and goes on later with what it remembers.",
        target=TargetKind.PROCESS,
        strike=pause,
    ),
    FaultType(
        name="process.slow",
        about="The process takes time before each reconcile and at both ends of each request.",
        target=TargetKind.PROCESS,
        strike=slow,
        parameters={
            "delay": Parameter(
                kind=ParameterKind.RANGE,
                about="the time of each such step",
                default="100ms..1s",
                hunted=("10ms..100ms", "100ms..1s", "1s..5s"),
            )
        },
    ),
    FaultType(
        name="process.restart",
        about="The process is killed and started at once, with empty memory.",
        target=TargetKind.PROCESS,
        strike=restart,
        lasting=False,
    ),
    FaultType(
        name="process.two_leaders",
        about="A candidate takes the lease though another holds it, and leads beside it until that one cannot renew.",
        target=TargetKind.PROCESS,
        strike=two_leaders,
        hunted=False,
        breaks=("oneLeader", *_BREAK),
    ),
    FaultType(
        name="process.old_leader",
        about="The leader sleeps until another leads, and then goes on with what it was doing.",
        target=TargetKind.PROCESS,
        strike=old_leader,
        hunted=False,
        breaks=_BREAK,
        parameters={
            "awake": Parameter(
                kind=ParameterKind.SECONDS,
                about="how long it works on before it finds that it no longer leads",
                default=1.0,
            )
        },
    ),
)
