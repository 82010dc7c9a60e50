"""Validation: one row for each rule, with the whole message; immutable fields; all faults at once."""

from __future__ import annotations

import attrs
import pytest
from api_world import config_map, deployment, pod, replica_set, template

from engine.api.defaulting import Defaulting
from engine.api.errors import Invalid
from engine.api.validation import Validation
from engine.control.client import Client
from engine.objects.apps import (
    DeploymentStrategy,
    ReplicationController,
    ReplicationControllerSpec,
    RollingUpdateDeployment,
)
from engine.objects.core import (
    ConfigMap,
    Event,
    Namespace,
    Node,
    NodeSpec,
    PriorityClass,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
    Taint,
)
from engine.objects.kinds import default_scheme
from engine.objects.meta import (
    KubeObject,
    LabelSelector,
    LabelSelectorRequirement,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Uid,
)
from engine.objects.pod import (
    Container,
    ContainerPort,
    EnvVar,
    ExecAction,
    HTTPGetAction,
    Pod,
    Probe,
    ResourceRequirements,
    Toleration,
    TopologySpreadConstraint,
    Volume,
    VolumeMount,
)
from engine.objects.quantity import Quantity

SCHEME = default_scheme()


def faults(obj: KubeObject) -> list[str]:
    """What is wrong with `obj`, its defaults filled in."""
    resource = SCHEME.resource_of(obj)
    return [str(e) for e in Validation().create(Defaulting().default(obj), resource)]


def _container(**fields: object) -> Pod:
    fields.setdefault("name", "c")
    fields.setdefault("image", "x")
    return pod(containers=(Container(**fields),))  # type: ignore[arg-type]


def _amounts(**amounts: str) -> dict[str, Quantity]:
    return {name: Quantity.parse(text) for name, text in amounts.items()}


def test_good_objects_have_no_faults() -> None:
    """What the other tests take for a sound start."""
    for obj in (
        pod(),
        deployment(),
        replica_set(),
        config_map(),
        Namespace(metadata=ObjectMeta(name="n")),
    ):
        assert faults(obj) == []


_HTTP = HTTPGetAction(port=80)

PODS = [
    (pod(containers=()), "spec.containers: Required value"),
    (_container(image=""), "spec.containers[0].image: Required value"),
    (
        _container(image=" x"),
        'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace',
    ),
    (
        pod(containers=(Container(name="c", image="x"), Container(name="c", image="x"))),
        'spec.containers[1].name: Duplicate value: "c"',
    ),
    (
        _container(ports=(ContainerPort(container_port=99999),)),
        "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
    ),
    (
        _container(ports=(ContainerPort(container_port=1, protocol="X"),)),
        'spec.containers[0].ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        _container(image_pull_policy="Sometimes"),
        (
            'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: '
            '"Always", "IfNotPresent", "Never"'
        ),
    ),
    (
        _container(volume_mounts=(VolumeMount(name="nov", mount_path="/a"),)),
        'spec.containers[0].volumeMounts[0].name: Not found: "nov"',
    ),
    (
        _container(
            resources=ResourceRequirements(requests=_amounts(cpu="2"), limits=_amounts(cpu="1"))
        ),
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        _container(resources=ResourceRequirements(requests=_amounts(cpu="-1"))),
        'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    (
        _container(env=(EnvVar(name="a=b"),)),
        (
            'spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name must consist '
            "only of printable ASCII characters other than '='"
        ),
    ),
    (
        _container(readiness_probe=Probe()),
        "spec.containers[0].readinessProbe: Required value: must specify a handler type",
    ),
    (
        _container(readiness_probe=Probe(exec=ExecAction(command=("x",)), http_get=_HTTP)),
        "spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
    ),
    (
        _container(liveness_probe=Probe(http_get=_HTTP, success_threshold=2)),
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    (
        pod(restart_policy="Maybe"),
        'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"',
    ),
    (
        pod(active_deadline_seconds=0),
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    (
        pod(volumes=(Volume(name="v"), Volume(name="v"))),
        'spec.volumes[1].name: Duplicate value: "v"',
    ),
    (
        pod(tolerations=(Toleration(operator="Equal"),)),
        (
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
            'which means "match all values and all keys"'
        ),
    ),
    (
        pod(tolerations=(Toleration(key="a", operator="Exists", toleration_seconds=3),)),
        "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
    ),
    (
        pod(
            topology_spread_constraints=(
                TopologySpreadConstraint(
                    max_skew=0, topology_key="z", when_unsatisfiable="DoNotSchedule"
                ),
            )
        ),
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    ),
]


@pytest.mark.parametrize(("obj", "message"), PODS, ids=[message[:60] for _, message in PODS])
def test_pod_rules(obj: Pod, message: str) -> None:
    """Each broken rule of a pod is one fault with its path, value and text."""
    assert faults(obj) == [message]


def _strategy(
    unavailable: int | str, surge: int | str, type_: str = "RollingUpdate"
) -> DeploymentStrategy:
    rolling = RollingUpdateDeployment(max_unavailable=unavailable, max_surge=surge)
    return DeploymentStrategy(type=type_, rolling_update=rolling)


def _service(**spec: object) -> Service:
    return Service(
        metadata=ObjectMeta(name="s", namespace="default"),
        spec=ServiceSpec(**spec),  # type: ignore[arg-type]
    )


def _node(*taints: Taint) -> Node:
    return Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(taints=taints))


_NO_SELECTOR = attrs.evolve(deployment(), spec=attrs.evolve(deployment().spec, selector=None))
_EMPTY_SELECTOR = attrs.evolve(
    deployment(), spec=attrs.evolve(deployment().spec, selector=LabelSelector())
)
_MISMATCH = attrs.evolve(
    deployment(), spec=attrs.evolve(deployment().spec, template=template(app="zz"))
)
_NEVER = attrs.evolve(
    replica_set(),
    spec=attrs.evolve(
        replica_set().spec,
        template=attrs.evolve(
            template(app="web"), spec=attrs.evolve(template().spec, restart_policy="Never")
        ),
    ),
)
_BAD_OPERATOR = attrs.evolve(
    deployment(),
    spec=attrs.evolve(
        deployment().spec,
        selector=LabelSelector(
            match_labels={"app": "web"},
            match_expressions=(LabelSelectorRequirement(key="a", operator="In"),),
        ),
    ),
)

OTHERS = [
    (
        deployment(replicas=-1),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (_NO_SELECTOR, "spec.selector: Required value"),
    (_EMPTY_SELECTOR, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    (
        _MISMATCH,
        'spec.template.metadata.labels: Invalid value: {"app":"zz"}: `selector` does not match template `labels`',
    ),
    (
        _NEVER,
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    (
        deployment(strategy=_strategy(0, "0%")),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    (
        deployment(strategy=_strategy("150%", 1)),
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%',
    ),
    (
        deployment(strategy=_strategy(1, "half")),
        "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"half\": must be an integer or percentage (e.g '5%%')",
    ),
    (
        deployment(strategy=_strategy(1, 1, "Recreate")),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    (
        deployment(min_ready_seconds=10, progress_deadline_seconds=10),
        "spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds",
    ),
    (
        ReplicationController(
            metadata=ObjectMeta(name="rc", namespace="default"),
            spec=ReplicationControllerSpec(selector={"a": "b"}, template=template(app="x")),
        ),
        'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`',
    ),
    (_service(), "spec.ports: Required value"),
    (
        _service(ports=(ServicePort(port=1, name="a"), ServicePort(port=2))),
        "spec.ports[1].name: Required value",
    ),
    (
        _service(type="X", ports=(ServicePort(port=1),)),
        'spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ),
    (
        _service(ports=(ServicePort(port=1, node_port=30000),)),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        Secret(metadata=ObjectMeta(name="s", namespace="default"), type="kubernetes.io/ssh-auth"),
        "data[ssh-privatekey]: Required value",
    ),
    (
        _node(Taint(key="a", effect="Whatever")),
        (
            'spec.taints[0].effect: Unsupported value: "Whatever": supported values: "NoExecute", "NoSchedule", '
            '"PreferNoSchedule"'
        ),
    ),
    (
        _node(Taint(key="a", effect="NoSchedule"), Taint(key="a", effect="NoSchedule")),
        'spec.taints[1]: Duplicate value: {"effect":"NoSchedule","key":"a"}',
    ),
    (
        PriorityClass(metadata=ObjectMeta(name="p"), value=2_000_000_000),
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
    ),
    (
        Event(
            metadata=ObjectMeta(name="e", namespace="default"),
            involved_object=ObjectReference(namespace="other"),
        ),
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
    ),
]


@pytest.mark.parametrize(("obj", "message"), OTHERS, ids=[message[:60] for _, message in OTHERS])
def test_rules_of_other_kinds(obj: KubeObject, message: str) -> None:
    assert faults(obj) == [message]


def test_a_selector_expression_without_values() -> None:
    assert faults(_BAD_OPERATOR)[0] == (
        "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is "
        "'In' or 'NotIn'"
    )


def test_config_keys() -> None:
    """A key of a ConfigMap is named in the fault when it is no valid file name."""
    config = ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"a b": "x"})
    (fault,) = faults(config)
    assert fault.startswith('data[a b]: Invalid value: "a b": a valid config key must consist of')


_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (ObjectMeta(name="A_b"), f'metadata.name: Invalid value: "A_b": {_SUBDOMAIN}'),
        (
            ObjectMeta(name="a" * 254),
            f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 characters',
        ),
        (
            ObjectMeta(name="a", labels={"-bad": "x"}),
            (
                "metadata.labels: Invalid value: \"-bad\": name part must consist of alphanumeric characters, '-', "
                "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ),
        ),
        (
            ObjectMeta(name="a", finalizers=("foo",)),
            (
                'metadata.finalizers[0]: Invalid value: "foo": name is neither a standard finalizer name nor is it '
                "fully qualified"
            ),
        ),
        (
            ObjectMeta(
                name="a",
                owner_references=(
                    OwnerReference(api_version="", kind="K", name="n", uid=Uid("u")),
                ),
            ),
            'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
        ),
        (
            ObjectMeta(name="a", annotations={"k": "x" * 262144}),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
    ],
)
def test_metadata_rules(metadata: ObjectMeta, message: str) -> None:
    """Each broken rule of metadata is one fault with its path, value and text."""
    metadata = attrs.evolve(metadata, namespace="default")
    assert faults(ConfigMap(metadata=metadata)) == [message]


def test_names_by_kind() -> None:
    """Namespaces are labels, services start with a letter, Events take any path segment."""
    assert faults(Namespace(metadata=ObjectMeta(name="a.b")))
    service = attrs.evolve(_service(ports=(ServicePort(port=1),)), metadata=ObjectMeta(name="1a"))
    assert faults(service)
    event = Event(metadata=ObjectMeta(name="Any.Name", namespace="default"))
    assert faults(event) == []
    assert faults(attrs.evolve(event, metadata=ObjectMeta(name="a/b", namespace="default")))


def test_only_one_controller() -> None:
    """Two owners that both claim to be the controller are one fault that names them."""
    owners = tuple(
        OwnerReference(api_version="v1", kind="K", name=name, uid=Uid(name), controller=True)
        for name in ("a", "b")
    )
    (fault,) = faults(
        ConfigMap(metadata=ObjectMeta(name="c", namespace="default", owner_references=owners))
    )
    assert 'Found "true" in references for a and b' in fault


async def test_the_whole_message(client: Client) -> None:
    """Kind and group, name, every fault in brackets; the causes one by one."""
    with pytest.raises(Invalid) as caught:
        await client.create(deployment(replicas=-1))
    assert caught.value.message == (
        'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    with pytest.raises(Invalid) as caught:
        await client.create(pod(containers=(), restart_policy="Maybe"))
    assert caught.value.message == (
        'Pod "p" is invalid: [spec.containers: Required value, spec.restartPolicy: Unsupported value: "Maybe": '
        'supported values: "Always", "Never", "OnFailure"]'
    )
    assert [(c.path, c.reason) for c in caught.value.causes] == [
        ("spec.containers", "FieldValueRequired"),
        ("spec.restartPolicy", "FieldValueNotSupported"),
    ]


# -- updates ---------------------------------------------------------------------------------------


async def test_a_selector_is_immutable(client: Client) -> None:
    made = await client.create(deployment())
    other = attrs.evolve(
        made.spec, selector=LabelSelector(match_labels={"app": "x"}), template=template(app="x")
    )
    with pytest.raises(Invalid) as caught:
        await client.update(attrs.evolve(made, spec=other))
    assert caught.value.message == (
        'Deployment.apps "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: '
        "field is immutable"
    )


async def test_what_of_a_pod_may_change(client: Client) -> None:
    """Images, an earlier deadline and more tolerations; nothing else, not even the node."""
    made = await client.create(pod(active_deadline_seconds=50))
    spec = made.spec
    allowed = attrs.evolve(
        spec,
        containers=(attrs.evolve(spec.containers[0], image="nginx:2"),),
        active_deadline_seconds=40,
        tolerations=(*spec.tolerations, Toleration(key="x", operator="Exists")),
    )
    updated = await client.update(attrs.evolve(made, spec=allowed))
    assert updated.metadata.generation == 2

    for change, message in (
        ({"node_name": "n1"}, "spec: Forbidden: pod updates may not change fields other than"),
        (
            {"containers": ()},
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        ({"active_deadline_seconds": 45}, "must be less than or equal to previous value"),
        ({"active_deadline_seconds": None}, "must not update from a positive integer to nil value"),
        (
            {"tolerations": ()},
            "existing toleration can not be modified except its tolerationSeconds",
        ),
    ):
        with pytest.raises(Invalid, match=message):
            await client.update(attrs.evolve(updated, spec=attrs.evolve(updated.spec, **change)))


async def test_frozen_data(client: Client) -> None:
    """Immutable data and the type of a Secret cannot be changed."""
    made = await client.create(attrs.evolve(config_map(a="b"), immutable=True))
    with pytest.raises(
        Invalid, match="data: Forbidden: field is immutable when `immutable` is set"
    ):
        await client.update(attrs.evolve(made, data={}))
    secret = await client.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
    with pytest.raises(Invalid, match='type: Invalid value: "other": field is immutable'):
        await client.update(attrs.evolve(secret, type="other"))


async def test_addresses_of_a_node_are_set_once(client: Client) -> None:
    made = await client.create(Node(metadata=ObjectMeta(name="n")))
    given = attrs.evolve(made.spec, pod_cidr="10.0.0.0/24", pod_cidrs=("10.0.0.0/24",))
    placed = await client.update(attrs.evolve(made, spec=given))
    moved = attrs.evolve(given, pod_cidrs=("10.0.1.0/24",))
    with pytest.raises(
        Invalid, match='node updates may not change podCIDR except from "" to valid'
    ):
        await client.update(attrs.evolve(placed, spec=moved))


async def test_the_value_of_a_priority_class_stays(client: Client) -> None:
    made = await client.create(PriorityClass(metadata=ObjectMeta(name="p"), value=5))
    with pytest.raises(Invalid, match="may not be changed in an update"):
        await client.update(attrs.evolve(made, value=6))


async def test_updates_leave_sound_parts_unchecked(client: Client) -> None:
    """A change of labels does not trip over the spec, and bad labels are refused on any write."""
    made = await client.create(pod())
    with pytest.raises(Invalid, match=r"metadata\.labels"):
        await client.patch(Pod, "p", "default", {"metadata": {"labels": {"-": "x"}}})
    labelled = attrs.evolve(made, metadata=attrs.evolve(made.metadata, labels={"a": "b"}))
    assert (await client.update(labelled)).spec is made.spec
