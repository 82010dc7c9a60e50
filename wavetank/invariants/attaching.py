"""What a checker is told of a cluster."""

from __future__ import annotations

from typing import Final

import attrs

from engine import WatchEvent, WatchListener, WatchRequest
from wavetank.cluster import Cluster
from wavetank.invariants.checker import InvariantChecker
from wavetank.invariants.model import Surroundings


def surroundings_of(cluster: Cluster) -> Surroundings:
    """The surroundings of a run of `cluster`, from its present revision on."""
    return Surroundings(
        settings=cluster.settings,
        reconcilers=tuple(reconciler.name for reconciler in cluster.reconcilers),
        revision=cluster.view.revision,
        running=lambda node, uid: running(cluster, node, uid),
        listen=lambda listener: _listen(cluster, listener),
    )


_WATCHES: Final = 1 << 40
"""More watches than one API server opens in a run."""


@attrs.frozen
class _OfServer:
    """Hears of one API server's watches, under numbers that no other's have."""

    listener: WatchListener
    offset: int

    def opened(self, watch: int, request: WatchRequest, after: int, *, from_state: bool) -> None:
        self.listener.opened(self.offset + watch, request, after, from_state=from_state)

    def delivered(self, watch: int, events: tuple[WatchEvent, ...]) -> None:
        self.listener.delivered(self.offset + watch, events)

    def ended(self, watch: int, upto: int | None) -> None:
        self.listener.ended(self.offset + watch, upto)


def _listen(cluster: Cluster, listener: WatchListener) -> None:
    for number, handle in enumerate(cluster.servers.handles.values()):
        handle.api.listen(_OfServer(listener, number * _WATCHES))


def running(cluster: Cluster, node: str, uid: str) -> int:
    """How many containers of the pod with that uid run on the node now; 0 of a node that is down."""
    machine = cluster.machines.get(node)
    if machine is None or not machine.process.living:
        return 0
    record = machine.runtime.pods.get(uid)
    if record is None:
        return 0
    now = cluster.clock.now_ns()
    return sum(each.running(now) for records in record.containers.values() for each in records)


def attach(checker: InvariantChecker, cluster: Cluster) -> None:
    """Have `checker` watch the cluster from now on. Whoever ends the run calls `checker.finish`."""
    checker.begin(surroundings_of(cluster))
    cluster.observer.add(checker)
