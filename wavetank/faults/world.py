"""What faults act upon: the parts of one running cluster, by their names, and what the faults struck so far have left there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import attrs
import trio

from engine import (
    Client,
    Clock,
    Draws,
    Key,
    KubeObject,
    LeaderElector,
    Link,
    Pod,
    Process,
    Processes,
    Route,
    Seam,
    ServerHandle,
    UnknownKind,
    is_terminal,
)
from sim_nodes import NodeHandle
from store import DisturbedStore
from wavetank.errors import UnknownTarget
from wavetank.faults.ledger import Ledger
from wavetank.faults.model import unknown
from wavetank.faults.overrides import Overrides
from wavetank.view import View, kind_name


class ControlProcess(Protocol):
    """A reconciler's process, as faults see it."""

    @property
    def process(self) -> Process: ...
    @property
    def link(self) -> Link: ...


@attrs.frozen(kw_only=True)
class World:
    """The cluster as faults reach it. Everything is looked up when a fault strikes: what a name means may change in a run."""

    client: Client
    """Chaos' own, undisturbed."""
    clock: Clock
    draws: Draws
    nodes: Mapping[str, NodeHandle]
    controllers: Mapping[str, ControlProcess]
    """By the reconciler's name."""
    links: Mapping[str, Link]
    """Of all processes of the control plane and the kubelets, by the process' name."""
    processes: Processes
    seams: Mapping[str, Seam]
    """Of the same processes: where faults reach their requests and watches."""
    routes: Mapping[str, Route]
    """Of the same processes: which API server each asks."""
    servers: Mapping[str, ServerHandle]
    """The API servers, by name: apiserver-0, ..."""
    store: DisturbedStore | None
    """As the API server meets it; None when it is an etcd, which is not ours to disturb."""
    electors: Mapping[str, LeaderElector]
    """Of the candidates of the control plane, by the process' name; none when nobody is elected."""
    ledger: Ledger = attrs.field(factory=Ledger)
    """What faults have written over in stored objects."""
    overrides: Overrides = attrs.field(factory=Overrides)
    """What faults have changed in the spec of objects."""
    view: Callable[[], View]
    nursery: trio.Nursery
    """For what a fault has to do while it lasts; its heal cancels that and waits for its end."""

    def node(self, name: str) -> NodeHandle:
        """Raises UnknownTarget."""
        if name not in self.nodes:
            raise unknown("node", name, self.nodes)
        return self.nodes[name]

    def in_zone(self, zone: str) -> list[NodeHandle]:
        """The nodes of a zone, in the order of the cluster. Raises UnknownTarget when there is none."""
        found = [node for node in self.nodes.values() if node.description.zone == zone]
        if not found:
            zones = dict.fromkeys(node.description.zone for node in self.nodes.values())
            raise unknown("zone", zone, zones)
        return found

    def process(self, name: str) -> Process:
        """Raises UnknownTarget."""
        if name not in self.processes:
            raise unknown("process", name, dict.fromkeys(each.name for each in self.processes))
        return self.processes[name]

    def link(self, name: str) -> Link:
        """The link of a process, by its name. Raises UnknownTarget."""
        if name not in self.links:
            raise unknown("process with a link", name, self.links)
        return self.links[name]

    def seam(self, name: str) -> Seam:
        """The seam of a process that has a link, by its name. Raises UnknownTarget."""
        if name not in self.seams:
            raise unknown("process with a link", name, self.seams)
        return self.seams[name]

    def route(self, name: str) -> Route:
        """The route of a process that has a link, by its name. Raises UnknownTarget."""
        if name not in self.routes:
            raise unknown("process with a link", name, self.routes)
        return self.routes[name]

    def api_server(self, name: str) -> ServerHandle:
        """An API server, by its name. Raises UnknownTarget."""
        if name not in self.servers:
            raise unknown("API server", name, self.servers)
        return self.servers[name]

    def pod(self, target: str) -> Pod:
        """The pod that a target names now (TargetKind.POD). Raises UnknownTarget."""
        owner, _, ordinal = target.partition("#")
        parts = owner.split("/")
        if ordinal:
            pods = self._pods_of(parts)
            if not pods:
                raise UnknownTarget(f"{owner} has no living pods")
            return pods[int(ordinal) % len(pods)]
        found = self.view().state.get("Pod", Key(parts[0], parts[-1]))
        if not isinstance(found, Pod):
            raise UnknownTarget(f"there is no pod {target}")
        return found

    def object(self, target: str) -> KubeObject:
        """The object that a target names now (TargetKind.OBJECT). Raises UnknownTarget."""
        kind, *namespace, name = target.split("/")
        state = self.view().state
        try:
            resource = state.scheme.resource_of(kind)
        except UnknownKind as error:
            raise UnknownTarget(f"{target}: {error}") from error
        found = None
        if len(namespace) == resource.namespaced:
            found = state.get(kind_name(resource), Key("".join(namespace), name))
        if found is None:
            raise UnknownTarget(f"there is no {target}")
        return found

    def _pods_of(self, parts: list[str]) -> list[Pod]:
        """The living pods that the object controls, itself or through its ReplicaSets, by name."""
        if len(parts) != 3:
            raise UnknownTarget(f"{'/'.join(parts)}: a workload is KIND/NAMESPACE/NAME")
        state = self.view().state
        owner = state.get(parts[0], Key(parts[1], parts[2]))
        if owner is None:
            return []
        dependants: list[KubeObject] = list(state.controlled_by(owner.metadata.uid))
        for dependant in list(dependants):
            dependants.extend(state.controlled_by(dependant.metadata.uid))
        pods = [each for each in dependants if isinstance(each, Pod) and not is_terminal(each)]
        return sorted(pods, key=lambda pod: pod.metadata.name)
