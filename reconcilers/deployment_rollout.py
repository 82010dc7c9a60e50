"""The arithmetic of a rollout: how large each ReplicaSet of a Deployment should be.

All functions are pure and count *specified* replicas unless they say available. Two bounds hold at
every step of a rolling update of R replicas: the specified replicas of all ReplicaSets never exceed
R + maxSurge, and nothing here takes the available ones below R - maxUnavailable (controllers.md
4.2.6; test_a_rolling_update_keeps_its_bounds).

    R = 10, surge 25% (3, rounded up), unavailable 25% (2, rounded down), old 10, new 0: new 0 -> 3
    (13 in all), old 10 -> 8 (8 must stay available), new 3 -> 5 (13 in all); then each new pod that
    becomes available lets an old one go, and each one gone lets a new one come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from engine import Deployment, ReplicaSet

DESIRED_REPLICAS: Final = "deployment.kubernetes.io/desired-replicas"
"""Annotation of a ReplicaSet: the Deployment's replicas when it was last sized. Another number
means that the Deployment was scaled, which is not a rollout.
"""
MAX_REPLICAS: Final = "deployment.kubernetes.io/max-replicas"
"""Annotation: desired replicas plus surge at that time, the whole of which the ReplicaSet's size is
a part.
"""

ROLLING_UPDATE: Final = "RollingUpdate"
RECREATE: Final = "Recreate"


@attrs.frozen
class Sizing:
    """A ReplicaSet and the size it should have."""

    replica_set: ReplicaSet
    size: int


def desired(deployment: Deployment) -> int:
    """`spec.replicas`, 1 when it is absent."""
    replicas = deployment.spec.replicas
    return 1 if replicas is None else replicas


def size_of(replica_set: ReplicaSet) -> int:
    """The replicas the ReplicaSet specifies, 1 when it does not say."""
    replicas = replica_set.spec.replicas
    return 1 if replicas is None else replicas


def total(replica_sets: Iterable[ReplicaSet]) -> int:
    """Specified replicas of all."""
    return sum(size_of(replica_set) for replica_set in replica_sets)


def available(replica_sets: Iterable[ReplicaSet]) -> int:
    """Available replicas of all, as their status says."""
    return sum(replica_set.status.available_replicas for replica_set in replica_sets)


def active(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """Those that specify any replicas."""
    return [replica_set for replica_set in replica_sets if size_of(replica_set) > 0]


def is_rolling(deployment: Deployment) -> bool:
    """Whether the strategy is RollingUpdate, which an absent one is."""
    strategy = deployment.spec.strategy
    return strategy is None or strategy.type in {"", ROLLING_UPDATE}


def resolve(value: int | str | None, whole: int, *, round_up: bool) -> int:
    """An absolute number, or a percentage of `whole` rounded up or down. Raises ValueError."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%")) * whole
    return -(-percent // 100) if round_up else percent // 100


def _bounds(deployment: Deployment) -> tuple[int, int]:
    """Surge and unavailable as numbers; both zero could never move, so unavailable is then 1."""
    strategy = deployment.spec.strategy
    rolling = strategy.rolling_update if strategy is not None else None
    if rolling is None:
        surge: int | str | None = "25%"
        unavailable: int | str | None = "25%"
    else:
        surge, unavailable = rolling.max_surge, rolling.max_unavailable
    replicas = desired(deployment)
    up = resolve(surge, replicas, round_up=True)
    down = resolve(unavailable, replicas, round_up=False)
    return (up, down) if up or down else (0, 1)


def max_surge(deployment: Deployment) -> int:
    """How many replicas there may be above the desired ones; 0 for Recreate."""
    return _bounds(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Deployment) -> int:
    """How many of the desired replicas may be unavailable; 0 for Recreate."""
    replicas = desired(deployment)
    if not is_rolling(deployment) or replicas == 0:
        return 0
    return min(_bounds(deployment)[1], replicas)


def max_replicas(deployment: Deployment) -> int:
    """Desired replicas plus surge."""
    return desired(deployment) + max_surge(deployment)


def new_size(deployment: Deployment, replica_sets: Sequence[ReplicaSet], new: int) -> int:
    """How large a new ReplicaSet that has `new` replicas may be, next to the others (4.2.6 a)."""
    replicas = desired(deployment)
    if not is_rolling(deployment) or new > replicas:
        return replicas
    room = max_replicas(deployment) - total(replica_sets)
    return new + min(room, replicas - new) if room > 0 else new


def shrink_old(deployment: Deployment, old: Sequence[ReplicaSet], new: ReplicaSet) -> list[Sizing]:
    """How far the old ReplicaSets, oldest first, may shrink now (4.2.6 b); steps in order, a set
    may have two.

    Unavailable old pods go first: they serve nobody, and would block the rollout. New pods that are
    not yet available count against the budget, so that a rollout that never becomes available stops
    half way.
    """
    if total(old) == 0:
        return []
    least = desired(deployment) - max_unavailable(deployment)
    not_yet = size_of(new) - new.status.available_replicas
    budget = total(old) + size_of(new) - least - not_yet
    if budget <= 0:
        return []
    sizes = {replica_set.metadata.name: size_of(replica_set) for replica_set in old}
    steps: list[Sizing] = []
    for replica_set in old:
        size = size_of(replica_set)
        unavailable = size - replica_set.status.available_replicas
        # Negative while the status lags behind an earlier step.
        step = min(budget, unavailable)
        if size > 0 and step > 0:
            budget -= step
            sizes[replica_set.metadata.name] = size - step
            steps.append(Sizing(replica_set, size - step))
    # A set that was told to shrink may still report the pods it is about to lose: they do not
    # count.
    kept = sum(min(rs.status.available_replicas, sizes[rs.metadata.name]) for rs in old)
    spare = kept + new.status.available_replicas - least
    for replica_set in old:
        size = sizes[replica_set.metadata.name]
        step = min(size, spare)
        if step > 0:
            spare -= step
            steps.append(Sizing(replica_set, size - step))
    return steps


def is_saturated(deployment: Deployment, new: ReplicaSet | None) -> bool:
    """Whether the new ReplicaSet has all the Deployment's replicas, and all are available."""
    if new is None:
        return False
    replicas = desired(deployment)
    return (
        size_of(new) == replicas
        and annotated(new, DESIRED_REPLICAS) == replicas
        and new.status.available_replicas == replicas
    )


def annotated(replica_set: ReplicaSet, annotation: str) -> int | None:
    """The number in an annotation; None when it is absent or no number."""
    text = replica_set.metadata.annotations.get(annotation)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def was_scaled(deployment: Deployment, replica_sets: Iterable[ReplicaSet]) -> bool:
    """Whether the Deployment's replicas changed since its active ReplicaSets were sized."""
    noted = [annotated(replica_set, DESIRED_REPLICAS) for replica_set in active(replica_sets)]
    return any(number is not None and number != desired(deployment) for number in noted)


def rescale(
    deployment: Deployment, old: Sequence[ReplicaSet], new: ReplicaSet | None
) -> list[Sizing]:
    """The sizes after the Deployment was scaled, or while it is paused (4.2.8); `old` oldest first.

    A Deployment in the middle of a rollout keeps its proportions: the difference is shared out by
    size.
    """
    replicas = desired(deployment)
    everyone = [*old, new] if new is not None else list(old)
    if not everyone:
        return []
    running = active(everyone)
    if len(running) <= 1:
        # None runs: the new one is to, or the latest.
        chosen = running[0] if running else new if new is not None else old[-1]
        noted = annotated(chosen, DESIRED_REPLICAS)
        # Of the right size but noted otherwise: somebody sized it by hand. Noting it lets rollouts
        # go on.
        right = size_of(chosen) == replicas and noted in {None, replicas}
        return [] if right else [Sizing(chosen, replicas)]
    if is_saturated(deployment, new):
        return [Sizing(replica_set, 0) for replica_set in active(old)]
    if not is_rolling(deployment):
        return []
    return _proportional(deployment, running)


def _proportional(deployment: Deployment, running: list[ReplicaSet]) -> list[Sizing]:
    allowed = max_replicas(deployment) if desired(deployment) > 0 else 0
    to_add = allowed - total(running)
    if to_add == 0:
        return [Sizing(replica_set, size_of(replica_set)) for replica_set in running]
    # The largest first; of equals the newer when growing, the older when shrinking.
    ordered = sorted(running, key=_age, reverse=to_add > 0)
    ordered.sort(key=size_of, reverse=True)
    added = 0
    sizes: list[int] = []
    for replica_set in ordered:
        left = to_add - added
        share = _share(deployment, replica_set) if left else 0
        share = min(share, left) if to_add > 0 else max(share, left)
        added += share
        sizes.append(size_of(replica_set) + share)
    sizes[0] = max(0, sizes[0] + to_add - added)
    return [Sizing(replica_set, size) for replica_set, size in zip(ordered, sizes, strict=True)]


def _share(deployment: Deployment, replica_set: ReplicaSet) -> int:
    """By how much a ReplicaSet would change to keep the fraction it had of the old maximum."""
    size = size_of(replica_set)
    if desired(deployment) == 0:
        return -size
    whole = annotated(replica_set, MAX_REPLICAS) or deployment.status.replicas
    if whole == 0:
        return 0
    # Rounded half away from zero, in integers: floor((2a + b) / 2b).
    return (2 * size * max_replicas(deployment) + whole) // (2 * whole) - size


def _age(replica_set: ReplicaSet) -> tuple[int, str]:
    return (replica_set.metadata.creation_timestamp or 0, replica_set.metadata.name)


def oldest_first(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """By creation, then name."""
    return sorted(replica_sets, key=_age)
