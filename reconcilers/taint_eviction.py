"""The taint eviction controller: deletes pods from nodes whose NoExecute taints they do not, or no
longer, tolerate.

A node's key judges all pods on it when its NoExecute taints have changed; a pod's key judges that
pod, and deletes it when its time has come. The times are in `EvictionTimers`, in memory only: after
a restart every pod begins its toleration over, as in the real controller. Waiting is left to the
work queue's delayed adds, and what is no longer due when its delay is over is simply not due.

Source: kubernetes pkg/controller/tainteviction/taint_eviction.go (before 1.29 a part of the node
lifecycle controller).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import trio

from engine import (
    ApiError,
    Change,
    Condition,
    Done,
    For,
    Key,
    Node,
    NotFound,
    ObjectReference,
    Pod,
    Reconciler,
    Result,
    Settings,
    Source,
    Taint,
    Uid,
    Watches,
    key_of,
)
from reconcilers.pod_endings import index_by_node, with_condition
from reconcilers.taint_eviction_timers import EvictionTimers, Wait, no_execute

DELETE_TRIES: Final = 5
DELETE_PAUSE: Final = 0.010
"""A delete is tried that often, with that many seconds between (retries, deletePodHandler)."""

DISRUPTION: Final = Condition(
    type="DisruptionTarget",
    status="True",
    reason="DeletionByTaintManager",
    message="Taint manager: deleting due to NoExecute taint",
)
"""Put on a pod before it is deleted, from 1.26 on."""

_SECOND: Final = 1_000_000


class TaintEviction(Reconciler):
    """See the module's text. Keys without a namespace are nodes, keys with one are pods."""

    name: ClassVar[str] = "taint-eviction"
    workers: ClassVar[int] = 8

    @classmethod
    def event_component(cls, settings: Settings) -> str:
        return "taint-eviction-controller" if settings.at_least("1.29") else "taint-controller"

    def sources(self) -> Sequence[Source]:
        return (For(Node), Watches(Pod))

    async def setup(self) -> None:
        self._timers = EvictionTimers()
        self._tainted: dict[str, tuple[Taint, ...]] = {}
        """NoExecute taints by node, as they were when its pods were judged; only nodes that have some."""
        self.informer(Pod).add_index("node", index_by_node)
        self.informer(Pod).add_handler(self._pod_changed)

    def _pod_changed(self, change: Change[Pod]) -> None:
        old, new = change.old, change.new
        key = key_of(change.object)
        if new is None:
            if key in self._timers:
                self.queue.add(key)
        elif new.spec.node_name in self._tainted and (
            old is None
            or old.spec.node_name != new.spec.node_name
            or old.spec.tolerations != new.spec.tolerations
            or old.metadata.uid != new.metadata.uid
        ):
            self.queue.add(key)

    async def reconcile(self, key: Key) -> Result:
        if key.namespace:
            await self._reconcile_pod(key)
        else:
            self._reconcile_node(key)
        return Done()

    def _reconcile_node(self, key: Key) -> None:
        node = self.informer(Node).get(key)
        if node is None:
            # Timers of its pods go on: the pods are still there, and nothing says that they may stay.
            self._tainted.pop(key.name, None)
            return
        taints = no_execute(node.spec.taints)
        if taints == self._tainted.get(key.name, ()):
            return
        # Before the pods are read: a pod that the index does not show yet will be judged by its own key.
        if taints:
            self._tainted[key.name] = taints
        else:
            del self._tainted[key.name]
        for pod in self.informer(Pod).by_index("node", key.name):
            if taints:
                self._judge(key_of(pod), pod, taints)
            elif self._timers.cancel(key_of(pod)):
                self._tell(key_of(pod), "Cancelling deletion of Pod")

    async def _reconcile_pod(self, key: Key) -> None:
        pod = self.informer(Pod).get(key)
        if pod is None:
            if self._timers.cancel(key):
                self._tell(key, "Cancelling deletion of Pod")
            return
        uid = self._timers.due(key, self.clock.unix_us())
        if uid is not None and uid == pod.metadata.uid:
            await self._evict(key, uid)
            return
        taints = self._tainted.get(pod.spec.node_name)
        if taints is not None:
            self._judge(key, pod, taints)

    def _judge(self, key: Key, pod: Pod, taints: tuple[Taint, ...]) -> None:
        outcome = self._timers.judge(key, pod, taints, self.clock.unix_us())
        if outcome.cancelled:
            self._tell(key, "Cancelling deletion of Pod")
        if isinstance(outcome, Wait):
            self.queue.add_after(key, outcome.microseconds / _SECOND)

    async def _evict(self, key: Key, uid: Uid) -> None:
        """Delete the pod. Raises ApiError when it could not be done in some tries: later, and again
        later.
        """
        self._tell(key, "Marking for deletion Pod")
        for attempt in range(1, DELETE_TRIES + 1):
            try:
                await self._delete(key, uid)
                break
            except NotFound:
                break
            except ApiError:
                # The real controller gives up here until something changes; a pod would stay for ever.
                if attempt == DELETE_TRIES:
                    raise
                await trio.sleep(DELETE_PAUSE)
        self._timers.deleted(key, uid)

    async def _delete(self, key: Key, uid: Uid) -> None:
        if self.settings.at_least("1.26"):
            pod = await self.client.get(Pod, key.name, key.namespace)
            if pod.metadata.uid != uid:
                return
            marked = with_condition(pod, DISRUPTION, self.clock.unix_us())
            if marked is not pod:
                await self.client.update_status(marked)
        await self.client.delete(Pod, key.name, key.namespace, uid=uid)

    def _tell(self, key: Key, what: str) -> None:
        pod = self.informer(Pod).get(key)
        about = ObjectReference(
            api_version=Pod.api_version,
            kind=Pod.kind,
            namespace=key.namespace,
            name=key.name,
            uid=pod.metadata.uid if pod is not None else Uid(""),
        )
        self.recorder.event(about, "Normal", "TaintManagerEviction", f"{what} {key}")
