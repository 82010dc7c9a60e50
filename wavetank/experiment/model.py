"""An experiment as values: what the file says, read, checked and typed.

An experiment is whole in itself: the texts of its manifests and of its own checks are part of it, so that the log's
header can carry it and `wavetank replay` needs nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from engine import Json, Settings
from sim_nodes import Containers, ImageBehaviour, SimulatedNode
from wavetank.faults.request import FaultRequest


@attrs.frozen(kw_only=True)
class Files:
    """The files of an experiment by the names it uses, and where they lie (for messages)."""

    texts: Mapping[str, str]
    folder: str = ""

    def shown(self, name: str) -> str:
        """The name as the user would open it."""
        return f"{self.folder}/{name}" if self.folder and not name.startswith("/") else name


@attrs.frozen(kw_only=True)
class NodeTarget:
    """A node by name, or the busiest one (chosen once, at the first use)."""

    name: str = ""
    busiest: bool = False

    def __str__(self) -> str:
        return self.name or "busiest"


@attrs.frozen(kw_only=True)
class DeploymentAvailable:
    """Its Available condition is True."""

    name: str
    namespace: str = "default"


@attrs.frozen(kw_only=True)
class PodsReady:
    """At least `count` pods that match are ready."""

    selector: str
    count: int
    namespace: str | None = None


@attrs.frozen(kw_only=True)
class NodeReady:
    """Its Ready condition is True."""

    name: str


@attrs.frozen(kw_only=True)
class PythonCheck:
    """`target` is MODULE:FUNCTION; the function is called with a View and returns True or None when all is well."""

    target: str
    where: str = ""
    """FILE:LINE: field.path, for what is wrong with it."""


Check: TypeAlias = DeploymentAvailable | PodsReady | NodeReady | PythonCheck


@attrs.frozen(kw_only=True)
class CrashNode:
    """Take its power."""

    node: NodeTarget


@attrs.frozen(kw_only=True)
class RestartNode:
    """Give it its power back."""

    node: NodeTarget
    containers: Containers = "lost"


@attrs.frozen(kw_only=True)
class PartitionNode:
    """Cut it off from the API server."""

    node: NodeTarget
    seconds: float


@attrs.frozen(kw_only=True)
class PauseKubelet:
    """Stop its kubelet, as SIGSTOP does."""

    node: NodeTarget
    seconds: float


@attrs.frozen(kw_only=True)
class ScaleDeployment:
    """Set its replicas."""

    name: str
    replicas: int
    namespace: str = "default"


@attrs.frozen(kw_only=True)
class ApplyManifest:
    """As `kubectl apply -f`; `file` is a name in the experiment's files."""

    file: str


@attrs.frozen(kw_only=True)
class DeleteObjects:
    """By name, by selector, or all of the kind in the namespace."""

    kind: str
    namespace: str = "default"
    name: str = ""
    selector: str = ""


@attrs.frozen(kw_only=True)
class CordonNode:
    """Take it out of scheduling, or back into it."""

    node: str
    unschedulable: bool = True


@attrs.frozen(kw_only=True)
class RestartReconciler:
    """Kill it, and start it with empty memory."""

    name: str


Action: TypeAlias = (
    CrashNode
    | RestartNode
    | PartitionNode
    | PauseKubelet
    | ScaleDeployment
    | ApplyManifest
    | DeleteObjects
    | CordonNode
    | RestartReconciler
)


@attrs.frozen(kw_only=True)
class Step:
    """One action and when: seconds from the settled start. `where` is FILE:LINE: field.path, for what goes wrong."""

    at: float
    action: Action
    where: str = ""


@attrs.frozen(kw_only=True)
class CodeReference:
    """MODULE:ATTRIBUTE of the user's own; `where` is FILE:LINE: field.path."""

    target: str
    where: str


@attrs.frozen(kw_only=True)
class Experiment:
    """See the module's text. Durations are seconds."""

    name: str
    seed: int
    nodes: tuple[SimulatedNode, ...]
    settings: Settings
    manifests: tuple[str, ...]
    """Names in `files`."""
    images: tuple[ImageBehaviour, ...]
    steady_state: tuple[Check, ...]
    kinds: tuple[CodeReference, ...]
    """Kinds of the user's own, as `custom_resource` makes them."""
    reconcilers: tuple[CodeReference, ...]
    """Classes of reconcilers that run beside Kubernetes' own, or in place of the one of the same name."""
    api_servers: int
    faults: tuple[FaultRequest, ...]
    """What is struck, from the settled start on; made a plan before the run."""
    method: tuple[Step, ...]
    """In order of time; steps of one time in the file's order."""
    invariants: tuple[str, ...]
    settle_timeout: float
    until: float
    """The end, counted from the settled start."""
    files: Files
    document: Mapping[str, Json]
    """The file as read, for the log's header."""
    text_name: str
    """The name of the experiment's own file in `files`."""
