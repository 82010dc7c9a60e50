"""Faults of the store behind the API servers: a slow, full, failed or crashed disk, and history that is gone.

They strike the simulator's own store; an etcd is not ours to disturb. Whoever runs the experiment (the user and chaos) is spared: what is
refused to the cluster is not refused to them.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from engine import Hold
from store import (
    Access,
    CrashPoint,
    Disturbance,
    DisturbedStore,
    Down,
    NoRoom,
    OutcomeUnknown,
    ReadOnly,
    SlowCommits,
    StoreError,
    StoreFailed,
    StoreUnavailable,
)
from wavetank.errors import BadInput
from wavetank.faults import corruption
from wavetank.faults.background import Background
from wavetank.faults.model import Blow, FaultType, Heal, Parameter, ParameterKind, TargetKind
from wavetank.faults.world import World


def store_of(world: World) -> DisturbedStore:
    """Raises BadInput."""
    if world.store is None:
        raise BadInput("the state is in an etcd: only the simulator's own store has faults")
    return world.store


def _in_force(store: DisturbedStore, disturbance: Disturbance) -> Heal:
    """Put it in force; what takes it away."""
    store.disturb(disturbance)

    async def heal() -> None:
        store.recover(disturbance)

    return heal


async def slow(blow: Blow) -> Heal:
    """Commits take time."""
    draws, span, label = blow.world.draws, blow.span("delay"), f"{blow.id}/commit"
    return _in_force(
        store_of(blow.world),
        SlowCommits(reason=blow.reason, delay=lambda n: draws.duration(label, n, span)),
    )


async def no_space(blow: Blow) -> Heal:
    """No room for anything new."""
    return _in_force(store_of(blow.world), NoRoom(reason=blow.reason))


async def read_only(blow: Blow) -> Heal:
    """No writes at all."""
    return _in_force(store_of(blow.world), ReadOnly(reason=blow.reason))


@attrs.define(eq=False, kw_only=True)
class _SyncFailure(Disturbance):
    """The sync of the next write fails, and the store with it."""

    kept: bool
    """Whether that write has reached the disk all the same."""
    _failed: bool = attrs.field(default=False, init=False)

    def refusal(self, access: Access) -> StoreError | None:
        if not self._failed:
            if access is Access.READ or self.kept:
                return None
            self._failed = True
        return StoreFailed("the sync of the log has failed; open the store again")

    def committed(self) -> StoreError | None:
        self._failed = True
        return OutcomeUnknown("the sync of the log has failed")


async def sync_failure(blow: Blow) -> Heal:
    """The store fails for good; healed, it has been opened again on what is durable."""
    failure = _SyncFailure(reason=blow.reason, kept=blow.text("unsynced") == "kept")
    return _in_force(store_of(blow.world), failure)


@attrs.define(eq=False, kw_only=True)
class _Crashes:
    """A store and its API servers that go down together at some of the writes, and come back by themselves."""

    world: World
    store: DisturbedStore
    reason: str
    every: int
    """Every so many writes that they are up."""
    left: int
    """How many times more."""
    down_seconds: float
    _writes: int = attrs.field(default=0, init=False)
    _down: Down | None = attrs.field(default=None, init=False)
    _holds: list[Hold] = attrs.field(factory=list, init=False)
    _fallen: trio.Event = attrs.field(factory=trio.Event, init=False)

    def hit(self) -> StoreError | None:
        """A write is at the point."""
        if self._down is not None:
            return None
        self._writes += 1
        if self._writes < self.every or self.left == 0:
            return None
        self._writes = 0
        self.left -= 1
        self._fall()
        return OutcomeUnknown("the store has crashed")

    def _fall(self) -> None:
        self._down = Down(reason=self.reason, error=lambda: StoreUnavailable("the store is down"))
        self.store.disturb(self._down)
        self._holds = [
            server.process.keep_down(self.reason) for server in self.world.servers.values()
        ]
        self._fallen.set()

    def rise(self) -> None:
        """Up again, if they are down."""
        down, self._down = self._down, None
        if down is not None:
            self._fallen = trio.Event()
            self.store.recover(down)
            for hold in self._holds:
                hold.release()

    async def rise_each_time(self) -> None:
        """Follow each fall by a rise, until cancelled."""
        while True:
            await self._fallen.wait()
            await trio.sleep(self.down_seconds)
            self.rise()


async def crash(blow: Blow) -> Heal:
    """Down at a point of a write, and up again."""
    world, store, reason = blow.world, store_of(blow.world), blow.reason
    if blow.count("every") < 1:
        raise BadInput("parameters.every: 0; allowed: 1 (each write) or more")
    crashes = _Crashes(
        world=world,
        store=store,
        reason=reason,
        every=blow.count("every"),
        left=blow.count("times"),
        down_seconds=blow.number("down"),
    )
    point = CrashPoint(reason=reason, before=blow.text("point") == "before", hit=crashes.hit)
    store.disturb(point)
    background = Background.start(world.nursery, crashes.rise_each_time, f"chaos {blow.id}")

    async def heal() -> None:
        store.recover(point)
        await background.stop()
        crashes.rise()

    return heal


async def compaction_storm(blow: Blow) -> Heal:
    """History is given up again and again."""
    world, store = blow.world, store_of(blow.world)
    keep, period = blow.count("keep"), blow.number("period")
    if period <= 0:
        raise BadInput("parameters.period: 0; allowed: more than 0")

    async def storm() -> None:
        while True:
            revision = store.inner.head - keep
            if revision > store.inner.compacted:
                await store.inner.compact(revision)
                for server in world.servers.values():
                    server.api.forget(revision)
            await trio.sleep(period)

    background = Background.start(world.nursery, storm, f"chaos {blow.id}")
    return background.stop


def residue(world: World) -> list[str]:
    """What disturbs the store, and what is wrong in it."""
    reasons = () if world.store is None else world.store.reasons
    return [*(f"store: {reason}" for reason in reasons), *corruption.residue(world)]


def _point(about: str, default: str, *choices: str) -> Parameter:
    return Parameter(
        kind=ParameterKind.CHOICE, about=about, default=default, choices=choices, hunted=choices
    )


FAULTS: Final = (
    *corruption.FAULTS,
    FaultType(
        name="store.slow",
        about="Each write takes time before it is carried out, in the order of their coming.",
        target=TargetKind.NOTHING,
        strike=slow,
        parameters={
            "delay": Parameter(
                kind=ParameterKind.RANGE,
                about="the time of each write",
                default="100ms..500ms",
                hunted=("10ms..100ms", "100ms..500ms", "1s..3s"),
            )
        },
    ),
    FaultType(
        name="store.no_space",
        about="Writes are refused as by an etcd without space, with 500; reads and deletes go on.",
        target=TargetKind.NOTHING,
        strike=no_space,
    ),
    FaultType(
        name="store.read_only",
        about="All writes are refused, with 500; reads go on.",
        target=TargetKind.NOTHING,
        strike=read_only,
    ),
    FaultType(
        name="store.sync_failure",
        about="The sync of the next write fails, and the store answers nothing (503) until it is opened again; watch caches go on serving.",
        target=TargetKind.NOTHING,
        strike=sync_failure,
        parameters={
            "unsynced": _point(
                "whether the write whose sync failed is there afterwards; kept, it is answered with 504",
                "lost",
                "lost",
                "kept",
            )
        },
    ),
    FaultType(
        name="store.crash",
        about="The store and the API servers go down at a write, whose outcome its writer does not learn, and come back by themselves.",
        target=TargetKind.NOTHING,
        strike=crash,
        parameters={
            "point": _point(
                "where in the write: before it is committed, or after it and before the answer",
                "after",
                "before",
                "after",
            ),
            "times": Parameter(
                kind=ParameterKind.COUNT, about="how often", default=1, hunted=(1, 2, 5)
            ),
            "every": Parameter(
                kind=ParameterKind.COUNT,
                about="how many writes after the strike, and after each return; 1 is the first",
                default=1,
                hunted=(1, 3, 10),
            ),
            "down": Parameter(
                kind=ParameterKind.SECONDS,
                about="how long they are down each time",
                default=2.0,
                hunted=(2.0, 20.0),
            ),
        },
    ),
    FaultType(
        name="store.compaction_storm",
        about="Again and again history is given up, in the store and the watch caches: watches from before it and lists under way meet 410.",
        target=TargetKind.NOTHING,
        strike=compaction_storm,
        parameters={
            "keep": Parameter(
                kind=ParameterKind.COUNT,
                about="how many revisions are left each time",
                default=100,
                hunted=(0, 10, 100),
            ),
            "period": Parameter(
                kind=ParameterKind.SECONDS,
                about="how often",
                default=5.0,
                hunted=(1.0, 5.0, 30.0),
            ),
        },
    ),
)
