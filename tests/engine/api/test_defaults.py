"""Defaults and admission: what a manifest does not say."""

from __future__ import annotations

import attrs
import pytest
from api_world import deployment, pod, replica_set, template

from engine.api.defaulting import Defaulting
from engine.api.errors import Forbidden
from engine.api.pod_rules import pull_policy
from engine.control.client import Client
from engine.objects.apps import ReplicationController, ReplicationControllerSpec
from engine.objects.core import (
    ConfigMap,
    Event,
    Lease,
    Node,
    PriorityClass,
    Secret,
    Service,
    ServiceAccount,
    ServicePort,
    ServiceSpec,
)
from engine.objects.kinds import default_scheme
from engine.objects.meta import KubeObject, ObjectMeta
from engine.objects.pod import (
    Container,
    ContainerPort,
    HTTPGetAction,
    PodSpec,
    Probe,
    ResourceRequirements,
    Toleration,
    Volume,
)
from engine.objects.pods import qos_class
from engine.objects.quantity import Quantity

SCHEME = default_scheme()


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    """Always for the tag latest and for none, IfNotPresent for any other."""
    assert pull_policy(image) == policy


def _spec(requests: dict[str, str], limits: dict[str, str]) -> PodSpec:
    resources = ResourceRequirements(
        requests={name: Quantity.parse(text) for name, text in requests.items()},
        limits={name: Quantity.parse(text) for name, text in limits.items()},
    )
    return PodSpec(containers=(Container(name="c", resources=resources),))


@pytest.mark.parametrize(
    ("requests", "limits", "expected"),
    [
        ({}, {}, "BestEffort"),
        ({"cpu": "1"}, {}, "Burstable"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}, "Guaranteed"),
        ({"cpu": "1", "memory": "1024Mi"}, {"cpu": "1000m", "memory": "1Gi"}, "Guaranteed"),
        ({"cpu": "1"}, {"cpu": "1"}, "Burstable"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}, "Burstable"),
        ({"ephemeral-storage": "1"}, {}, "BestEffort"),
    ],
)
def test_qos(requests: dict[str, str], limits: dict[str, str], expected: str) -> None:
    """The class follows from all containers' requests and limits."""
    assert qos_class(_spec(requests, limits)) == expected


async def test_defaults_of_a_pod(client: Client) -> None:
    """Those of 8.1, and the tolerations, account and priority that admission adds."""
    limits = {"cpu": Quantity.parse("1")}
    made = await client.create(
        pod(
            containers=(
                Container(
                    name="c",
                    image="nginx",
                    ports=(ContainerPort(container_port=80),),
                    readiness_probe=Probe(http_get=HTTPGetAction(port=80)),
                    resources=ResourceRequirements(limits=limits),
                ),
            ),
            volumes=(Volume(name="v"),),
        )
    )
    spec, (container,) = made.spec, made.spec.containers

    assert (spec.restart_policy, spec.dns_policy, spec.scheduler_name) == (
        "Always",
        "ClusterFirst",
        "default-scheduler",
    )
    assert (spec.termination_grace_period_seconds, spec.enable_service_links) == (30, True)
    assert (spec.service_account_name, spec.service_account) == ("default", "default")
    assert (spec.priority, spec.preemption_policy) == (0, "PreemptLowerPriority")
    assert spec.volumes[0].extra == {"emptyDir": {}}
    assert [(t.key, t.operator, t.effect, t.toleration_seconds) for t in spec.tolerations] == [
        ("node.kubernetes.io/not-ready", "Exists", "NoExecute", 300),
        ("node.kubernetes.io/unreachable", "Exists", "NoExecute", 300),
    ]
    assert container.ports[0].protocol == "TCP"
    assert container.image_pull_policy == "Always"
    assert container.resources is not None
    assert container.resources.requests == limits
    probe = container.readiness_probe
    assert probe is not None
    assert probe.http_get is not None
    assert (probe.timeout_seconds, probe.period_seconds, probe.failure_threshold) == (1, 10, 3)
    assert (probe.http_get.path, probe.http_get.scheme) == ("/", "HTTP")
    assert made.status.qos_class == "Burstable"


async def test_defaults_of_workloads(client: Client) -> None:
    """A Deployment gets the API server's replicas, history, deadline and strategy."""
    made = await client.create(deployment(replicas=None))
    spec = made.spec
    assert (spec.replicas, spec.revision_history_limit, spec.progress_deadline_seconds) == (
        1,
        10,
        600,
    )
    assert spec.strategy is not None
    assert spec.strategy.rolling_update is not None
    assert (spec.strategy.type, spec.strategy.rolling_update.max_surge) == ("RollingUpdate", "25%")
    assert spec.template.spec.restart_policy == "Always"
    assert spec.template.spec.enable_service_links is None
    controller = ReplicationController(
        metadata=ObjectMeta(name="rc", namespace="default"),
        spec=ReplicationControllerSpec(template=template(a="b")),
    )
    filled = await client.create(controller)
    assert (filled.spec.selector, filled.metadata.labels) == ({"a": "b"}, {"a": "b"})


async def test_defaults_of_other_kinds(client: Client) -> None:
    secret = await client.create(
        Secret(metadata=ObjectMeta(name="s", namespace="default"), string_data={"a": "b"})
    )
    assert (secret.type, secret.data, secret.string_data) == ("Opaque", {"a": "Yg=="}, {})
    service = await client.create(
        Service(
            metadata=ObjectMeta(name="s", namespace="default"),
            spec=ServiceSpec(ports=(ServicePort(port=80),)),
        )
    )
    assert (service.spec.type, service.spec.session_affinity) == ("ClusterIP", "None")
    assert (service.spec.ports[0].target_port, service.spec.ports[0].protocol) == (80, "TCP")
    capacity = {"cpu": Quantity.parse("4")}
    node = Node(metadata=ObjectMeta(name="n"))
    node = await client.create(
        attrs.evolve(node, status=attrs.evolve(node.status, capacity=capacity))
    )
    assert node.status.allocatable == capacity
    assert [(t.key, t.effect) for t in node.spec.taints] == [
        ("node.kubernetes.io/not-ready", "NoSchedule")
    ]


@pytest.mark.parametrize(
    "obj",
    [
        pod(),
        deployment(),
        replica_set(),
        ConfigMap(),
        Event(),
        Lease(),
        Secret(string_data={"a": "b"}),
    ],
    ids=lambda obj: obj.kind,
)
def test_defaulting_twice_changes_nothing(obj: KubeObject) -> None:
    """What lacks nothing comes back as the very object: nothing is rebuilt on the write path."""
    defaulting = Defaulting()
    once = defaulting.default(obj)
    assert defaulting.default(once) is once


async def test_pods_of_one_template_share_its_spec(client: Client) -> None:
    """The work for a template is done once: the pods' specs are one object."""
    spec = pod().spec
    one, other = [await client.create(attrs.evolve(pod(name), spec=spec)) for name in ("a", "b")]
    assert one.spec is other.spec


# -- admission -------------------------------------------------------------------------------------


async def test_given_tolerations_are_respected(client: Client) -> None:
    """One for the taint, with its own time or for ever, keeps the default away; one for everything keeps both away."""
    own = Toleration(
        key="node.kubernetes.io/not-ready",
        operator="Exists",
        effect="NoExecute",
        toleration_seconds=30,
    )
    made = await client.create(pod("a", tolerations=(own,)))
    assert [t.toleration_seconds for t in made.spec.tolerations] == [30, 300]
    every = await client.create(pod("b", tolerations=(Toleration(operator="Exists"),)))
    assert len(every.spec.tolerations) == 1


async def test_priority(client: Client) -> None:
    """By class; by the global default; refused when there is no such class or the number is given otherwise."""
    await client.create(
        PriorityClass(metadata=ObjectMeta(name="high"), value=7, preemption_policy="Never")
    )
    made = await client.create(pod("a", priority_class_name="high"))
    assert (made.spec.priority, made.spec.preemption_policy) == (7, "Never")
    with pytest.raises(
        Forbidden, match='pods "b" is forbidden: no PriorityClass with name nope was found'
    ):
        await client.create(pod("b", priority_class_name="nope"))
    with pytest.raises(
        Forbidden, match=r"the integer value of priority \(5\) must not be provided in pod spec"
    ):
        await client.create(pod("c", priority_class_name="high", priority=5))
    await client.create(
        PriorityClass(metadata=ObjectMeta(name="usual"), value=3, global_default=True)
    )
    assert (await client.create(pod("d"))).spec.priority == 3
    with pytest.raises(Forbidden, match="PriorityClass usual is already marked as default"):
        await client.create(
            PriorityClass(metadata=ObjectMeta(name="other"), value=4, global_default=True)
        )


async def test_service_accounts(client: Client) -> None:
    """A named account must exist; `default` is implied unless a controller makes it."""
    with pytest.raises(Forbidden) as caught:
        await client.create(pod("a", service_account_name="robot"))
    assert caught.value.message == (
        'pods "a" is forbidden: error looking up service account default/robot: '
        'serviceaccount "robot" not found'
    )
    await client.create(ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default")))
    assert (
        await client.create(pod("a", service_account_name="robot"))
    ).spec.service_account == "robot"
