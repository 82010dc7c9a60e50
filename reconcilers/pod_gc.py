"""The pod garbage collector: removes pods that nobody else will ever remove.

Every 20 s it looks at four kinds: finished pods beyond a threshold, the oldest first; terminating
pods on a node that is down and declared out of service; pods of nodes that do not exist, after a
quarantine of 40 s and a look at the API server itself; and terminating pods that were never bound.
All are deleted without grace; what was not finished is marked Failed first (from 1.26 on), so that
their owners can tell.

Nothing is scanned: an index holds the pods that may be of these kinds, and the pods are counted by
node.

Source: kubernetes pkg/controller/podgc/gc_controller.go. Times are Unix microseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar, Final

import attrs

from engine import (
    ApiError,
    Change,
    Condition,
    Conflict,
    Key,
    Node,
    NotFound,
    Pod,
    Reconciler,
    Settings,
    Source,
    Watches,
    nodes,
    set_causes,
)
from reconcilers.pod_endings import index_by_node, with_condition

TIMER: Final = "timer:pod-gc"
"""The cause that the log shows."""

ORPHANED: Final = Condition(
    type="DisruptionTarget",
    status="True",
    reason="DeletionByPodGC",
    message="PodGC: node no longer exists",
)

_FINISHED: Final = "finished"
_TERMINATING: Final = "terminating"
_SECOND: Final = 1_000_000


def kinds_of(pod: Pod) -> tuple[str, ...]:
    """Index function: the lists of this controller that `pod` belongs to."""
    finished = pod.status.phase not in ("", "Pending", "Running", "Unknown")
    terminating = pod.metadata.deletion_timestamp is not None
    if not finished and not terminating:
        return ()
    return (_FINISHED,) * finished + (_TERMINATING,) * terminating


@attrs.frozen(kw_only=True)
class Removal:
    """A pod to be deleted without grace, and the condition to leave on it, if any."""

    pod: Pod
    condition: Condition | None = None


def excess(finished: Sequence[Pod], settings: Settings) -> list[Removal]:
    """The finished pods beyond `terminated_pod_gc_threshold` (0: none): evicted ones first (from
    1.27), then by age.
    """
    threshold = settings.terminated_pod_gc_threshold
    if threshold <= 0 or len(finished) <= threshold:
        return []
    ordered = sorted(finished, key=lambda pod: _age(pod, settings))
    return [Removal(pod=pod) for pod in ordered[: len(finished) - threshold]]


def _age(pod: Pod, settings: Settings) -> tuple[bool, int, str, str]:
    evicted = pod.status.phase == "Failed" and pod.status.reason == "Evicted"
    return (
        settings.at_least("1.27") and not evicted,
        int(pod.metadata.creation_timestamp or 0),
        pod.metadata.name,
        pod.metadata.namespace,
    )


def plan(
    finished: Sequence[Pod],
    terminating: Sequence[Pod],
    node_of: Callable[[str], Node | None],
    settings: Settings,
) -> list[Removal]:
    """What to remove among the pods of the two lists, in order; orphans are found by their nodes
    (`Quarantine`).
    """
    removals = excess(finished, settings)
    if settings.at_least("1.26"):
        down = [pod for pod in terminating if _is_out_of_service(node_of(pod.spec.node_name))]
        removals.extend(
            Removal(pod=pod) for pod in sorted(down, key=lambda pod: _age(pod, settings))
        )
    removals.extend(Removal(pod=pod) for pod in terminating if not pod.spec.node_name)
    return removals


def _is_out_of_service(node: Node | None) -> bool:
    """Whether an administrator has said so by a taint, of any effect, and the node is indeed down."""
    if node is None or nodes.is_ready(node):
        return False
    return any(taint.key == nodes.TAINT_OUT_OF_SERVICE for taint in node.spec.taints)


class Quarantine:
    """Nodes that pods name and that do not exist, and since when: a node may only be late to be
    seen.

    A node's way: `look` finds it missing and notes the time; looks during 40 s change nothing; then
    `look` names it once, to be checked at the API server, and forgets it: if pods still name it
    then, it begins anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._period = round(settings.pod_gc_quarantine * _SECOND)
        self._due: dict[str, int] = {}

    def look(self, missing: Iterable[str], now: int) -> list[str]:
        """Note the nodes missing now; returns those whose time is over, and which are missing still."""
        present: dict[str, None] = dict.fromkeys(missing)
        for name in present:
            self._due.setdefault(name, now + self._period)
        over = [name for name, due in self._due.items() if due <= now]
        for name in over:
            del self._due[name]
        return [name for name in over if name in present]

    def __len__(self) -> int:
        return len(self._due)


class PodGC(Reconciler):
    """See the module's text. It has no keys: one loop does it all."""

    name: ClassVar[str] = "pod-gc"

    def sources(self) -> Sequence[Source]:
        return (Watches(Pod), Watches(Node))

    async def setup(self) -> None:
        self._quarantine = Quarantine(self.settings)
        self._pods_on: dict[str, int] = {}
        """How many pods name each node, whether it exists or not."""
        self.informer(Pod).add_index("kind", kinds_of)
        self.informer(Pod).add_index("node", index_by_node)
        self.informer(Pod).add_handler(self._pod_changed)

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return (self.collect,)

    def _pod_changed(self, change: Change[Pod]) -> None:
        old = change.old.spec.node_name if change.old is not None else ""
        new = change.new.spec.node_name if change.new is not None else ""
        if old == new:
            return
        count_node(self._pods_on, old, -1)
        count_node(self._pods_on, new, +1)

    async def collect(self) -> None:
        """Look every `pod_gc_period`, beginning now."""
        while True:
            await self._look()
            await self.sleep(self.settings.pod_gc_period)

    async def _look(self) -> None:
        set_causes(TIMER)
        all_pods, all_nodes = self.informer(Pod), self.informer(Node)
        removals = plan(
            all_pods.by_index("kind", _FINISHED),
            all_pods.by_index("kind", _TERMINATING),
            lambda name: all_nodes.get(Key("", name)),
            self.settings,
        )
        missing = [name for name in self._pods_on if all_nodes.get(Key("", name)) is None]
        for name in self._quarantine.look(missing, self.clock.unix_us()):
            if await self._is_gone(name):
                removals.extend(
                    Removal(pod=pod, condition=ORPHANED) for pod in all_pods.by_index("node", name)
                )
        for removal in removals:
            await self._remove(removal)

    async def _is_gone(self, name: str) -> bool:
        try:
            await self.client.get(Node, name)
        except NotFound:
            return True
        except ApiError:
            return False  # not known: its pods bring it back into quarantine
        return False

    async def _remove(self, removal: Removal) -> None:
        """Mark the pod Failed and delete it. A refusal is passed over: the next look finds the pod
        again.
        """
        pod = removal.pod
        version = pod.metadata.resource_version
        set_causes(*((int(version),) if version else ()), TIMER)
        try:
            if self.settings.at_least("1.26"):
                await self._mark_failed(pod, removal.condition)
            await self.client.delete(pod, grace_period_seconds=0)
        except ApiError:
            return

    async def _mark_failed(self, pod: Pod, condition: Condition | None) -> None:
        """Raises ApiError. The real controller patches; here a conflict is answered by one fresh read."""
        failed = self._failed(pod, condition)
        if failed is pod:
            return
        try:
            await self.client.update_status(failed)
        except Conflict:
            newest = await self.client.get(Pod, pod.metadata.name, pod.metadata.namespace)
            if newest.metadata.uid != pod.metadata.uid:
                return
            failed = self._failed(newest, condition)
            if failed is not newest:
                await self.client.update_status(failed)

    def _failed(self, pod: Pod, condition: Condition | None) -> Pod:
        """`pod` with phase Failed and that condition; the same object when it has finished by itself."""
        if pod.status.phase in ("Succeeded", "Failed"):
            return pod
        if condition is not None:
            pod = with_condition(pod, condition, self.clock.unix_us())
        return attrs.evolve(pod, status=attrs.evolve(pod.status, phase="Failed"))


def count_node(pods_on: dict[str, int], name: str, step: int) -> None:
    """Add `step` to the pods of node `name` (empty: of no node); a node without pods is dropped."""
    if not name:
        return
    count = pods_on.get(name, 0) + step
    if count:
        pods_on[name] = count
    else:
        pods_on.pop(name, None)
