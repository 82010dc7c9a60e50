"""Broken reconcilers of Kubernetes': each a small change to one of ours, or to what all of them stand on."""

from __future__ import annotations

from engine.control.election import claim as claim_lease
from engine.control.informer import Informer
from engine.control.workqueue import WorkQueue
from reconcilers.deployment import DeploymentReconciler
from reconcilers.deployment_plan import after_clash
from reconcilers.deployment_rollout import max_replicas, shrink_old
from reconcilers.garbage_collector import GarbageCollector
from reconcilers.namespace_plan import plan as plan_namespace
from reconcilers.node_ipam import NodeRanges
from reconcilers.node_lifecycle import NodeLifecycle
from reconcilers.ownership import claim
from reconcilers.replicaset import ReplicaSetReconciler
from reconcilers.scheduler.core import SchedulerCore
from reconcilers.service_account import ServiceAccountReconciler
from reconcilers.taint_eviction import TaintEviction
from reconcilers.taint_eviction_timers import tolerated_seconds
from tests.mutants.mutation import Mutant

MUTANTS = (
    Mutant(
        "expectations forgotten",
        ReplicaSetReconciler._create,
        "self.expectations.expect_creations(key, count, self.clock.now_ns())",
        "",
        "a sync that sees an old cache makes the same pods again",
        "expectations forgotten",
    ),
    Mutant(
        "adopts what its selector does not match",
        claim,
        "matches = selector.matches(labels)",
        "matches = bool(labels)",
        "orphans of others are adopted, and are too many then",
        "orphan adoption of foreign objects",
    ),
    Mutant(
        "one surge pod too many",
        max_replicas,
        "desired(deployment) + max_surge(deployment)",
        "desired(deployment) + max_surge(deployment) + 1",
        "a rollout has one pod more than maxSurge allows",
        "off by one in maxSurge",
    ),
    Mutant(
        "one available pod too few",
        shrink_old,
        "least = desired(deployment) - max_unavailable(deployment)",
        "least = desired(deployment) - max_unavailable(deployment) - 1",
        "a rollout stops one old pod too early",
        "off by one in maxUnavailable",
    ),
    Mutant(
        "a name taken for an owner",
        after_clash,
        "owner is not None\n        and owner.uid == deployment.metadata.uid\n        and same",
        "owner is not None\n        and owner.name == deployment.metadata.name\n        and same",
        "the ReplicaSet of a Deployment that is gone is taken for its own, and waited for",
        "name taken for identity",
    ),
    Mutant(
        "recreate waits for an event it ignores",
        DeploymentReconciler._pod_changed,
        "change.new is not None or pod is None",
        "change.new is not None or pod is None or pod.metadata.deletion_timestamp is not None",
        "the end of the last old pod wakes nobody",
        "edge-triggered logic",
    ),
    Mutant(
        "garbage collector looks by name",
        GarbageCollector._live,
        "return obj if obj.metadata.uid == identity.uid else None",
        "return obj",
        "the dependants of an owner that was made again under its name stay for ever",
        "lookup without the uid",
    ),
    Mutant(
        "dependants are not looked at",
        GarbageCollector._changed,
        "due += self.graph.remove(old.metadata.uid)",
        "self.graph.remove(old.metadata.uid)",
        "who loses its owner stays",
        "lost event handler",
    ),
    Mutant(
        "taints never removed",
        NodeLifecycle._mark_reachable,
        "for taint in REACHABLE:",
        "for taint in REACHABLE[1:]:",
        "a node that came back keeps a NoExecute taint",
        "taint left behind",
    ),
    Mutant(
        "evicts who tolerates",
        tolerated_seconds,
        "return FOR_EVER if shortest is None else max(shortest, 0)",
        "return max(shortest or 0, 0)",
        "a toleration without a limit counts as none",
        "missing value read as zero",
    ),
    Mutant(
        "eviction is not called off",
        TaintEviction._reconcile_node,
        'elif self._timers.cancel(key_of(pod)):\n            self._tell(key_of(pod), "Cancelling deletion of Pod")',
        "",
        "pods of a node that came back are evicted all the same",
        "timer not cancelled",
    ),
    Mutant(
        "ranges forgotten at a restart",
        NodeRanges._count,
        "self._used[place][index] += step",
        "self._used[place][index] = max(0, self._used[place][index] + min(step, 0))",
        "a range that a node has already is given to the next one",
        "in-memory state trusted",
    ),
    Mutant(
        "counts on what terminates",
        SchedulerCore.pod_changed,
        "if new.status.phase in TERMINAL:",
        "if new.status.phase in TERMINAL or new.metadata.deletion_timestamp is not None:",
        "the resources of a pod that is still terminating are given away",
        "stale node cache",
    ),
    Mutant(
        "an add while working is lost",
        WorkQueue.done,
        "if key in self._dirty:",
        "if self._dirty.pop(key, None) is None and False:",
        "what changes during a reconcile is not looked at",
        "lost wake-up",
    ),
    Mutant(
        "a relist removes nothing",
        Informer._replace,
        "if len(self.cache) > len(items):",
        "if not items and self.cache:",
        "what went while the watch was broken stays in the cache",
        "never resyncs after a watch break",
    ),
    Mutant(
        "namespace goes before its content",
        plan_namespace,
        "if errors:",
        "if errors and not namespace:",
        "what could not be listed or deleted is left behind",
        "swallowed error",
    ),
    Mutant(
        "lease taken early",
        claim_lease,
        "observed.valid(lease_duration, now_ns)",
        "observed.valid(lease_duration, now_ns + 5_000_000_000)",
        "a candidate does not wait for the whole lease",
        "old leader's write",
    ),
    Mutant(
        "account is made once",
        ServiceAccountReconciler.sources,
        "Watches(ServiceAccount, keys=_namespace_key)",
        "Watches(ServiceAccount)",
        "an account that somebody deletes stays away",
        "edge-triggered logic",
    ),
    Mutant(
        "deletion seen in the update only",
        ReplicaSetReconciler._pod_changed,
        "if new is None:\n        self._pod_left(change.object)\n        return",
        "if new is None:\n        return",
        "a pod that goes without having been seen to go is not replaced",
        "edge-triggered logic",
    ),
    Mutant(
        "status write gives up",
        ReplicaSetReconciler._write_status,
        "except ApiError:\n        metadata",
        "except ApiError:\n        return\n        metadata",
        "a status that could not be written is not written later either",
        "swallowed error",
    ),
)
