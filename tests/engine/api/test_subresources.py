"""Binding and scale."""

from __future__ import annotations

import attrs
import pytest
from api_world import World, config_map, deployment, pod

from engine.api.errors import Conflict, Invalid, NotFound
from engine.api.request import Request, Verb
from engine.control.client import Client
from engine.objects.apps import Deployment
from engine.objects.binding import Binding, Scale
from engine.objects.meta import ObjectMeta, ObjectReference, Uid
from engine.objects.pod import Pod, PodSchedulingGate


async def test_binding_sets_node_and_condition(client: Client) -> None:
    """One write: nodeName, and PodScheduled true from now on; the generation stays."""
    made = await client.create(pod())
    await client.bind(made, "n1")
    bound = await client.get(Pod, "p", "default")

    assert bound.spec.node_name == "n1"
    (condition,) = bound.status.conditions
    assert (condition.type, condition.status, str(condition.last_transition_time)) == (
        "PodScheduled",
        "True",
        "2026-01-01T00:00:00Z",
    )
    assert int(bound.metadata.resource_version) == int(made.metadata.resource_version) + 1
    assert bound.metadata.generation == made.metadata.generation


async def test_a_pod_is_bound_once(client: Client) -> None:
    made = await client.create(pod())
    await client.bind(made, "n1")
    with pytest.raises(Conflict) as caught:
        await client.bind(made, "n2")
    assert caught.value.message == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
    )


async def test_what_cannot_be_bound(client: Client) -> None:
    """A pod that is being deleted, one with gates, another of the same name, none at all."""
    gated = await client.create(pod("gated", scheduling_gates=(PodSchedulingGate(name="g/h"),)))
    with pytest.raises(Conflict, match=r"pod gated has non-empty \.spec\.schedulingGates"):
        await client.bind(gated, "n")
    held = attrs.evolve(pod(), metadata=attrs.evolve(pod().metadata, finalizers=("a/b",)))
    made = await client.create(held)
    await client.delete(made)
    with pytest.raises(Conflict, match="pod p is being deleted, cannot be assigned to a host"):
        await client.bind(made, "n")
    other = attrs.evolve(made, metadata=attrs.evolve(made.metadata, uid=Uid("x")))
    with pytest.raises(Conflict, match="Precondition failed: UID"):
        await client.bind(other, "n")
    with pytest.raises(NotFound, match=r'^pods "none" not found$'):
        await client.bind(pod("none"), "n")


async def test_a_binding_names_a_node(world: World) -> None:
    await world.client.create(pod())
    request = Request(
        verb=Verb.CREATE,
        resource=world.scheme.resource_of(Pod),
        name="p",
        namespace="default",
        subresource="binding",
        object=Binding(metadata=ObjectMeta(name="p"), target=ObjectReference(kind="Rock")),
    )
    with pytest.raises(Invalid) as caught:
        await world.server.request(request)
    assert [cause.path for cause in caught.value.causes] == ["target.kind", "target.name"]


async def test_scale_reads_and_writes_replicas(world: World) -> None:
    client = world.client
    made = await client.create(deployment())
    request = Request(
        verb=Verb.GET,
        resource=world.scheme.resource_of(Deployment),
        name="web",
        namespace="default",
        subresource="scale",
    )
    scale = await world.server.request(request)
    assert isinstance(scale, Scale)
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=web")
    assert scale.metadata.uid == made.metadata.uid

    await client.scale(Deployment, "web", "default", 5)
    patched = await client.patch(
        Deployment, "web", "default", {"spec": {"replicas": 6}}, subresource="scale"
    )
    assert patched.kind == "Scale"
    found = await client.get(Deployment, "web", "default")
    assert (found.spec.replicas, found.metadata.generation) == (6, 3)

    stale = attrs.evolve(request, verb=Verb.UPDATE, object=scale)
    with pytest.raises(Conflict):
        await world.server.request(stale)


async def test_scale_refusals(client: Client) -> None:
    """A scale that is negative, or of a kind without replicas, is refused as Kubernetes refuses it."""
    await client.create(deployment())
    with pytest.raises(Invalid) as caught:
        await client.scale(Deployment, "web", "default", -1)
    assert caught.value.message == (
        'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: '
        "must be greater than or equal to 0"
    )
    made = await client.create(config_map())
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        await client.scale(type(made), "cm", "default", 1)
