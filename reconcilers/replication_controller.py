"""The ReplicationController controller: the ReplicaSet's engine over the older kind.

A ReplicationController is a ReplicaSet whose selector is a plain map; the API server has already
filled in selector and labels from the template (controllers.md 4.1).
"""

from __future__ import annotations

from typing import ClassVar

from engine import (
    LabelSelector,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicationController,
)
from reconcilers.replicaset import Owner, ReplicaSetReconciler


def as_replica_set(controller: ReplicationController) -> ReplicaSet:
    """The controller as a ReplicaSet: same metadata and status, the spec in the newer form."""
    spec = controller.spec
    return ReplicaSet(
        metadata=controller.metadata,
        spec=ReplicaSetSpec(
            replicas=spec.replicas,
            min_ready_seconds=spec.min_ready_seconds,
            selector=LabelSelector(match_labels=spec.selector) if spec.selector else None,
            template=spec.template if spec.template is not None else PodTemplateSpec(),
        ),
        status=controller.status,
    )


class ReplicationControllerReconciler(ReplicaSetReconciler):
    """Reconciles ReplicationControllers."""

    name: ClassVar[str] = "replicationcontroller"
    component: ClassVar[str] = "replication-controller"
    kind: ClassVar[type[Owner]] = ReplicationController

    def view(self, owner: Owner) -> ReplicaSet:
        """The object as a ReplicaSet."""
        assert isinstance(owner, ReplicationController)
        return as_replica_set(owner)
