"""What faults do to one machine and its kubelet. All of it belongs to the machine, so it outlives every restart of the kubelet.

Nothing acts here: the kubelet's parts and the runtime ask, at the places where they would do otherwise. An undisturbed machine answers "nothing" everywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from fnmatch import fnmatchcase

import attrs

from engine import DurationRange
from sim_nodes.calendar import Calendar
from sim_nodes.effects import Effect, Effects


class PressureKind(enum.Enum):
    """What a node runs out of; the value is the condition that says so."""

    MEMORY = "MemoryPressure"
    DISK = "DiskPressure"
    PID = "PIDPressure"


@attrs.define(eq=False)
class Pressure:
    """A shortage, and how many pods the kubelet may still evict because of it."""

    kind: PressureKind
    evictions: int


@attrs.frozen
class PullTrouble:
    """What happens to pulls of the images that match: they take longer, and fail when `error` says with what."""

    match: str
    extra: DurationRange
    error: str = ""

    def matches(self, image: str) -> bool:
        return fnmatchcase(image, self.match)


@attrs.define(eq=False)
class PodDisturbances:
    """What faults do to one pod, known by uid; the containers it will start are affected as those it has."""

    blind: Effects[None] = attrs.field(factory=Effects)
    """The kubelet does not see what becomes of its containers, and says of it what it last said."""
    hanging: Effects[None] = attrs.field(factory=Effects)
    """Its containers answer no probe."""
    unready: Effects[None] = attrs.field(factory=Effects)
    """Its containers answer their readiness probes with no."""
    crashing: Effects[DurationRange] = attrs.field(factory=Effects)
    """Its containers end with an error, so long after their start."""

    def __bool__(self) -> bool:
        return bool(self.blind or self.hanging or self.unready or self.crashing)

    def named(self) -> Iterator[tuple[str, Effects[None] | Effects[DurationRange]]]:
        yield "blind", self.blind
        yield "hanging", self.hanging
        yield "unready", self.unready
        yield "crashing", self.crashing


@attrs.define(eq=False)
class Disturbances:
    """Of one machine."""

    silent: Effects[None] = attrs.field(factory=Effects)
    """No heartbeats are sent."""
    late: Effects[DurationRange] = attrs.field(factory=Effects)
    """Each heartbeat is sent so much later."""
    slow: Effects[DurationRange] = attrs.field(factory=Effects)
    """The kubelet takes so long before each thing it does."""
    slowdown: Effects[float] = attrs.field(factory=Effects)
    """Pulls and starts take so many times as long."""
    stuck: Effects[None] = attrs.field(factory=Effects)
    """The runtime hangs when it is told to stop a pod: no pod comes to its end."""
    pulls: Effects[PullTrouble] = attrs.field(factory=Effects)
    pressure: Effects[Pressure] = attrs.field(factory=Effects)
    calendar: Calendar = attrs.field(factory=Calendar)
    pods: dict[str, PodDisturbances] = attrs.field(factory=dict)

    def factor(self) -> float:
        """How many times as long pulls and starts take."""
        product = 1.0
        for effect in self.slowdown:
            product *= effect.value
        return product

    def disturb(self, uid: str) -> PodDisturbances:
        """What to add to for a pod."""
        return self.pods.setdefault(uid, PodDisturbances())

    def relieve(self, uid: str, effect: Effect[None] | Effect[DurationRange]) -> None:
        """Take an effect on a pod back."""
        effect.release()
        pod = self.pods.get(uid)
        if pod is not None and not pod:
            del self.pods[uid]

    def in_force(self) -> list[str]:
        """All of it, one line each."""
        named: list[tuple[str, Effects[object]]] = [
            (name, getattr(self, name)) for name in _NODE_WIDE
        ]
        lines = [f"{name} by {effect.reason}" for name, effects in named for effect in effects]
        lines += [f"clock wrong by {error.reason}" for error in self.calendar.active]
        for uid, pod in self.pods.items():
            lines += [
                f"pod {uid} {name} by {effect.reason}"
                for name, effects in pod.named()
                for effect in _all(effects)
            ]
        return lines


_NODE_WIDE = ("silent", "late", "slow", "slowdown", "stuck", "pulls", "pressure")


def _all(
    effects: Effects[None] | Effects[DurationRange],
) -> list[Effect[None] | Effect[DurationRange]]:
    return list(effects)
