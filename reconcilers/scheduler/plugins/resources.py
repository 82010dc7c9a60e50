"""Node-local plugins about what pods take from a node: ports, resources, and how evenly they take it."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from engine import Settings
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.pod_info import ANY_ADDRESS, Shape
from reconcilers.scheduler.wording import Rejection, rejection

MAX_SCORE: Final = 100
"""framework.MaxNodeScore."""


@attrs.frozen
class NodePorts:
    """Refuses nodes where a host port the pod wants is taken."""

    name: ClassVar[str] = "NodePorts"

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        if not shape.ports or not node.ports:
            return None
        for address, protocol, port in shape.ports:
            for used_address, used_protocol, used_port in node.ports:
                if (port, protocol) == (used_port, used_protocol) and (
                    address == used_address or ANY_ADDRESS in (address, used_address)
                ):
                    return rejection(
                        self.name, "node(s) didn't have free ports for the requested pod ports"
                    )
        return None


@attrs.frozen
class NodeResourcesFit:
    """Refuses nodes without room, naming every resource that is short."""

    name: ClassVar[str] = "NodeResourcesFit"
    settings: Settings

    def filter(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        cpu, memory, ephemeral, scalars = shape.request
        if (
            len(node.pods) < node.max_pods
            and (not cpu or cpu <= node.cpu - node.used_cpu)
            and (not memory or memory <= node.memory - node.used_memory)
            and (not ephemeral or ephemeral <= node.ephemeral - node.used_ephemeral)
            and not scalars
        ):
            return None
        return self._explain(shape, node)

    def _explain(self, shape: Shape, node: NodeInfo) -> Rejection | None:
        reasons: list[str] = []
        hopeless = False
        if len(node.pods) + 1 > node.max_pods:
            reasons.append("Too many pods")
        cpu, memory, ephemeral, scalars = shape.request
        wanted = [
            ("cpu", cpu, node.cpu, node.used_cpu),
            ("memory", memory, node.memory, node.used_memory),
            ("ephemeral-storage", ephemeral, node.ephemeral, node.used_ephemeral),
        ]
        for name, amount in scalars:
            wanted.append((name, amount, node.scalars.get(name, 0), node.used_scalars.get(name, 0)))
        for name, amount, offered, used in wanted:
            if amount and amount > offered - used:
                reasons.append(f"Insufficient {name}")
                hopeless = hopeless or amount > offered
        if not reasons:
            return None
        # Newer versions know that evicting others cannot help a pod that is larger than the node.
        unresolvable = hopeless and self.settings.at_least("1.31")
        return rejection(self.name, *reasons, unresolvable=unresolvable)


@attrs.frozen
class LeastAllocated:
    """Prefers nodes with much left, after the pod: the mean of what is free of cpu and memory, 0..100."""

    name: ClassVar[str] = "NodeResourcesFit"

    def score(self, shape: Shape, node: NodeInfo) -> int:
        """Containers without a request count with a default (`counted`), so that they spread as well."""
        free, parts = 0, 0
        if node.cpu:
            parts += 1
            wanted = node.counted_cpu + shape.counted_cpu
            if wanted <= node.cpu:
                free += (node.cpu - wanted) * MAX_SCORE // node.cpu
        if node.memory:
            parts += 1
            wanted = node.counted_memory + shape.counted_memory
            if wanted <= node.memory:
                free += (node.memory - wanted) * MAX_SCORE // node.memory
        return free // parts if parts else 0


@attrs.frozen
class BalancedAllocation:
    """Prefers nodes where cpu and memory would be used to the same degree, 0..100."""

    name: ClassVar[str] = "NodeResourcesBalancedAllocation"
    by_deviation: bool
    """From 1.23 on: 1 - standard deviation of the real requests; before: 1 - difference of the counted ones."""
    skips_best_effort: bool
    """From 1.33 on, pods without requests are not scored."""

    @classmethod
    def of(cls, settings: Settings) -> BalancedAllocation:
        return cls(settings.at_least("1.23"), settings.at_least("1.33"))

    def score(self, shape: Shape, node: NodeInfo) -> int:
        if not self.by_deviation:
            return self._by_difference(shape, node)
        request = shape.request
        if self.skips_best_effort and not request.cpu and not request.memory:
            return 0
        if not node.cpu or not node.memory:
            return MAX_SCORE
        cpu = min((node.used_cpu + request.cpu) / node.cpu, 1.0)
        memory = min((node.used_memory + request.memory) / node.memory, 1.0)
        return int((1 - abs(cpu - memory) / 2) * MAX_SCORE)

    def _by_difference(self, shape: Shape, node: NodeInfo) -> int:
        if not node.cpu or not node.memory:
            return 0
        cpu = (node.counted_cpu + shape.counted_cpu) / node.cpu
        memory = (node.counted_memory + shape.counted_memory) / node.memory
        return 0 if cpu >= 1 or memory >= 1 else int((1 - abs(cpu - memory)) * MAX_SCORE)
