"""What a kind of fault is: its name, whom it strikes, what it can be told, and the function that strikes.

A family of faults (`wavetank.faults.node`, `.link`, ...) is a module with one function for each and a tuple FAULTS; the catalogue joins them.
A strike returns what heals it, or None when there is nothing to heal: a fault that takes no time. What it has to draw it draws
under labels that begin with the fault's id.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import attrs

from engine import DurationError, DurationRange, Json, parse_duration
from wavetank.errors import BadInput, UnknownTarget

if TYPE_CHECKING:
    from wavetank.faults.world import World

Heal: TypeAlias = Callable[[], Awaitable[None]]
"""Takes back what the fault did, and is called once; whatever happened to the target meanwhile, nothing of the fault is left then."""


class TargetKind(enum.Enum):
    """Whom a fault strikes, and how its target is written."""

    NODE = "a node, as node-1"
    ZONE = "a zone, as zone-a"
    PROCESS = "a process, as controller/replicaset, kubelet/node-1 or kube-scheduler-0"
    SERVER = "an API server, as apiserver-0"
    POD = "a pod: NAMESPACE/NAME, or the n-th by name of a workload's living pods: KIND/NAMESPACE/NAME#N"
    OBJECT = "an object: KIND/NAMESPACE/NAME, or KIND/NAME when the kind is cluster-wide"
    NOTHING = "nothing: there is only one"


class ParameterKind(enum.Enum):
    """What a parameter's value is."""

    SECONDS = "a number of seconds, or a duration such as 90s"
    RANGE = "a duration, or a range of durations such as 1s..5s that is drawn from"
    CHANCE = "a number from 0 to 1"
    COUNT = "a whole number, 0 or more"
    NUMBER = "a number"
    TEXT = "a text"
    CHOICE = "one of its choices"
    FLAG = "true or false"


@attrs.frozen(kw_only=True)
class Parameter:
    """One thing a fault can be told."""

    kind: ParameterKind
    about: str
    default: Json
    choices: tuple[str, ...] = ()
    hunted: tuple[Json, ...] = ()
    """What a hunt draws from; empty: the default."""

    def checked(self, value: Json, where: str) -> Json:
        """The value as a fault reads it: durations in seconds. Raises BadInput."""
        try:
            checked = self._checked(value)
        except DurationError as error:
            raise BadInput(f"{where}: {error}") from None
        if checked is None:
            allowed = ", ".join(self.choices) if self.choices else self.kind.value
            raise BadInput(f"{where}: {value!r}; allowed: {allowed}")
        return checked

    def _checked(self, value: Json) -> Json:  # noqa: PLR0911 - one return a case
        number = isinstance(value, int | float) and not isinstance(value, bool)
        match self.kind:
            case ParameterKind.SECONDS if isinstance(value, str):
                return parse_duration(value)
            case ParameterKind.SECONDS if number and cast("float", value) >= 0:
                return value
            case ParameterKind.RANGE if isinstance(value, str):
                DurationRange.parse(value)
                return value
            case ParameterKind.CHANCE if number and 0 <= cast("float", value) <= 1:
                return value
            case ParameterKind.COUNT if isinstance(value, int) and number and value >= 0:
                return value
            case ParameterKind.NUMBER if number:
                return value
            case ParameterKind.TEXT if isinstance(value, str):
                return value
            case ParameterKind.CHOICE if value in self.choices:
                return value
            case ParameterKind.FLAG if isinstance(value, bool):
                return value
        return None


class NoEffect(Exception):
    """The fault meets a target on which it can do nothing now, such as a node that is down; the message says why."""


@attrs.frozen(kw_only=True)
class Blow:
    """One fault as it strikes."""

    world: World
    type: str
    """The fault's name in the catalogue."""
    id: str
    """Of the fault in its plan: what it draws is labelled so."""
    target: str
    parameters: Mapping[str, Json]
    """All of them, defaults filled in."""
    seconds: float | None
    """How long it will last; None is until it is healed."""

    @property
    def reason(self) -> str:
        """What a thing says that is held by the fault."""
        return f"{self.type} {self.id}"

    def number(self, name: str) -> float:
        """A parameter that is a number, or seconds."""
        return float(cast("float", self.parameters[name]))

    def count(self, name: str) -> int:
        """A parameter that is a whole number."""
        return cast("int", self.parameters[name])

    def text(self, name: str) -> str:
        """A parameter that is a text or a choice."""
        return cast("str", self.parameters[name])

    def flag(self, name: str) -> bool:
        """A parameter that is true or false."""
        return cast("bool", self.parameters[name])

    def span(self, name: str) -> DurationRange:
        """A parameter that is a range of durations, in seconds."""
        return DurationRange.parse(self.text(name))


Strike: TypeAlias = Callable[[Blow], Awaitable[Heal | None]]
"""Raises UnknownTarget, NoEffect."""


@attrs.frozen(kw_only=True)
class FaultType:
    """One kind of fault. `name` is FAMILY.NAME; `about` is one sentence."""

    name: str
    about: str
    target: TargetKind
    strike: Strike
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict)
    lasting: bool = True
    """Whether it goes on until it is healed; the others take no time, and a duration for them is an error."""
    hunted: bool = True
    """Whether a hunt may draw it: it leaves a cluster that can recover once it is healed."""
    breaks: tuple[str, ...] = ()
    """Invariants that it may break by itself: while it is in a plan a hunt does not hold them against the reconcilers."""

    @property
    def family(self) -> str:
        """The first part of its name."""
        return self.name.partition(".")[0]

    def checked(self, parameters: Mapping[str, Json], where: str) -> dict[str, Json]:
        """All parameters, defaults filled in. Raises BadInput."""
        for name in parameters:
            if name not in self.parameters:
                allowed = ", ".join(self.parameters) or "none"
                raise BadInput(
                    f"{where}: {self.name} has no parameter {name!r}; allowed: {allowed}"
                )
        return {
            name: parameter.checked(parameters.get(name, parameter.default), f"{where}.{name}")
            for name, parameter in self.parameters.items()
        }


class Releasable(Protocol):
    """What a fault holds: a Hold, an Entry, an Effect."""

    def release(self) -> None: ...


def releasing(*held: Releasable) -> Heal:
    """The heal of a fault that does nothing but hold."""

    async def heal() -> None:
        for each in held:
            each.release()

    return heal


def unknown(what: str, name: str, known: Mapping[str, object]) -> UnknownTarget:
    """The error for a target that is not there."""
    there = ", ".join(known) or "none"
    return UnknownTarget(f"no {what} is called {name!r}; there are: {there}")
