"""Pods that wait for a node to be cleared for them by preemption.

A nominated pod is no promise, but others reckon with it: a pod of no higher priority must fit beside it
(internal/queue, nominator).
"""

from __future__ import annotations

import attrs

from reconcilers.scheduler.pod_info import PodInfo


@attrs.define(eq=False)
class Nominations:
    """Nominated pods by node; all operations are O(1)."""

    _node_of: dict[str, str] = attrs.field(factory=dict, init=False)
    _by_node: dict[str, dict[str, PodInfo]] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._node_of)

    def set(self, pod: PodInfo, node: str) -> None:
        """Nominate `pod` for a node, instead of any other; an empty name nominates it for none."""
        self.drop(pod.uid)
        if node:
            self._node_of[pod.uid] = node
            self._by_node.setdefault(node, {})[pod.uid] = pod

    def drop(self, uid: str) -> None:
        """The pod waits for no node any more."""
        node = self._node_of.pop(uid, None)
        if node is not None:
            waiting = self._by_node[node]
            del waiting[uid]
            if not waiting:
                del self._by_node[node]

    def node_of(self, uid: str) -> str:
        """The node the pod waits for, or an empty name."""
        return self._node_of.get(uid, "")

    def nodes(self) -> list[str]:
        """All nodes that pods wait for."""
        return list(self._by_node)

    def waiting_for(self, node: str) -> list[PodInfo]:
        """The pods that wait for a node, in order of nomination."""
        return list(self._by_node.get(node, {}).values())

    def check(self) -> None:
        """Assert that both directions agree."""
        pairs = {uid: node for node, pods in self._by_node.items() for uid in pods}
        assert pairs == self._node_of
        assert all(self._by_node.values())
