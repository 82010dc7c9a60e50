"""What a run came to: its objects at the end, the lives of all there were, and what was wrong in it; values that two runs are compared by."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from engine import Json, Scheme
from wavetank.perturb.canonical import canonical
from wavetank.perturb.history import UNCOMPARED, History, Identity, Life
from wavetank.view import ClusterState

Content = Mapping[str, Json]


@attrs.frozen(kw_only=True)
class End:
    """The objects of a state, by what they are called; those with drawn names by what the names were drawn for."""

    named: Mapping[Identity, Content]
    drawn: Mapping[Identity, tuple[Content, ...]]
    """In an order that does not depend on the names."""

    @property
    def objects(self) -> int:
        """How many there are."""
        return len(self.named) + sum(len(each) for each in self.drawn.values())


def end_of(state: ClusterState, history: History, scheme: Scheme) -> End:
    """The objects there are now."""
    known = _known(history)
    named: dict[Identity, Content] = {}
    drawn: dict[Identity, list[Content]] = {}
    for kind in state.kinds():
        if kind in UNCOMPARED:
            continue
        for key, obj in sorted(state.raw(kind).items()):
            found = canonical(obj, scheme, known)
            if obj.metadata.generate_name:
                group = Identity(kind, key.namespace, f"{obj.metadata.generate_name}*")
                drawn.setdefault(group, []).append(found)
            else:
                named[Identity(kind, *key)] = found
    return End(
        named=named,
        drawn={group: tuple(sorted(found, key=_order)) for group, found in drawn.items()},
    )


def _order(found: Content) -> str:
    return repr(sorted(found.items()))


def _known(history: History) -> dict[str, str]:
    """Uids and drawn names by whose they are."""
    known: dict[str, str] = {}
    for identity, lives in history.lives.items():
        for life in lives:
            if life.generated:
                name = f"{life.generated}*"
                known[identity.name] = name
                known[life.uid] = f"uid of {identity.kind} {identity.namespace}/{name}"
            else:
                former = "" if life.alive else " (former)"
                known[life.uid] = f"uid of {identity}{former}"
    return known


@attrs.frozen(kw_only=True)
class Ending:
    """All that is compared of a run."""

    end: End
    history: History
    problems: Mapping[tuple[str, str], str]
    """Broken invariants, failed checks, what did not converge and what raised: the first message, by what it is and its name."""
    started_seconds: float
    """When the cluster had settled: the moments of two runs are compared from there."""


def lives_of(history: History) -> list[Life]:
    """All of them, in the order of their beginning."""
    return sorted(
        (life for lives in history.lives.values() for life in lives), key=lambda life: life.begun
    )
