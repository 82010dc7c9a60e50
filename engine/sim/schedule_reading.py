"""Schedules read from texts (the forms are listed in `schedules.py`) and from JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engine.sim.schedules import (
    EVERY_DECISION,
    CanonicalSchedule,
    DecisionRange,
    Deviation,
    KeyedSchedule,
    PctSchedule,
    PriorityRule,
    PrioritySchedule,
    RandomSchedule,
    Schedule,
    ScheduleError,
    TapeSchedule,
)

_SHOWN: Final = 80
"""Letters of a bad value shown in a message."""


def parse_schedule(text: str) -> Schedule:
    """The schedule that a text names; see the module for the forms.

    Raises:
        ScheduleError: it names none.
    """
    kind, colon, rest = text.partition(":")
    parse = _PARSERS.get(kind)
    if parse is None:
        raise ScheduleError(
            f"schedule {_shown(text)}: unknown kind {_shown(kind)}, expected is {_KINDS}"
        )
    try:
        return parse(rest if colon else None)
    except ScheduleError as error:
        raise ScheduleError(f"schedule {_shown(text)}: {error}") from None


_NUMBER: Final = re.compile(r"-?[0-9]{1,25}", re.ASCII)


def _number(what: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ScheduleError(f"{what} is {_shown(text)}, expected is an integer")
    return int(text)


def _parse_canonical(rest: str | None) -> Schedule:
    if rest is not None:
        raise ScheduleError(f"canonical takes nothing, and not {_shown(rest)}")
    return CanonicalSchedule()


def _parse_random(rest: str | None) -> Schedule:
    return RandomSchedule(seed=None if rest is None else _number("seed", rest))


def _parse_pct(rest: str | None) -> Schedule:
    if rest is None:
        raise ScheduleError("the depth is missing, as in pct:3")
    shape, colon, seed = rest.partition(":")
    depth, slash, steps = shape.partition("/")
    return PctSchedule(
        depth=_number("depth", depth),
        steps=_number("steps", steps) if slash else None,
        seed=_number("seed", seed) if colon else None,
    )


def _parse_keyed(rest: str | None) -> Schedule:
    if rest is None:
        return KeyedSchedule()
    seed, colon, ranges = rest.partition(":")
    return KeyedSchedule(
        seed=None if colon and not seed else _number("seed", seed),
        ranges=tuple(map(_parse_range, _listed(ranges))) if colon else EVERY_DECISION,
    )


def _parse_range(text: str) -> DecisionRange:
    first, dots, last = text.partition("..")
    start = _number("range", first)
    if not dots:
        return DecisionRange(start, start + 1)
    return DecisionRange(start, _number("range", last) if last else None)


def _parse_tape(rest: str | None, *, stepwise: bool) -> Schedule:
    deviations = map(_parse_deviation, _listed(rest or ""))
    return TapeSchedule(deviations=tuple(deviations), stepwise=stepwise)


def _parse_deviation(text: str) -> Deviation:
    decision, equals, order = text.partition("=")
    if not equals:
        raise ScheduleError(f"{_shown(text)} is no deviation, expected is DECISION=INDEX")
    return Deviation(
        _number("decision", decision),
        tuple(_number("index", each) for each in order.split(".")),
    )


def _parse_priorities(rest: str | None) -> Schedule:
    return PrioritySchedule(rules=tuple(map(_parse_rule, _listed(rest or ""))))


def _parse_rule(text: str) -> PriorityRule:
    who, equals, priority = text.partition("=")
    if not equals:
        raise ScheduleError(f"{_shown(text)} is no rule, expected is TASK=PRIORITY")
    task, at, step = who.partition("@")
    return PriorityRule(
        _number("task", task),
        _number("step", step) if at else 0,
        _number("priority", priority),
    )


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


_PARSERS: Final[dict[str, Callable[[str | None], Schedule]]] = {
    "canonical": _parse_canonical,
    "keyed": _parse_keyed,
    "pct": _parse_pct,
    "priorities": _parse_priorities,
    "random": _parse_random,
    "step-tape": lambda rest: _parse_tape(rest, stepwise=True),
    "tape": lambda rest: _parse_tape(rest, stepwise=False),
}
_KINDS: Final = ", ".join(_PARSERS)


def schedule_from_json(value: object) -> Schedule:
    """The schedule of a JSON value that `Schedule.to_json` made.

    Raises:
        ScheduleError: it is none.
    """
    if not isinstance(value, Mapping):
        raise ScheduleError(f"a schedule is an object with a kind, and not {_shown(value)}")
    kind = value.get("kind")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ScheduleError(
            f"schedule of unknown kind {_shown(kind)}, expected is {', '.join(_READERS)}"
        )
    fields = {str(name): each for name, each in value.items() if name != "kind"}
    try:
        schedule = reader(fields)
    except ScheduleError as error:
        raise ScheduleError(f"schedule of kind {kind}: {error}") from None
    if fields:
        raise ScheduleError(f"schedule of kind {kind}: unknown fields {', '.join(fields)}")
    return schedule


# Each reader takes its fields out of the object; what is left then is unknown.


def _read_pct(fields: dict[str, object]) -> Schedule:
    depth = _take(fields, "depth")
    if depth is None:
        raise ScheduleError("the depth is missing")
    return PctSchedule(depth=depth, seed=_take(fields, "seed"), steps=_take(fields, "steps"))


def _read_keyed(fields: dict[str, object]) -> Schedule:
    ranges = []
    for start, stop in _pairs(fields, "ranges"):
        ranges.append(
            DecisionRange(_whole("start", start), None if stop is None else _whole("stop", stop))
        )
    return KeyedSchedule(seed=_take(fields, "seed"), ranges=tuple(ranges))


def _read_priorities(fields: dict[str, object]) -> Schedule:
    rules = []
    for each in _list(fields, "rules"):
        if not isinstance(each, list | tuple) or len(each) != 3:
            raise ScheduleError(f"{_shown(each)} in rules is no list of task, step and priority")
        task, step, priority = each
        rules.append(
            PriorityRule(_whole("task", task), _whole("step", step), _whole("priority", priority))
        )
    return PrioritySchedule(rules=tuple(rules))


def _read_tape(fields: dict[str, object]) -> Schedule:
    stepwise = fields.pop("stepwise", False)
    if not isinstance(stepwise, bool):
        raise ScheduleError(f"stepwise is {_shown(stepwise)}, expected is true or false")
    deviations = []
    for decision, order in _pairs(fields, "deviations"):
        if not isinstance(order, list | tuple):
            raise ScheduleError(f"decision {_shown(decision)}: {_shown(order)} is no list")
        indices = tuple(_whole("index", each) for each in order)
        deviations.append(Deviation(_whole("decision", decision), indices))
    return TapeSchedule(deviations=tuple(deviations), stepwise=stepwise)


_READERS: Final[dict[str, Callable[[dict[str, object]], Schedule]]] = {
    "canonical": lambda _: CanonicalSchedule(),
    "keyed": _read_keyed,
    "pct": _read_pct,
    "priorities": _read_priorities,
    "random": lambda fields: RandomSchedule(seed=_take(fields, "seed")),
    "tape": _read_tape,
}


def _take(fields: dict[str, object], name: str) -> int | None:
    value = fields.pop(name, None)
    return None if value is None else _whole(name, value)


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ScheduleError(f"{name} is {_shown(value)}, expected is an integer")
    return value


def _list(fields: dict[str, object], name: str) -> Sequence[object]:
    value = fields.pop(name, None)
    if not isinstance(value, list | tuple):
        raise ScheduleError(f"{name} is {_shown(value)}, expected is a list")
    return value


def _pairs(fields: dict[str, object], name: str) -> list[tuple[object, object]]:
    pairs = []
    for each in _list(fields, name):
        if not isinstance(each, list | tuple) or len(each) != 2:
            raise ScheduleError(f"{_shown(each)} in {name} is no pair")
        pairs.append((each[0], each[1]))
    return pairs


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
