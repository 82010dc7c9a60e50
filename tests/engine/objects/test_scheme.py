"""The scheme: kinds by every name, users' kinds, and clear errors."""

import attrs
import pytest

from engine.objects import (
    ApiType,
    Binding,
    Deployment,
    Generation,
    ObjectMeta,
    ObjectReference,
    Pod,
    Scale,
    ScaleSpec,
    TypedObject,
    UnknownKind,
    Unstructured,
    custom_resource,
    default_scheme,
)


@attrs.frozen(kw_only=True)
class WebsiteSpec(ApiType):
    url: str = ""


@attrs.frozen(kw_only=True)
class Website(TypedObject):
    api_version = "example.org/v1"
    kind = "Website"

    spec: WebsiteSpec = WebsiteSpec()


def test_kinds_by_every_name() -> None:
    scheme = default_scheme()
    deployment = scheme.resource_of(Deployment)

    for name in (
        "Deployment",
        "deployments",
        "deploy",
        "DEPLOY",
        ("apps/v1", "Deployment"),
        Deployment(),
    ):
        assert deployment is scheme.resource_of(name)
    assert deployment is scheme.resource_of(deployment)
    assert deployment is scheme.resource_of_plural("apps/v1", "deployments")
    assert scheme.resource_of_plural("apps/v1", "pods") is None


def test_names_of_a_resource() -> None:
    scheme = default_scheme()
    deployment, pod = scheme.resource_of("Deployment"), scheme.resource_of("Pod")

    assert (
        deployment.api_version,
        deployment.group_resource,
        deployment.group_kind,
    ) == ("apps/v1", "deployments.apps", "Deployment.apps")
    assert (pod.api_version, pod.group_resource, pod.group_kind) == ("v1", "pods", "Pod")
    assert pod.storage_key("default", "a") == "/registry/pods/default/a"
    assert scheme.resource_of("Node").storage_key("", "a-0") == "/registry/nodes/a-0"


def test_what_the_server_must_know() -> None:
    """Reference, 2.4: which kinds keep a generation, and which may be overwritten without resourceVersion."""
    scheme = default_scheme()
    generations = {
        r.kind: r.generation for r in scheme.resources if r.generation is not Generation.NONE
    }

    assert generations == {
        "Pod": Generation.SPEC,
        "ReplicaSet": Generation.SPEC,
        "ReplicationController": Generation.SPEC,
        "Deployment": Generation.SPEC_AND_ANNOTATIONS,
    }
    assert [r.kind for r in scheme.resources if not r.unconditional_update] == ["Lease"]
    assert [r.kind for r in scheme.resources if r.default_propagation == "Orphan"] == [
        "ReplicationController"
    ]
    assert {"Deployment", "ReplicaSet", "ReplicationController"} == {
        r.kind for r in scheme.resources if r.scale_subresource
    }


@pytest.mark.parametrize(
    ("api_version", "kind", "message"),
    [
        (
            "apps/v1",
            "Deploymnt",
            'no matches for kind "Deploymnt" in version "apps/v1"; did you mean Deployment (apps/v1)?',
        ),
        (
            "extensions/v1beta1",
            "Deployment",
            'no matches for kind "Deployment" in version "extensions/v1beta1"; did you mean Deployment (apps/v1)?',
        ),
        ("apps/v1", "DaemonSet", 'no matches for kind "DaemonSet" in version "apps/v1"'),
    ],
)
def test_unknown_kinds(api_version: str, kind: str, message: str) -> None:
    """The near ones are named; a kind that is not modelled is unknown."""
    with pytest.raises(UnknownKind) as caught:
        default_scheme().from_dict({"apiVersion": api_version, "kind": kind})

    assert message == str(caught.value)


def test_unknown_names_and_types() -> None:
    scheme = default_scheme()
    with pytest.raises(UnknownKind, match='no matches for kind "pdos"'):
        scheme.resource_of("pdos")
    with pytest.raises(UnknownKind, match='no matches for kind "Website"'):
        scheme.resource_of(Website)
    with pytest.raises(UnknownKind, match=r"example\.org/v1"):
        scheme.resource_of(Unstructured(api_version="example.org/v1", kind="Website"))


def test_a_users_kind_with_a_class() -> None:
    scheme = default_scheme()
    resource = scheme.register(custom_resource(Website, plural="websites", status_subresource=True))
    data = {
        "apiVersion": "example.org/v1",
        "kind": "Website",
        "metadata": {"name": "a"},
        "spec": {"url": "x", "foo": 1},
    }
    site = scheme.from_dict(data)

    assert (
        Website(metadata=ObjectMeta(name="a"), spec=WebsiteSpec(url="x", extra={"foo": 1})) == site
    )
    assert data == scheme.to_dict(site)
    assert resource.group_resource == "websites.example.org"
    assert resource.storage_key("ns", "a") == "/registry/example.org/websites/ns/a"
    assert Generation.ALL_BUT_METADATA_AND_STATUS is resource.generation
    assert not resource.unconditional_update


def test_a_users_kind_without_a_class() -> None:
    scheme = default_scheme()
    scheme.register(
        custom_resource("Website", plural="websites", group="example.org", version="v1")
    )
    data = {"apiVersion": "example.org/v1", "kind": "Website", "spec": {"url": None}}
    site = scheme.from_dict(data)

    assert (
        Unstructured(api_version="example.org/v1", kind="Website", body={"spec": {"url": None}})
        == site
    )
    assert data == scheme.to_dict(site)
    assert scheme.resource_of(site).custom


def test_registering_twice_or_wrongly() -> None:
    scheme = default_scheme()
    with pytest.raises(ValueError, match="v1 Pod is already registered"):
        scheme.register(scheme.resource_of(Pod))
    with pytest.raises(ValueError, match="a custom kind needs a group and a version"):
        custom_resource("Website", plural="websites")
    with pytest.raises(
        ValueError, match=r"Website says it is example.org/v1 Website, not example.org/v2"
    ):
        scheme.register(attrs.evolve(custom_resource(Website, plural="websites"), version="v2"))
    scheme.register(custom_resource(Website, plural="websites"))
    with pytest.raises(ValueError, match=r"example\.org/v1 websites is already"):
        scheme.register(
            custom_resource("Page", plural="websites", group="example.org", version="v1")
        )
    assert len([r for r in default_scheme().resources if r.custom]) == 0, "schemes are independent"


def test_bodies_of_subresources() -> None:
    """Binding and Scale can be read and written, and are no resources."""
    scheme = default_scheme()
    binding = Binding(metadata=ObjectMeta(name="a"), target=ObjectReference(kind="Node", name="n"))
    scale = Scale(spec=ScaleSpec(replicas=3))

    assert binding == scheme.from_dict(scheme.to_dict(binding))
    assert scheme.to_dict(scale) == {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "spec": {"replicas": 3},
    }
    assert "Scale" not in [r.kind for r in scheme.resources]


def test_type_meta_stands_first() -> None:
    assert list(default_scheme().to_dict(Pod(metadata=ObjectMeta(name="a")))) == [
        "apiVersion",
        "kind",
        "metadata",
    ]
