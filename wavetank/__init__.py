"""Wavetank: a Kubernetes cluster in one process, in virtual time, with a log that explains every change.

import wavetank

async def main(cluster: wavetank.Cluster) -> None:
    await cluster.apply("examples/shop.yaml")
    await cluster.settled(timeout="5m")
    await cluster.chaos.crash(cluster.busiest_node())
    await cluster.until(lambda view: view.deployment("frontend").available, timeout="10m")

result = wavetank.run(main, nodes=10, seed=7, log="run.wtl")
"""

from engine import (
    AlreadyExists,
    ApiError,
    ApiType,
    Change,
    Client,
    Condition,
    ConfigMap,
    Conflict,
    Container,
    Deadlock,
    Deployment,
    DeploymentSpec,
    Done,
    DurationRange,
    Event,
    For,
    Invalid,
    Key,
    KubeObject,
    LabelSelector,
    Lease,
    Livelock,
    ManifestError,
    Namespace,
    NeverYields,
    Node,
    NotFound,
    ObjectMeta,
    Owns,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Quantity,
    Reconciler,
    ReplicaSet,
    ReplicationController,
    Requeue,
    RequeueAfter,
    Resource,
    Scheme,
    Secret,
    Service,
    Settings,
    SimulationLimits,
    TypedObject,
    Unstructured,
    Watches,
    controller_ref,
    custom_resource,
    default_scheme,
    is_ready,
)
from engine import (
    Result as ReconcileResult,
)
from reconcilers import default_reconcilers
from sim_nodes import ImageBehaviour, SimulatedNode
from wavetank.chaos import Chaos
from wavetank.cluster import Cluster
from wavetank.errors import BadInput, NotReached, UnknownTarget, WavetankError
from wavetank.invariants import Invariant, Violation
from wavetank.probes import sometimes
from wavetank.result import CheckResult, Result
from wavetank.running import run
from wavetank.timeline import Line
from wavetank.view import DeploymentView, NodeView, View

__all__ = [
    "AlreadyExists",
    "ApiError",
    "ApiType",
    "BadInput",
    "Change",
    "Chaos",
    "CheckResult",
    "Client",
    "Cluster",
    "Condition",
    "ConfigMap",
    "Conflict",
    "Container",
    "Deadlock",
    "Deployment",
    "DeploymentSpec",
    "DeploymentView",
    "Done",
    "DurationRange",
    "Event",
    "For",
    "ImageBehaviour",
    "Invalid",
    "Invariant",
    "Key",
    "KubeObject",
    "LabelSelector",
    "Lease",
    "Line",
    "Livelock",
    "ManifestError",
    "Namespace",
    "NeverYields",
    "Node",
    "NodeView",
    "NotFound",
    "NotReached",
    "ObjectMeta",
    "Owns",
    "Pod",
    "PodSpec",
    "PodTemplateSpec",
    "Quantity",
    "ReconcileResult",
    "Reconciler",
    "ReplicaSet",
    "ReplicationController",
    "Requeue",
    "RequeueAfter",
    "Resource",
    "Result",
    "Scheme",
    "Secret",
    "Service",
    "Settings",
    "SimulatedNode",
    "SimulationLimits",
    "TypedObject",
    "UnknownTarget",
    "Unstructured",
    "View",
    "Violation",
    "Watches",
    "WavetankError",
    "controller_ref",
    "custom_resource",
    "default_reconcilers",
    "default_scheme",
    "is_ready",
    "run",
    "sometimes",
]
