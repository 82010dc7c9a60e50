"""The built-in kinds, as the API serves them (reference/api.md, 1.4, 2.4, 5.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from engine.objects.apps import Deployment, ReplicaSet, ReplicationController
from engine.objects.binding import Binding, Scale
from engine.objects.core import (
    ConfigMap,
    Event,
    Lease,
    Namespace,
    Node,
    PriorityClass,
    Secret,
    Service,
    ServiceAccount,
)
from engine.objects.fault import Fault
from engine.objects.meta import KubeObject, TypedObject
from engine.objects.pod import Pod
from engine.objects.scheme import (
    METADATA_FIELDS,
    FieldGetter,
    Generation,
    NameRule,
    Resource,
    Scheme,
)

T = TypeVar("T", bound=TypedObject)


def _fields(cls: type[T], getters: Mapping[str, Callable[[T], str]]) -> Mapping[str, FieldGetter]:
    """The selectable fields of a kind: those of every kind, and its own."""

    def checked(get: Callable[[T], str]) -> FieldGetter:
        def read(obj: KubeObject) -> str:
            assert isinstance(obj, cls)
            return get(obj)

        return read

    own = {name: checked(get) for name, get in getters.items()}
    return MappingProxyType({**METADATA_FIELDS, **own})


def _flag(*, value: bool) -> str:
    return "true" if value else "false"


_POD_FIELDS: Final = _fields(
    Pod,
    {
        "spec.nodeName": lambda pod: pod.spec.node_name,
        "spec.restartPolicy": lambda pod: pod.spec.restart_policy,
        "spec.schedulerName": lambda pod: pod.spec.scheduler_name,
        "spec.serviceAccountName": lambda pod: pod.spec.service_account_name,
        "spec.hostNetwork": lambda pod: _flag(value=pod.spec.host_network),
        "status.phase": lambda pod: pod.status.phase,
        "status.podIP": lambda pod: pod.status.pod_ip,
        "status.podIPs": lambda pod: pod.status.pod_ip,
        "status.nominatedNodeName": lambda pod: pod.status.nominated_node_name,
    },
)
_EVENT_FIELDS: Final = _fields(
    Event,
    {
        "involvedObject.kind": lambda event: event.involved_object.kind,
        "involvedObject.namespace": lambda event: event.involved_object.namespace,
        "involvedObject.name": lambda event: event.involved_object.name,
        "involvedObject.uid": lambda event: event.involved_object.uid,
        "involvedObject.apiVersion": lambda event: event.involved_object.api_version,
        "involvedObject.resourceVersion": lambda event: event.involved_object.resource_version,
        "involvedObject.fieldPath": lambda event: event.involved_object.field_path,
        "reason": lambda event: event.reason,
        "reportingComponent": lambda event: event.reporting_component,
        "source": lambda event: event.source.component or event.reporting_component,
        "type": lambda event: event.type,
    },
)

NAMESPACE: Final = Resource(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    short_names=("ns",),
    namespaced=False,
    type=Namespace,
    status_subresource=True,
    name_rule=NameRule.LABEL,
    selectable_fields=_fields(Namespace, {"status.phase": lambda ns: ns.status.phase}),
)
NODE: Final = Resource(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    singular="node",
    short_names=("no",),
    namespaced=False,
    type=Node,
    status_subresource=True,
    keeps_status_on_create=True,
    selectable_fields=_fields(
        Node, {"spec.unschedulable": lambda node: _flag(value=node.spec.unschedulable)}
    ),
)
POD: Final = Resource(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    type=Pod,
    status_subresource=True,
    generation=Generation.SPEC,
    selectable_fields=_POD_FIELDS,
)
REPLICATION_CONTROLLER: Final = Resource(
    group="",
    version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    singular="replicationcontroller",
    short_names=("rc",),
    categories=("all",),
    type=ReplicationController,
    status_subresource=True,
    scale_subresource=True,
    generation=Generation.SPEC,
    default_propagation="Orphan",
    selectable_fields=_fields(
        ReplicationController, {"status.replicas": lambda rc: str(rc.status.replicas)}
    ),
)
REPLICA_SET: Final = Resource(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    type=ReplicaSet,
    status_subresource=True,
    scale_subresource=True,
    generation=Generation.SPEC,
    selectable_fields=_fields(ReplicaSet, {"status.replicas": lambda rs: str(rs.status.replicas)}),
)
DEPLOYMENT: Final = Resource(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    type=Deployment,
    status_subresource=True,
    scale_subresource=True,
    generation=Generation.SPEC_AND_ANNOTATIONS,
)
SERVICE: Final = Resource(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    type=Service,
    status_subresource=True,
    name_rule=NameRule.LABEL_1035,
    create_on_update=True,
    selectable_fields=_fields(
        Service,
        {
            "spec.clusterIP": lambda service: service.spec.cluster_ip,
            "spec.type": lambda service: service.spec.type,
        },
    ),
)
CONFIG_MAP: Final = Resource(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    type=ConfigMap,
)
SECRET: Final = Resource(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    singular="secret",
    type=Secret,
    selectable_fields=_fields(Secret, {"type": lambda secret: secret.type}),
)
SERVICE_ACCOUNT: Final = Resource(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    type=ServiceAccount,
)
EVENT: Final = Resource(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    type=Event,
    name_rule=NameRule.PATH_SEGMENT,
    create_on_update=True,
    garbage_collected=False,
    selectable_fields=_EVENT_FIELDS,
)
LEASE: Final = Resource(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    singular="lease",
    type=Lease,
    unconditional_update=False,
    create_on_update=True,
)
PRIORITY_CLASS: Final = Resource(
    group="scheduling.k8s.io",
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    singular="priorityclass",
    short_names=("pc",),
    namespaced=False,
    type=PriorityClass,
)
FAULT: Final = Resource(
    group="wavetank",
    version="v1",
    kind="Fault",
    plural="faults",
    singular="fault",
    namespaced=False,
    type=Fault,
    keeps_status_on_create=True,
)

BUILT_IN: Final = (
    NAMESPACE,
    NODE,
    POD,
    REPLICATION_CONTROLLER,
    REPLICA_SET,
    DEPLOYMENT,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    EVENT,
    LEASE,
    PRIORITY_CLASS,
    FAULT,
)


def default_scheme() -> Scheme:
    """A new scheme with the built-in kinds, to which users' kinds may be added."""
    scheme = Scheme()
    for resource in BUILT_IN:
        scheme.register(resource)
    for cls in (Binding, Scale):
        scheme.register_wire_type(cls)
    return scheme


def custom_resource(  # noqa: PLR0913 -- keyword-only, each a name of the CustomResourceDefinition
    kind: str | type[TypedObject],
    *,
    plural: str,
    group: str = "",
    version: str = "",
    namespaced: bool = True,
    short_names: tuple[str, ...] = (),
    status_subresource: bool = False,
    scale_subresource: bool = False,
) -> Resource:
    """The resource of a user's kind, to be given to `Scheme.register`.

    `kind` is an attrs class below `TypedObject`, whose `api_version` says group and version, or a name: then give both, and
    the objects are `Unstructured`. Raises ValueError when the group is missing.

    >>> custom_resource("Website", plural="websites", group="example.org", version="v1").group_resource
    'websites.example.org'
    """
    cls = kind if isinstance(kind, type) else None
    name = kind.kind if isinstance(kind, type) else kind
    if cls is not None:
        group, _, version = cls.api_version.rpartition("/")
    if not group or not version:
        raise ValueError(f"{name}: a custom kind needs a group and a version (example.org/v1)")
    return Resource(
        group=group,
        version=version,
        kind=name,
        plural=plural,
        singular=name.lower(),
        namespaced=namespaced,
        type=cls,
        short_names=short_names,
        custom=True,
        status_subresource=status_subresource,
        scale_subresource=scale_subresource,
        generation=Generation.ALL_BUT_METADATA_AND_STATUS,
        keeps_status_on_create=not status_subresource,
        unconditional_update=False,
    )
