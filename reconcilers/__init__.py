"""The loops of the control plane, each a Reconciler as a user would write it."""

from engine import Reconciler
from reconcilers.deployment import DeploymentReconciler
from reconcilers.deployment_rollout import max_surge
from reconcilers.garbage_collector import GarbageCollector
from reconcilers.namespace import NamespaceReconciler
from reconcilers.node_ipam import NodeIpam
from reconcilers.node_lifecycle import NodeLifecycle
from reconcilers.pod_gc import PodGC
from reconcilers.replicaset import ReplicaSetReconciler
from reconcilers.replication_controller import ReplicationControllerReconciler
from reconcilers.scheduler import Scheduler
from reconcilers.service_account import ServiceAccountReconciler
from reconcilers.taint_eviction import TaintEviction

__all__ = [
    "DeploymentReconciler",
    "GarbageCollector",
    "NamespaceReconciler",
    "NodeIpam",
    "NodeLifecycle",
    "PodGC",
    "ReplicaSetReconciler",
    "ReplicationControllerReconciler",
    "Scheduler",
    "ServiceAccountReconciler",
    "TaintEviction",
    "default_reconcilers",
    "max_surge",
]


def default_reconcilers() -> list[Reconciler]:
    """The reconcilers of a Kubernetes control plane, for a cluster to run; templates, so one list serves many clusters."""
    return [
        ServiceAccountReconciler(),
        NamespaceReconciler(),
        NodeIpam(),
        NodeLifecycle(),
        TaintEviction(),
        PodGC(),
        GarbageCollector(),
        Scheduler(),
        DeploymentReconciler(),
        ReplicaSetReconciler(),
        ReplicationControllerReconciler(),
    ]
