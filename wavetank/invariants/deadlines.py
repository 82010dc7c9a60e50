"""What is looked at again at a time: a heap, and when the control plane was last disturbed."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import attrs

from engine import Fault, KubeObject
from store import Event as LogEvent
from wavetank.invariants.model import NEVER, SECOND_NS

T = TypeVar("T")


@attrs.define(eq=False)
class Deadlines(Generic[T]):
    """Items by the time at which they are due; of equal times in the order of their coming. O(log n) each."""

    due_ns: int = attrs.field(default=NEVER, init=False)
    """Of the first; NEVER when there is none."""
    _heap: list[tuple[int, int, T]] = attrs.field(factory=list, init=False)
    _count: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_ns: int, item: T) -> None:
        """Have `item` be due at `due_ns`."""
        self._count += 1
        heapq.heappush(self._heap, (due_ns, self._count, item))
        self.due_ns = self._heap[0][0]

    def take(self, now_ns: int) -> Iterator[T]:
        """Take out what is due by now; what is added meanwhile is looked at too."""
        heap = self._heap
        while heap and heap[0][0] <= now_ns:
            item = heapq.heappop(heap)[2]
            self.due_ns = heap[0][0] if heap else NEVER
            yield item


_OF_NODES: Final = ("crashNode", "restartNode", "partitionNode", "pauseKubelet")
_FAMILIES_OF_NODES: Final = ("node", "zone", "kubelet", "pod", "container", "runtime")
"""Faults, by the part of their type before the dot, that leave the control plane alone."""


CATCHING_UP_NS: Final = 180 * SECOND_NS
"""How long a controller may act on an old view after what kept it from the news is over: a request under way takes its whole time-out (60 s); its informer waits up to
30 s, drawn between once and twice, before it watches again (client-go's reflector); that watch is too old for a server that has started anew, and it waits as
long again before it lists. What controllers undo of each other's work until then, Kubernetes' controllers do as well."""


@attrs.define(eq=False)
class Disturbances:
    """Follows the faults in the log that strike more than nodes, their kubelets and their pods.

    While one lasts, no controller has to do anything by a given time; one that takes no time (a restart) may have cost a controller
    its memory.
    """

    ended_ns: int = attrs.field(default=-NEVER, init=False)
    """When the last one was heard of."""
    _active: dict[str, None] = attrs.field(factory=dict, init=False)

    def observe(self, event: LogEvent, old: KubeObject | None) -> None:
        """Take one event of a Fault."""
        fault = old if event.value is None else event.value
        if not isinstance(fault, Fault) or _strikes_nodes(fault):
            return
        self.ended_ns = event.time_ns
        if event.value is not None and fault.status.phase == "Active":
            self._active[event.key] = None
        else:
            self._active.pop(event.key, None)

    @property
    def active(self) -> bool:
        """Whether one lasts now."""
        return bool(self._active)

    def since(self, moment_ns: int) -> bool:
        """Whether there was one at `moment_ns` or later."""
        return bool(self._active) or self.ended_ns >= moment_ns


def _strikes_nodes(fault: Fault) -> bool:
    kind = fault.spec.kind
    return (
        kind in _OF_NODES
        or kind.partition(".")[0] in _FAMILIES_OF_NODES
        or fault.spec.target.startswith("kubelet/")
    )
