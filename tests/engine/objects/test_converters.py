"""Objects from JSON data and back: nothing is lost, and every fault is found."""

import enum

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from object_strategies import SCHEME, manifests

from engine.objects import (
    ApiType,
    Deployment,
    FieldFault,
    Json,
    Pod,
    PodSpec,
    Quantity,
    StructureError,
    Time,
    TypedObject,
)
from engine.objects.converters import structure
from engine.objects.faults import REQUIRED
from engine.objects.writers import unstructure


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(manifests())
def test_round_trip(data: dict[str, Json]) -> None:
    """Data to object to data is the same data, unknown fields and explicit defaults included."""
    obj = SCHEME.from_dict(data)

    assert data == SCHEME.to_dict(obj)
    assert obj == SCHEME.from_dict(SCHEME.to_dict(obj))


def pod_of(spec: Json, metadata: Json = None) -> Pod:
    return structure({"spec": spec, "metadata": metadata}, Pod)


def test_unknown_and_default_fields_are_kept_in_place() -> None:
    spec: Json = {
        "securityContext": {"fsGroup": 1},
        "hostNetwork": False,
        "volumes": [],
        "containers": [{"name": "a", "x": 1}],
    }
    pod = pod_of(spec)

    assert pod.spec.extra == {
        "securityContext": {"fsGroup": 1},
        "hostNetwork": False,
        "volumes": [],
    }
    assert pod.spec.containers[0].extra == {"x": 1}
    assert spec == unstructure(pod)["spec"]


def test_a_field_overrides_the_default_that_was_spelled_out() -> None:
    """Once the field has left its default, `extra` says nothing of it any more."""
    pod = pod_of({"hostNetwork": False, "foo": 1})
    changed = attrs.evolve(pod.spec, host_network=True)

    assert changed.extra == {"foo": 1}
    assert unstructure(changed) == {"hostNetwork": True, "foo": 1}


def test_null_counts_as_absent() -> None:
    assert pod_of({"nodeName": "a"}) == pod_of(
        {"nodeName": "a", "hostname": None, "containers": None}
    )


def test_nothing_is_shared_with_the_data() -> None:
    """Objects are immutable: later changes of the data do not reach them, nor the other way round."""
    inner: dict[str, Json] = {"b": 1}
    pod = pod_of({"foo": inner})
    inner["b"] = 2
    written = unstructure(pod)["spec"]
    assert isinstance(written, dict)
    written["foo"] = 3

    assert unstructure(pod)["spec"] == {"foo": {"b": 1}}


def faults_of(spec: Json, metadata: Json = None) -> list[tuple[str, str]]:
    with pytest.raises(StructureError) as caught:
        pod_of(spec, metadata)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_all_faults_are_reported_with_their_paths() -> None:
    spec: Json = {
        "containers": [{"name": "a", "image": 3}, {"ports": [{"containerPort": "80"}]}],
        "hostNetwork": "yes",
        "nodeSelector": {"disk": True},
    }
    expected = [
        ("spec.containers[0].image", '3 must be a string, in quotes: "3"'),
        ("spec.containers[1].ports[0].containerPort", '"80" must be an integer'),
        ("spec.containers[1].name", REQUIRED),
        ("spec.hostNetwork", '"yes" must be a boolean'),
        ("spec.nodeSelector[disk]", 'true must be a string, in quotes: "true"'),
        ("metadata.creationTimestamp", '"today" is no RFC 3339 time such as 2006-01-02T15:04:05Z'),
    ]

    assert expected == faults_of(spec, {"creationTimestamp": "today"})


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (3, "spec", "3 must be a map"),
        ({"containers": {}}, "spec.containers", "{} must be a list"),
        ({"priority": 1.5}, "spec.priority", "1.5 must be an integer"),
        ({"priority": True}, "spec.priority", "true must be an integer"),
        ({"priority": 2**70}, "spec.priority", f"{2**70} must fit into 64 bits"),
        ({"x": {1: 2}}, "spec.x", "the key 1 must be a string, in quotes"),
        ({"x": [float("nan")]}, "spec.x[0]", "NaN is no JSON value"),
        ({"overhead": {"cpu": []}}, "spec.overhead[cpu]", "[] must be a quantity"),
    ],
)
def test_faults(spec: Json, path: str, message: str) -> None:
    """What does not fit its type is named by its path and what was expected."""
    assert [(path, message)] == faults_of(spec)


def test_bad_quantity_has_kubernetes_message() -> None:
    message = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    data: Json = {"apiVersion": "v1", "kind": "Pod", "spec": {"overhead": {"cpu": "lots"}}}
    assert isinstance(data, dict)

    with pytest.raises(StructureError) as caught:
        SCHEME.from_dict(data)

    assert f'Pod in version "v1" cannot be handled as a Pod: {message}' == caught.value.api_message


def test_api_message_names_the_go_field() -> None:
    data: dict[str, Json] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 1}]}]}
            }
        },
    }

    with pytest.raises(StructureError) as caught:
        SCHEME.from_dict(data)

    assert caught.value.api_message == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number into '
        "Go struct field EnvVar.spec.template.spec.containers.env.value of type string"
    )


def test_type_meta_is_required() -> None:
    with pytest.raises(StructureError) as caught:
        SCHEME.from_dict({"kind": 3})

    assert [fault.path for fault in caught.value.faults] == ["apiVersion", "kind"]


def test_ints_and_quantities_keep_their_form() -> None:
    """`cpu: 1` comes back as the number; int-or-string as what it was."""
    spec: Json = {
        "containers": [
            {
                "name": "a",
                "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}},
                "livenessProbe": {"httpGet": {"port": "http"}},
            }
        ]
    }
    pod = pod_of(spec)
    resources = pod.spec.containers[0].resources

    assert resources is not None
    assert Quantity.parse("1Gi") == resources.limits["memory"]
    assert spec == unstructure(pod)["spec"]


def test_times() -> None:
    """Times are read in any zone and precision, and written in UTC and whole seconds."""
    metadata = structure(
        {"creationTimestamp": "2026-01-01T02:00:00.9+02:00"}, Deployment, ""
    ).metadata
    assert metadata.creation_timestamp is None
    pod = pod_of({}, {"creationTimestamp": "2026-01-01T02:00:00.9+02:00"})

    assert Time.parse("2026-01-01T00:00:00Z") == pod.metadata.creation_timestamp
    assert unstructure(pod)["metadata"] == {"creationTimestamp": "2026-01-01T00:00:00Z"}


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen(kw_only=True)
class Page(ApiType):
    title: str
    weight: float = 1.0
    color: Color = Color.RED
    below: "tuple[Page, ...]" = ()


@attrs.frozen(kw_only=True)
class Strict:
    depth: int = 3


@attrs.frozen(kw_only=True)
class WebsiteSpec(ApiType):
    pages: tuple[Page, ...] = ()
    strict: Strict = Strict(depth=4)
    replicas: int = 2


@attrs.frozen(kw_only=True)
class Website(TypedObject):
    api_version = "example.org/v1"
    kind = "Website"

    spec: WebsiteSpec = WebsiteSpec()


def test_users_types() -> None:
    """A user's classes may hold enumerations, floats, themselves, classes without `extra`, and defaults that are not empty."""
    spec: Json = {
        "pages": [{"title": "a", "color": "blue", "below": [{"title": "b", "weight": 0.5}]}],
        "strict": {"depth": 5},
        "replicas": 0,
    }
    site = structure({"spec": spec}, Website)

    assert Color.BLUE is site.spec.pages[0].color
    assert site.spec.pages[0].below[0].title == "b"
    assert {"apiVersion": "example.org/v1", "kind": "Website", "spec": spec} == unstructure(site)
    assert unstructure(WebsiteSpec()) == {}


def test_faults_in_users_types() -> None:
    spec: Json = {"pages": [{"title": "a", "color": "green"}], "strict": {"dept": 1}}

    with pytest.raises(StructureError) as caught:
        structure({"spec": spec}, Website)

    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        ("spec.pages[0].color", "\"green\": 'green' is not a valid Color"),
        ("spec.strict.dept", "unknown field, known are depth"),
    ]


def test_fault_text() -> None:
    """A fault reads "path: message", and knows when a field is missing."""
    fault = FieldFault(path="spec.x", message=REQUIRED)

    assert str(fault) == "spec.x: Required value"
    assert fault.required
    assert PodSpec() == structure({}, PodSpec)
