"""Create, get, update, status, no-op, conflicts, generated names: through the endpoint, as any process meets them."""

from __future__ import annotations

import attrs
import pytest
import trio
from api_world import WIDGET, World, config_map, deployment, drain, pod, replica_set, told

from engine.api.cause import acting
from engine.api.errors import AlreadyExists, ApiError, BadRequest, Conflict, Invalid, NotFound
from engine.api.request import Request, Verb
from engine.control.client import Client
from engine.objects.apps import Deployment
from engine.objects.core import ConfigMap, Event, Lease, LeaseSpec, Namespace, Node
from engine.objects.meta import Condition, ObjectMeta, ObjectReference, OwnerReference, Uid
from engine.objects.pod import Pod, PodSchedulingGate, PodStatus
from engine.objects.unstructured import Unstructured
from store import Origin


async def test_create_sets_system_fields(client: Client) -> None:
    """A created object has uid, creation time, resourceVersion and generation; what the client said of them is dropped."""
    given = attrs.evolve(
        deployment(),
        metadata=ObjectMeta(name="web", namespace="default", uid=Uid("mine"), generation=7),
    )
    made = await client.create(given)

    assert made.metadata.uid not in ("", "mine")
    assert made.metadata.generation == 1
    assert str(made.metadata.creation_timestamp) == "2026-01-01T00:00:00Z"
    assert made == await client.get(Deployment, "web", "default")


async def test_create_resets_status_where_there_is_a_subresource(client: Client) -> None:
    """A client cannot bring a status along, except for a Node."""
    running = attrs.evolve(pod(), status=PodStatus(phase="Running", pod_ip="10.0.0.1"))
    node = Node(metadata=ObjectMeta(name="n"))
    ready = (Condition(type="Ready", status="True"),)
    node = attrs.evolve(node, status=attrs.evolve(node.status, conditions=ready))

    made = await client.create(running)
    assert made.status == PodStatus(phase="Pending", qos_class="BestEffort")
    assert (await client.create(node)).status.conditions == ready


async def test_a_gated_pod_says_so_from_its_creation(client: Client) -> None:
    """A pod with scheduling gates is PodScheduled=False, SchedulingGated, before any scheduler has seen it."""
    spec = attrs.evolve(pod().spec, scheduling_gates=(PodSchedulingGate(name="example.dev/wait"),))
    made = await client.create(attrs.evolve(pod(), spec=spec))

    (condition,) = made.status.conditions
    assert (condition.type, condition.status) == ("PodScheduled", "False")
    assert condition.reason == "SchedulingGated"


async def test_create_with_a_taken_name(client: Client) -> None:
    """The second object of a name is refused, whoever is quicker to ask."""
    await client.create(config_map())
    with pytest.raises(AlreadyExists, match=r'^configmaps "cm" already exists$'):
        await client.create(config_map())


async def test_create_while_the_holder_is_being_deleted_says_so(client: Client) -> None:
    held = attrs.evolve(
        config_map(), metadata=attrs.evolve(config_map().metadata, finalizers=("a/b",))
    )
    await client.delete(await client.create(held))
    with pytest.raises(
        AlreadyExists, match=r'^object is being deleted: configmaps "cm" already exists$'
    ):
        await client.create(config_map())


async def test_create_with_a_resource_version_is_refused(client: Client) -> None:
    made = await client.create(config_map())
    with pytest.raises(
        ApiError, match="resourceVersion should not be set on objects to be created"
    ):
        await client.create(made)


async def test_create_in_a_missing_namespace(client: Client) -> None:
    with pytest.raises(NotFound, match=r'^namespaces "nope" not found$'):
        await client.create(config_map(namespace="nope"))


async def test_create_finds_a_namespace_made_a_moment_ago(client: Client) -> None:
    """Admission asks a fresh cache before it refuses."""
    await client.create(Namespace(metadata=ObjectMeta(name="fresh")))
    assert (await client.create(config_map(namespace="fresh"))).metadata.namespace == "fresh"


async def test_create_without_a_name(client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        await client.create(config_map(name=""))
    assert caught.value.message == (
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
    )


async def test_body_must_be_of_the_kind_and_namespace_of_the_request(world: World) -> None:
    pods = world.scheme.resource_of(Pod)
    wrong_kind = Request(verb=Verb.CREATE, resource=pods, namespace="default", object=config_map())
    with pytest.raises(BadRequest, match="ConfigMap"):
        await world.server.request(wrong_kind)
    wrong_namespace = Request(
        verb=Verb.CREATE, resource=pods, namespace="kube-system", object=pod()
    )
    with pytest.raises(BadRequest, match="does not match the namespace sent on the request"):
        await world.server.request(wrong_namespace)
    with pytest.raises(BadRequest):
        await world.server.request(Request(verb=Verb.CREATE, resource=pods, namespace="default"))


# -- generated names -------------------------------------------------------------------------------


def _generated(owner: str = "") -> ConfigMap:
    owners = (
        (OwnerReference(api_version="v1", kind="X", name="x", uid=Uid(owner), controller=True),)
        if owner
        else ()
    )
    return ConfigMap(
        metadata=ObjectMeta(generate_name="a-", namespace="default", owner_references=owners)
    )


async def test_generated_names_are_caused_by_owner_and_ordinal(client: Client) -> None:
    """What another owner creates in between renames nothing: names come from the owner and its own count."""
    first = [(await client.create(_generated("one"))).metadata for _ in range(2)]
    other = (await client.create(_generated("two"))).metadata
    third = (await client.create(_generated("one"))).metadata

    names = [m.name for m in (*first, other, third)]
    assert names == list(dict.fromkeys(names))
    assert all(len(name) == len("a-") + 5 for name in names)
    assert len({m.uid for m in (*first, other, third)}) == 4


async def test_generated_names_avoid_taken_ones(world: World) -> None:
    """A collision costs another try, not an error."""
    probe = (await world.client.create(_generated("one"))).metadata
    taken = world.server._writer.names.draws.suffix("configmaps", "one", "a-", 1, 1)
    await world.client.create(config_map(name=f"a-{taken}"))
    made = (await world.client.create(_generated("one"))).metadata

    assert made.name not in (probe.name, f"a-{taken}")


async def test_a_second_life_has_another_uid(client: Client) -> None:
    first = await client.create(config_map())
    await client.delete(first)
    assert (await client.create(config_map())).metadata.uid != first.metadata.uid


async def test_the_same_calls_give_the_same_uids(client: Client) -> None:
    """Uids derive from seed and name; this value changes only when the derivation does."""
    made = await client.create(config_map())
    again = await client.create(config_map(name="other"))
    assert made.metadata.uid[14] == "4"
    assert made.metadata.uid != again.metadata.uid


# -- update ----------------------------------------------------------------------------------------


async def test_update_with_a_stale_version_is_a_conflict(client: Client) -> None:
    made = await client.create(config_map())
    await client.update(attrs.evolve(made, data={"a": "1"}))
    with pytest.raises(Conflict) as caught:
        await client.update(attrs.evolve(made, data={"a": "2"}))
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "cm": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_update_without_a_version_overwrites(client: Client) -> None:
    await client.create(config_map(a="1"))
    assert (await client.update(config_map(a="2"))).data == {"a": "2"}


async def test_update_without_a_version_is_invalid_for_some_kinds(client: Client) -> None:
    lease = Lease(metadata=ObjectMeta(name="l", namespace="default"))
    await client.create(lease)
    with pytest.raises(
        Invalid,
        match=r"metadata\.resourceVersion: Invalid value: 0x0: must be specified for an update",
    ):
        await client.update(lease)


async def test_update_of_a_missing_object(client: Client) -> None:
    """It is an error for most kinds, and creates some."""
    with pytest.raises(NotFound, match=r'^configmaps "cm" not found$'):
        await client.update(config_map())
    lease = Lease(
        metadata=ObjectMeta(name="l", namespace="default"), spec=LeaseSpec(holder_identity="me")
    )
    assert (await client.update(lease)).spec.holder_identity == "me"


async def test_update_of_another_life_is_a_conflict(client: Client) -> None:
    made = await client.create(config_map())
    other = attrs.evolve(
        made, metadata=attrs.evolve(made.metadata, uid=Uid("x"), resource_version="")
    )
    with pytest.raises(
        Conflict, match="Precondition failed: UID in precondition: x, UID in object meta: "
    ):
        await client.update(other)


async def test_update_that_changes_nothing_is_not_committed(world: World) -> None:
    """No revision, no event, and the same resourceVersion in the answer."""
    client = world.client
    made = await client.create(deployment())
    head = world.store.head
    async with client.watch(Deployment, resource_version=str(head)) as stream:
        same = await client.update(made)
        await client.update(
            attrs.evolve(made, metadata=attrs.evolve(made.metadata, resource_version=""))
        )
        await client.update_status(made)
        await client.update(deployment())
        events = await drain(stream)

    assert same == made
    assert world.store.head == head
    assert events == []


async def test_update_of_a_cached_state_that_is_behind(client: Client) -> None:
    """A second write in the same breath starts from the first one's result."""
    made = await client.create(config_map())
    for number in range(5):
        made = await client.update(attrs.evolve(made, data={"n": str(number)}))
    assert (await client.get(ConfigMap, "cm", "default")).data == {"n": "4"}


async def test_generation_counts_changes_of_the_spec(client: Client) -> None:
    """Spec and, for deployments, annotations raise it; labels and status do not."""
    made = await client.create(deployment())
    labelled = await client.update(
        attrs.evolve(made, metadata=attrs.evolve(made.metadata, labels={"x": "y"}))
    )
    assert labelled.metadata.generation == 1
    annotated = await client.update(
        attrs.evolve(labelled, metadata=attrs.evolve(labelled.metadata, annotations={"x": "y"}))
    )
    assert annotated.metadata.generation == 2
    scaled = await client.update(
        attrs.evolve(annotated, spec=attrs.evolve(annotated.spec, replicas=9))
    )
    assert scaled.metadata.generation == 3
    status = await client.update_status(
        attrs.evolve(scaled, status=attrs.evolve(scaled.status, replicas=9))
    )
    assert status.metadata.generation == 3


async def test_a_spec_that_was_rebuilt_keeps_its_identity(client: Client) -> None:
    """A client that sends an equal spec anew changes the rest only: the parts stored before are shared on."""
    made = await client.create(replica_set())
    again = attrs.evolve(
        made,
        metadata=attrs.evolve(made.metadata, labels={"a": "b"}),
        spec=attrs.evolve(made.spec),
    )
    updated = await client.update(again)
    assert again.spec is not made.spec
    assert updated.spec is made.spec
    assert updated.metadata.generation == 1


async def test_spec_and_status_are_written_apart(client: Client) -> None:
    """A write of the object leaves the status alone, a write of the status leaves all else alone."""
    made = await client.create(pod())
    changed = attrs.evolve(
        made,
        metadata=attrs.evolve(made.metadata, labels={"a": "b"}),
        status=attrs.evolve(made.status, phase="Running"),
    )
    updated = await client.update(changed)
    assert (updated.status.phase, updated.metadata.labels) == ("Pending", {"a": "b"})
    moved = attrs.evolve(
        updated,
        spec=attrs.evolve(updated.spec, active_deadline_seconds=5),
        status=attrs.evolve(made.status, phase="Running"),
    )
    status = await client.update_status(moved)
    assert (status.status.phase, status.spec.active_deadline_seconds) == ("Running", None)


async def test_status_of_a_deployment_keeps_its_labels(client: Client) -> None:
    made = await client.create(deployment())
    given = attrs.evolve(
        made,
        metadata=attrs.evolve(made.metadata, labels={"a": "b"}, annotations={"c": "d"}),
        status=attrs.evolve(made.status, replicas=1),
    )
    stored = await client.update_status(given)
    assert (stored.metadata.labels, stored.metadata.annotations) == ({}, {"c": "d"})


async def test_status_of_a_kind_without_one(client: Client) -> None:
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        await client.update_status(await client.create(config_map()))


async def test_custom_kinds_follow_the_same_rules(world: World) -> None:
    """Generation counts everything but metadata and status; the status is written apart; a version is needed."""
    client = world.client
    widget = Unstructured(
        api_version="example.com/v1",
        kind="Widget",
        metadata=ObjectMeta(name="w", namespace="default"),
        body={"spec": {"size": 1}, "status": {"seen": 1}},
    )
    made = await client.create(widget)
    assert made.body == {"spec": {"size": 1}}
    bigger = await client.update(attrs.evolve(made, body={"spec": {"size": 2}}))
    assert bigger.metadata.generation == 2
    seen = await client.update_status(
        attrs.evolve(bigger, body={"spec": {"size": 3}, "status": {"seen": 2}})
    )
    assert seen.body == {"spec": {"size": 2}, "status": {"seen": 2}}
    assert seen.metadata.generation == 2
    with pytest.raises(Invalid):
        await client.update(widget)
    scaled: Unstructured = await client.patch(
        WIDGET, "w", "default", {"spec": {"replicas": 4}}, subresource="scale"
    )
    assert scaled.kind == "Scale"
    found: Unstructured = await client.get(WIDGET, "w", "default")
    assert found.body["spec"] == {"size": 2, "replicas": 4}


async def test_writes_carry_the_origin_in_force(world: World) -> None:
    """Who writes and why comes from the context, and lands in the store's event; bootstrap and user are declared roots."""
    await world.client.create(config_map(name="plain"))
    with acting(Origin(actor="controller/x", reconcile="default/cm", causes=(3,))):
        await world.client.create(config_map(name="made"))

    origins = {event.key: event.origin for event in world.store.history()}
    assert origins["/registry/configmaps/default/made"] == Origin(
        "controller/x", "default/cm", (3,)
    )
    assert origins["/registry/configmaps/default/plain"] == Origin("user", causes=("user",))
    assert origins["/registry/namespaces/default"] == Origin("apiserver", causes=("bootstrap",))


async def test_the_stored_value_has_no_resource_version(world: World) -> None:
    made = await world.client.create(config_map())
    await world.client.update(attrs.evolve(made, data={"a": "b"}))
    assert [
        event.value.metadata.resource_version  # type: ignore[attr-defined]
        for event in world.store.history()
    ] == [""] * (world.store.head - 1)


async def test_objects_are_shared_by_reference(world: World) -> None:
    """One decorated object per revision: the answer of the write, every watch and every read."""
    client = world.client
    async with client.watch(ConfigMap) as one, client.watch(ConfigMap, "default") as other:
        made = await client.create(config_map())
        events = await drain(one) + await drain(other)
    found = await client.get(ConfigMap, "cm", "default")

    assert told(events) == [("ADDED", "cm")] * 2
    assert all(event.object is made for event in events)
    assert found is made


async def test_concurrent_writers_never_lose_an_update(client: Client) -> None:
    """Unconditional patches are tried again at the server until each has had its turn."""
    await client.create(config_map())

    async def add(key: str) -> None:
        await client.patch(ConfigMap, "cm", "default", {"data": {key: "x"}})

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(add, f"k{number}")
    assert len((await client.get(ConfigMap, "cm", "default")).data) == 20


async def test_events_of_the_cluster_live_as_long_as_their_lease(world: World) -> None:
    """Events are written with a lease of the store, shared among those of one minute."""
    for number in range(3):
        event = Event(
            metadata=ObjectMeta(name=f"e{number}", namespace="default"),
            involved_object=ObjectReference(kind="Pod", namespace="default", name="p"),
        )
        await world.client.create(event)
    await world.client.create(config_map())

    leases = {event.key: event.lease for event in world.store.history()}
    shared = {leases[f"/registry/events/default/e{number}"] for number in range(3)}
    assert len(shared) == 1
    assert 0 not in shared
    assert leases["/registry/configmaps/default/cm"] == 0
