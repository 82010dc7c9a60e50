"""Plans perturbations by cause, from what one reconciler was told and wrote in the undisturbed run.

A notification causes a write when the reconcile that writes answers it, which our writes say themselves; and it may have caused it when it came
in the same reconcile or in the one before, for a reconciler reads more than it answers. Of those the newest are taken. What causes no write is not
planned, nor is a write that changed nothing.

    intermediate   each write
    stale          each delete U of an object that is made again under its name: for the N that caused U
    unobserved     each N that caused a write and is cancelled by a later N'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from engine import Json, Scheme
from wavetank.perturb.canonical import content
from wavetank.perturb.history import UNCOMPARED, History, Identity, Life
from wavetank.perturb.model import PATTERNS, Crash, Hide, Perturbation, Rewind
from wavetank.perturb.recording import Notification, Recording, Write

MOST: Final = 100
"""Plans of one pattern."""
NEAR: Final = 4
"""Notifications before a write that are taken for causes though it names others."""
MARGIN_SECONDS: Final = 10.0
"""How much longer than in the undisturbed run a change stays hidden."""


@attrs.frozen(kw_only=True)
class Planning:
    """What is to be run, and what was left out."""

    plans: tuple[Perturbation, ...]
    found: Mapping[str, int]
    """By pattern, with those that are over the bound."""

    @property
    def left_out(self) -> int:
        """How many are over the bound."""
        return sum(self.found.values()) - len(self.plans)


def plan(
    recording: Recording,
    history: History,
    scheme: Scheme,
    *,
    only: Sequence[str] = PATTERNS,
    most: int = MOST,
) -> Planning:
    """The plans of the patterns named, each once, at most `most` of each: those are spread evenly over the run."""
    causality = Causality.of(recording)
    makers: dict[str, Iterable[Perturbation]] = {
        Crash.pattern: crashes(recording),
        Rewind.pattern: rewinds(recording, history, causality),
        Hide.pattern: hides(recording, scheme, causality),
    }
    plans: list[Perturbation] = []
    found: dict[str, int] = {}
    for pattern in PATTERNS:
        if pattern in only:
            made = list(dict.fromkeys(makers[pattern]))
            found[pattern] = len(made)
            kept = min(most, len(made))
            plans += [made[index * len(made) // kept] for index in range(kept)]
    return Planning(plans=tuple(plans), found=found)


def _effective(recording: Recording) -> list[Write]:
    """The writes that changed the cluster's state."""
    return [
        write
        for write in recording.writes
        if write.number not in recording.void and write.kind not in UNCOMPARED
    ]


def crashes(recording: Recording) -> Iterator[Crash]:
    """Intermediate states."""
    for write in _effective(recording):
        yield Crash(write=write.number, about=str(write))


@attrs.frozen
class Causality:
    """Which notifications caused which writes."""

    by_write: Mapping[int, Sequence[Notification]]
    """By the number of an effective write: those that it names, newest first, then those that were near."""

    @classmethod
    def of(cls, recording: Recording) -> Causality:
        """Of the recorded run."""
        by_write: dict[int, Sequence[Notification]] = {}
        by_revision: dict[int, list[Notification]] = {}
        for each in recording.notifications:
            by_revision.setdefault(each.revision, []).append(each)
        reconcile, first, before = "", 0, 0
        for write in _effective(recording):
            if write.origin.reconcile != reconcile or not reconcile:
                # What came since the first write of the reconcile before is near.
                reconcile, before, first = write.origin.reconcile, first, write.told
            causes = sorted({each for each in write.origin.causes if isinstance(each, int)})
            named = [found for each in reversed(causes) for found in by_revision.get(each, [])]
            near = recording.notifications[max(before, write.told - NEAR) : write.told]
            others = [each for each in reversed(near) if each not in named]
            by_write[write.number] = [*named, *others]
        return cls(by_write)


def rewinds(recording: Recording, history: History, causality: Causality) -> Iterator[Rewind]:
    """Stale states."""
    for write in _effective(recording):
        again = _made_again(write, history) if write.verb == "delete" else None
        if again is None:
            continue
        for cause in causality.by_write[write.number]:
            yield Rewind(
                view=cause.revision,
                after=again.begun,
                about=f"{cause} had caused {write}, and {again.identity} was made again in r{again.begun}",
            )


def _made_again(write: Write, history: History) -> Life | None:
    """The life that follows the one that a delete ended."""
    lives = history.lives.get(Identity(write.kind, *write.key), [])
    return next((life for life in lives[1:] if life.begun > write.head), None)


def hides(recording: Recording, scheme: Scheme, causality: Causality) -> Iterator[Hide]:
    """Unobserved states."""
    caused = {each.revision: None for causes in causality.by_write.values() for each in causes}
    later: dict[Identity, list[Notification]] = {}
    for each in recording.notifications:
        later.setdefault(Identity(each.kind, *each.key), []).append(each)
    for identity, told in later.items():
        if identity.kind in UNCOMPARED:
            continue
        contents = [content(each.new, scheme) for each in told]
        for index, each in enumerate(told):
            if each.revision not in caused:
                continue
            paths = (
                changed(content(each.old, scheme), contents[index]) if each.old and each.new else ()
            )
            if each.old and each.new and not paths:
                continue
            end = next(
                (
                    told[after]
                    for after in range(index + 1, len(told))
                    if cancels(contents[index], contents[after], paths)
                ),
                None,
            )
            if end is not None:
                yield Hide(
                    kind=identity.kind,
                    namespace=identity.namespace,
                    name=identity.name,
                    since=each.revision,
                    most=round(end.seconds - each.seconds + MARGIN_SECONDS, 3),
                    paths=paths,
                    about=f"{_change(each, paths)}, cancelled by {end}",
                )


def changed(old: Mapping[str, Json], new: Mapping[str, Json]) -> tuple[str, ...]:
    """The paths whose values differ."""
    return tuple(path for path in {**old, **new} if old.get(path) != new.get(path))


def cancels(told: Mapping[str, Json], later: Mapping[str, Json], paths: Sequence[str]) -> bool:
    """Whether a later state takes back what was told: the object is gone, or there again, or one of the fields that were set is set otherwise."""
    if bool(told) is not bool(later):
        return True
    return any(told.get(path) != later.get(path) for path in paths)


def _change(each: Notification, paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
    return f"{each}: {', '.join(paths[:2])}{more}" if paths else str(each)
