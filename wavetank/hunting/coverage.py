"""Coverage: what the faults of a hunt have met, and what they never have.

Three kinds of things are counted: each fault type with each phase that a pod of the cluster was in when it struck; each write site, that is who writes what in
which way, and whether a fault that kills or cuts off a process struck while it was at it; and the user's own probes (`wavetank.sometimes`). A list of what was never reached says more
than a number: it is what was not tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

import attrs

from engine import Fault, KubeObject, Pod
from store import Event as LogEvent
from wavetank.faults.model import FaultType
from wavetank.view import View

PHASES: Final = ("Pending", "Running", "Terminating", "Succeeded", "Failed")
"""Of a pod; Terminating is one that is marked for deletion, whatever its phase says."""

_RECENT_NS: Final = 1_000_000_000
"""A process is at a write for so long after it: what it does next builds on that."""


@attrs.define(eq=False)
class Coverage:
    """Counts what one run reaches. A spectator of the log; keys are `fault TYPE | PHASE`, `write ACTOR VERB KIND`, `crash ACTOR VERB KIND`, `probe NAME`."""

    counts: dict[str, int] = attrs.field(factory=dict)
    _last: dict[str, tuple[str, int]] = attrs.field(factory=dict, init=False)
    """By actor: its last write, and when."""
    _phases: dict[str, int] = attrs.field(factory=dict, init=False)

    def observe(self, event: LogEvent, old: KubeObject | None, view: View) -> None:
        del view
        new = cast("KubeObject | None", event.value)
        if isinstance(new, Fault) and old is None:
            self._fault(new, event.time_ns)
            return
        obj = new if new is not None else old
        if isinstance(obj, Pod):
            self._pod(cast("Pod | None", old), cast("Pod | None", new))
        if obj is None:
            return
        verb = "delete" if new is None else "create" if old is None else "update"
        actor = _kind_of_actor(event.origin.actor)
        site = f"{actor} {verb} {obj.kind}"
        self._count(f"write {site}")
        self._last[event.origin.actor] = (site, event.time_ns)

    def probes(self, hits: Mapping[str, int]) -> None:
        """Add the user's probes."""
        for name, hit in hits.items():
            self.counts[f"probe {name}"] = self.counts.get(f"probe {name}", 0) + hit

    def _count(self, key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1

    def _pod(self, old: Pod | None, new: Pod | None) -> None:
        for pod, step in ((old, -1), (new, 1)):
            if pod is not None:
                phase = phase_of(pod)
                self._phases[phase] = self._phases.get(phase, 0) + step

    def _fault(self, fault: Fault, now_ns: int) -> None:
        kind = fault.spec.kind
        for phase, pods in self._phases.items():
            if pods > 0:
                self._count(f"fault {kind} | {phase}")
        for actor, (site, at_ns) in self._last.items():
            if now_ns - at_ns <= _RECENT_NS and _concerns(fault, actor):
                self._count(f"crash {site}")


def phase_of(pod: Pod) -> str:
    """As people call it."""
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating"
    return pod.status.phase or "Pending"


def _kind_of_actor(actor: str) -> str:
    """All kubelets are one: a write site is a place in a program."""
    return "kubelet" if actor.startswith("kubelet/") else actor.partition("@")[0]


def _concerns(fault: Fault, actor: str) -> bool:
    """Whether the fault strikes the process of the actor."""
    target = fault.spec.target
    return target in {actor, actor.partition("/")[2]}


def merged(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of what several runs reached."""
    total: dict[str, int] = {}
    for each in counts:
        for key, count in each.items():
            total[key] = total.get(key, 0) + count
    return total


@attrs.frozen(kw_only=True)
class CoverageReport:
    """What a hunt reached, and what not."""

    counts: Mapping[str, int]
    unreached_faults: tuple[str, ...]
    """TYPE | PHASE pairs of the phases that the cluster's pods were ever in."""
    uncrashed_writes: tuple[str, ...]
    """Write sites at which no fault struck their process."""
    unreached_probes: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of all pairs, sites and probes, those reached; 0 to 1."""
        missed = (
            len(self.unreached_faults) + len(self.uncrashed_writes) + len(self.unreached_probes)
        )
        reached = sum(
            1 for key, count in self.counts.items() if count and not key.startswith("write ")
        )
        return reached / (reached + missed) if reached + missed else 1.0


def report_of(counts: Mapping[str, int], types: Sequence[FaultType]) -> CoverageReport:
    """What of all that could be reached was, given the faults that were drawn from."""
    phases = dict.fromkeys(key.rpartition(" | ")[2] for key in counts if key.startswith("fault "))
    sites = [key.removeprefix("write ") for key in counts if key.startswith("write ")]
    return CoverageReport(
        counts=counts,
        unreached_faults=tuple(
            f"{kind.name} | {phase}"
            for kind in types
            for phase in PHASES
            if phase in phases and not counts.get(f"fault {kind.name} | {phase}")
        ),
        uncrashed_writes=tuple(
            site
            for site in sorted(sites)
            if site.partition(" ")[0] not in _NOT_PROCESSES and not counts.get(f"crash {site}")
        ),
        unreached_probes=tuple(
            sorted(
                key.removeprefix("probe ")
                for key, count in counts.items()
                if key.startswith("probe ") and not count
            )
        ),
    )


_NOT_PROCESSES: Final = ("user", "chaos", "wavetank", "apiserver")
"""Who writes and cannot be struck."""
