"""When a pod must leave a node with NoExecute taints: tolerations, and the timers that follow from
them.

A pod that does not tolerate some NoExecute taint of its node goes at once; one that tolerates them
all for a time goes when the shortest of these times is over, counted from the moment this
controller saw it (not from the taint's timeAdded); one that tolerates them for ever stays.

One pod's timer: its node is tainted `unreachable`, which the pod tolerates for 300 s: `judge`
starts a timer and answers Wait(300 s). The node's taint becomes `not-ready`: the timer stays as it
was. The node recovers: `cancel` says that a deletion was called off. Or nobody comes back, `due` is
true after 300 s, the pod is deleted, and `deleted` keeps a mark so that it is not deleted twice.

Source: kubernetes pkg/controller/tainteviction (processPodOnNode, TimedWorkerQueue). Times are Unix
microseconds; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from engine import (
    Key,
    Pod,
    Taint,
    Toleration,
    Uid,
    pods,
)

NO_EXECUTE: Final = "NoExecute"

_SECOND: Final = 1_000_000


def no_execute(taints: Sequence[Taint]) -> tuple[Taint, ...]:
    """The NoExecute taints among `taints`."""
    return tuple(taint for taint in taints if taint.effect == NO_EXECUTE)


FOR_EVER: Final = -1
"""Seconds of a pod that tolerates all taints without a limit."""
UNTOLERATED: Final = -2
"""Seconds of a pod that does not tolerate some taint."""


def tolerated_seconds(tolerations: Sequence[Toleration], taints: Sequence[Taint]) -> int:
    """How long the taints are tolerated together: seconds, FOR_EVER or UNTOLERATED.

    Of each taint the first toleration that covers it counts, and of those the shortest.
    """
    shortest: int | None = None
    for taint in taints:
        for toleration in tolerations:
            if pods.tolerates_taint(toleration, taint):
                break
        else:
            return UNTOLERATED
        seconds = toleration.toleration_seconds
        if seconds is not None and (shortest is None or seconds < shortest):
            shortest = seconds
    return FOR_EVER if shortest is None else max(shortest, 0)


@attrs.frozen
class Keep:
    """The pod stays. With `cancelled`, a timer was stopped for it, which is to be told."""

    cancelled: bool = False


@attrs.frozen
class Wait:
    """The pod must go in that many microseconds, unless something changes; 0 or less is now."""

    microseconds: int
    cancelled: bool = False
    """A timer was stopped first: what was tolerated for a while is not tolerated at all any more."""


@attrs.frozen
class _Timer:
    """A deletion to come, or done: for which pod, and what it was judged by."""

    uid: Uid
    due_us: int
    taints: tuple[Taint, ...]
    tolerations: tuple[Toleration, ...]
    done: bool = False


class EvictionTimers:
    """The timers of all pods. Every call is O(1) but for the pod's own taints and tolerations."""

    def __init__(self) -> None:
        self._timers: dict[Key, _Timer] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._timers

    def __len__(self) -> int:
        """Timers that run."""
        return sum(1 for timer in self._timers.values() if not timer.done)

    def judge(self, key: Key, pod: Pod, taints: tuple[Taint, ...], now: int) -> Keep | Wait:
        """What becomes of `pod`, bound to a node with the NoExecute taints `taints`.

        Judging again what was judged before changes nothing: a timer that runs keeps its time whatever
        the new tolerations or taints say, as long as they say a time (the real controller compares the old
        start with now, and so never shortens it). A pod deleted before is not deleted again.
        """
        timer = self._timers.get(key)
        if timer is not None and timer.uid != pod.metadata.uid:
            timer = None  # of an older pod with this name
        tolerations = pod.spec.tolerations
        if timer is not None:
            if timer.done:
                return Keep()
            if timer.taints == taints and timer.tolerations == tolerations:
                return Wait(timer.due_us - now)
        seconds = tolerated_seconds(tolerations, taints)
        if seconds == FOR_EVER:
            return Keep(cancelled=self.cancel(key))
        if timer is not None and seconds != UNTOLERATED:
            self._timers[key] = attrs.evolve(timer, taints=taints, tolerations=tolerations)
            return Wait(timer.due_us - now)
        cancelled = self.cancel(key)
        due = now + max(seconds, 0) * _SECOND
        self._timers[key] = _Timer(pod.metadata.uid, due, taints, tolerations)
        return Wait(due - now, cancelled)

    def cancel(self, key: Key) -> bool:
        """Forget the pod: it is gone, or its node has no taints. True when a timer was running."""
        timer = self._timers.pop(key, None)
        return timer is not None and not timer.done

    def due(self, key: Key, now: int) -> Uid | None:
        """The uid of the pod if it must be deleted now, else None."""
        timer = self._timers.get(key)
        if timer is None or timer.done or now < timer.due_us:
            return None
        return timer.uid

    def deleted(self, key: Key, uid: Uid) -> None:
        """The pod was deleted: its timer runs no more, and it is not deleted again while it lasts."""
        timer = self._timers.get(key)
        if timer is not None and timer.uid == uid:
            self._timers[key] = attrs.evolve(timer, done=True)
