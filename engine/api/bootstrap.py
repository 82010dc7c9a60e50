"""What every cluster has from its first moment: four namespaces and two priority classes.

Written by the server itself when it starts, as kube-apiserver's post-start hooks do, with actor `apiserver` and the declared root cause
`bootstrap`. What exists already is left alone.
"""

from __future__ import annotations

from typing import Final

from engine.api.cause import acting
from engine.api.errors import AlreadyExists
from engine.api.request import Endpoint, Request, Verb
from engine.objects.core import Namespace, PriorityClass
from engine.objects.kinds import NAMESPACE, PRIORITY_CLASS
from engine.objects.meta import KubeObject, ObjectMeta
from engine.objects.scheme import Resource
from store import Origin

BOOTSTRAP: Final = Origin(actor="apiserver", causes=("bootstrap",))
NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
PRIORITY_CLASSES: Final = (
    PriorityClass(
        metadata=ObjectMeta(name="system-cluster-critical"),
        value=2_000_000_000,
        description=(
            "Used for system critical pods that must run in the cluster, but can be moved to another "
            "node if necessary."
        ),
    ),
    PriorityClass(
        metadata=ObjectMeta(name="system-node-critical"),
        value=2_000_001_000,
        description="Used for system critical pods that must not be moved from their current node.",
    ),
)
"""kubernetes/pkg/apis/scheduling/v1/helpers.go."""


def bootstrap_objects() -> tuple[tuple[Resource, KubeObject], ...]:
    """All of them, in the order of their creation."""
    namespaces = [(NAMESPACE, Namespace(metadata=ObjectMeta(name=name))) for name in NAMESPACES]
    classes = [(PRIORITY_CLASS, one) for one in PRIORITY_CLASSES]
    return (*namespaces, *classes)


async def bootstrap(endpoint: Endpoint) -> None:
    """Create what is missing."""
    with acting(BOOTSTRAP):
        for resource, obj in bootstrap_objects():
            request = Request(
                verb=Verb.CREATE, resource=resource, name=obj.metadata.name, object=obj
            )
            try:
                await endpoint.request(request)
            except AlreadyExists:
                continue
