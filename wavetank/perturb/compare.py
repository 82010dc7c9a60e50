"""Compares a perturbed run with the undisturbed one.

Three things are compared: the objects at the end, by content (`end.py`); what was removed that the undisturbed run keeps, or kept that it removes;
and what was wrong (invariants, checks, convergence). What the perturbation sets off and what is undone again is no difference:

- an object that was made too much and removed again, or that was never made because it was not called for when the reconciler looked;
- of objects with drawn names (pods of one ReplicaSet), which of several equals is there.

But to remove what should stay is damage, though it be made again: another object of the name has another uid, and what hung on the first is gone.
And to keep what the undisturbed run removes because of the end of something else is damage, though one of the name is wanted later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import attrs

from engine import Json
from wavetank.perturb.end import Content, Ending, lives_of
from wavetank.perturb.history import History, Identity, Life

_SHOWN: Final = 12
"""Lines of one difference."""


@attrs.frozen(kw_only=True)
class Difference:
    """One way in which the runs differ."""

    what: str
    """`missing`, `surplus`, `content`, `removed`, `survived`, or what is wrong: `invariant`, `not converged`, ..."""
    name: str
    """Of the object, or of what is wrong."""
    lines: tuple[str, ...]
    """Told, with `-` for the undisturbed run and `+` for the perturbed one."""
    revision: int = 0
    """In the perturbed run; 0 when it belongs to none."""

    def __str__(self) -> str:
        return "\n".join((f"{self.what} {self.name}", *(f"  {line}" for line in self.lines)))


@attrs.frozen(kw_only=True)
class Window:
    """When a perturbation was in force, by the perturbed run."""

    actor: str
    """The process that is perturbed."""
    struck: int
    """The newest revision as it struck: what is older is the same in both runs."""
    begun_seconds: float
    over_seconds: float
    unseen: int = 0
    """The revision that made an object of which the reconciler was told nothing until it had gone; 0 for none. What the undisturbed run made because
    of it was not called for."""


AFTERMATH_SECONDS: Final = 5.0
"""After the end of a perturbation: what is made within this time may still come from what the reconciler saw."""


def compare(reference: Ending, perturbed: Ending, window: Window) -> list[Difference]:
    """The differences, the worst first; none when the perturbation has left nothing."""
    found = [
        Difference(what=what, name=name, lines=(message,))
        for (what, name), message in perturbed.problems.items()
        if (what, name) not in reference.problems
    ]
    removed = {each.name: each for each in _removed(reference, perturbed, window)}
    survived = {each.name: each for each in _survived(reference, perturbed)}
    return [*found, *_ends(reference, perturbed, window), *removed.values(), *survived.values()]


# -- the objects at the end ------------------------------------------------------------------------


def _ends(reference: Ending, perturbed: Ending, window: Window) -> Iterator[Difference]:
    before, after = reference.end, perturbed.end
    uncalled = _uncalled(reference.history, window)
    for identity in {**before.named, **after.named}:
        old, new = before.named.get(identity), after.named.get(identity)
        if old is None:
            life = perturbed.history.lives[identity][-1]
            made = f"+ made by {life.maker} in r{life.begun}"
            yield Difference(what="surplus", name=str(identity), lines=(made,), revision=life.begun)
        elif new is None and identity not in uncalled:
            yield Difference(
                what="missing", name=str(identity), lines=_removal(perturbed.history, identity)
            )
        elif new is not None and old != new:
            yield Difference(what="content", name=str(identity), lines=tuple(_diff(old, new)))
    for group in {**before.drawn, **after.drawn}:
        old_all, new_all = before.drawn.get(group, ()), after.drawn.get(group, ())
        missing = len(old_all) - len(new_all)
        if old_all != new_all and not 0 < missing <= uncalled.get(group, 0):
            yield _group(group, old_all, new_all)


def _uncalled(history: History, window: Window) -> dict[Identity, int]:
    """How many objects that are there in the end of the undisturbed run were made for what the reconciler was not told of, or because of it."""
    found: dict[Identity, int] = {}
    lives = lives_of(history) if window.unseen else []
    owners = [life.uid for life in lives if life.begun == window.unseen]
    for life in lives:
        called = life.owner in owners or window.unseen in history.behind(life.begun)
        if life.alive and called:
            group = _group_of(life) if life.generated else life.identity
            found[group] = found.get(group, 0) + 1
    return found


def _removal(history: History, identity: Identity) -> tuple[str, ...]:
    lives = history.lives.get(identity)
    if not lives:
        return ("+ never made",)
    return (f"+ removed by {lives[-1].remover} in r{lives[-1].marked}",)


def _group(group: Identity, old: Sequence[Content], new: Sequence[Content]) -> Difference:
    if len(old) != len(new):
        what = "missing" if len(new) < len(old) else "surplus"
        return Difference(what=what, name=str(group), lines=(f"- {len(old)}", f"+ {len(new)}"))
    lines = [line for a, b in zip(old, new, strict=True) for line in _diff(a, b)]
    return Difference(what="content", name=str(group), lines=tuple(lines[:_SHOWN]))


def _diff(old: Content, new: Content) -> Iterator[str]:
    shown = 0
    for path in {**old, **new}:
        if old.get(path, _NONE) != new.get(path, _NONE) and shown < _SHOWN:
            shown += 1
            if path in old:
                yield f"- {path}: {old[path]!r}"
            if path in new:
                yield f"+ {path}: {new[path]!r}"


_NONE: Final[Json] = "\0"


# -- the lives -------------------------------------------------------------------------------------


def _removed(reference: Ending, perturbed: Ending, window: Window) -> Iterator[Difference]:
    """Removed and made again, though the undisturbed run has the first all the time; of equals, more of them by itself than there."""
    for identity, lives in perturbed.history.lives.items():
        for life, again in pairwise(lives):
            if _made_meanwhile(life, window):
                continue
            kept = _same(life, reference.history.lives.get(identity, ()))
            if kept is not None and _covers(kept, life, again, reference, perturbed):
                yield Difference(
                    what="removed",
                    name=str(identity),
                    lines=(
                        f"- made in r{kept.begun}, and there all the time",
                        f"+ removed in r{life.marked} by {life.remover}, made again in r{again.begun}",
                    ),
                    revision=life.marked,
                )
    before, after = _by_actor(reference, window.actor), _by_actor(perturbed, window.actor, window)
    for group, ended in after.items():
        usual = len(before.get(group, ()))
        if len(ended) > usual:
            last = ended[-1]
            yield Difference(
                what="removed",
                name=str(group),
                lines=(
                    f"- {usual}",
                    f"+ {len(ended)}, the last in r{last.marked} by {last.remover}",
                ),
                revision=last.marked,
            )


def _made_meanwhile(life: Life, window: Window) -> bool:
    """Whether it was made while the reconciler saw what is not, or shortly after: to remove such a one undoes it."""
    return (
        life.begun > window.struck and life.begun_seconds <= window.over_seconds + AFTERMATH_SECONDS
    )


def _same(life: Life, lives: Sequence[Life]) -> Life | None:
    """The same life in the other run: as many of its name have gone before."""
    return next((each for each in lives if each.uid == life.uid), None)


def _covers(kept: Life, life: Life, again: Life, reference: Ending, perturbed: Ending) -> bool:
    """Whether `kept` is there from the end of `life` until it is made again."""
    ended = life.ended_seconds - perturbed.started_seconds
    made = again.begun_seconds - perturbed.started_seconds
    begun = kept.begun_seconds - reference.started_seconds
    return begun <= ended and (kept.alive or kept.ended_seconds - reference.started_seconds > made)


def _by_actor(
    ending: Ending, actor: str, window: Window | None = None
) -> dict[Identity, list[Life]]:
    """The lives of drawn names that the reconciler itself has ended, but for those made in the window, by what the names were drawn for.

    What others end depends on where pods were placed, for one: a node that is lost takes what is on it.
    """
    found: dict[Identity, list[Life]] = {}
    for life in lives_of(ending.history):
        undone = window is not None and _made_meanwhile(life, window)
        if life.generated and not life.alive and life.remover == actor and not undone:
            found.setdefault(_group_of(life), []).append(life)
    return found


def _group_of(life: Life) -> Identity:
    kind, namespace, _ = life.identity
    return Identity(kind, namespace, f"{life.generated}*")


def _survived(reference: Ending, perturbed: Ending) -> Iterator[Difference]:
    """Kept beyond the end of what the undisturbed run removes it for."""
    for identity, lives in reference.history.lives.items():
        others = perturbed.history.lives.get(identity, [])
        if not others or not others[-1].alive:
            continue
        for life in lives:
            if life.alive or life.generated or others[-1].uid != life.uid:
                continue
            for cause in reference.history.ends_behind(life.marked):
                gone = _gone_meanwhile(cause, others[-1], perturbed.history)
                if gone is not None:
                    yield Difference(
                        what="survived",
                        name=str(identity),
                        lines=(
                            f"- removed in r{life.marked}, because {cause} was",
                            f"+ still there, though {cause} was removed in r{gone.ended}",
                        ),
                        revision=gone.ended,
                    )
                    break


def _gone_meanwhile(cause: Identity, survivor: Life, history: History) -> Life | None:
    """The life of `cause` that ended while the survivor lived."""
    for life in history.lives.get(cause, []):
        if not life.alive and life.begun <= survivor.begun < life.ended:
            return life
    return None
