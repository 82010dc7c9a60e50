"""Deletion: finalizers, propagation, grace, namespaces; the pure decisions as a table, the sequences through the endpoint."""

from __future__ import annotations

import attrs
import pytest
import trio
from api_world import World, config_map, deployment, drain, pod, template
from trio.testing import MockClock

from engine.api.deletion import Options, collector_finalizers, decide
from engine.api.errors import Conflict, Forbidden, NotFound
from engine.api.request import Propagation, Request, Verb
from engine.api.swap import Step
from engine.control.client import Client
from engine.objects.apps import Deployment, ReplicationController, ReplicationControllerSpec
from engine.objects.base import Time
from engine.objects.core import ConfigMap, Namespace
from engine.objects.kinds import DEPLOYMENT, EVENT, POD, REPLICATION_CONTROLLER
from engine.objects.meta import ObjectMeta, Uid
from engine.objects.pod import Pod, PodStatus

NOW = Time.of(1_767_225_600_000_000)
SECOND = 1_000_000


def _bound(phase: str = "Running", **metadata: object) -> Pod:
    spec = attrs.evolve(pod().spec, node_name="n1", termination_grace_period_seconds=30)
    return attrs.evolve(
        pod(),
        metadata=ObjectMeta(name="p", namespace="default", **metadata),  # type: ignore[arg-type]
        spec=spec,
        status=PodStatus(phase=phase),
    )


def _terminating(grace: int, elapsed: int = 0) -> Pod:
    return _bound(
        deletion_timestamp=Time(NOW + (grace - elapsed) * SECOND),
        deletion_grace_period_seconds=grace,
    )


@pytest.mark.parametrize(
    ("obj", "grace", "step", "seconds", "period"),
    [
        pytest.param(_bound(), None, Step.WRITE, 30, 30, id="a running pod gets its spec's grace"),
        pytest.param(_bound(), 5, Step.WRITE, 5, 5, id="or the grace asked for"),
        pytest.param(_bound(), -3, Step.WRITE, 1, 1, id="a negative grace is one second"),
        pytest.param(_bound(), 0, Step.WRITE_THEN_REMOVE, 0, 0, id="none at all removes it"),
        pytest.param(pod(), 30, Step.WRITE_THEN_REMOVE, 0, 0, id="an unbound pod has no grace"),
        pytest.param(_bound("Failed"), 30, Step.WRITE_THEN_REMOVE, 0, 0, id="nor has a failed one"),
        pytest.param(
            _bound("Succeeded"), None, Step.WRITE_THEN_REMOVE, 0, 0, id="or a succeeded one"
        ),
        pytest.param(
            _terminating(30), None, Step.KEEP, 30, 30, id="again without a grace: nothing"
        ),
        pytest.param(_terminating(30), 30, Step.KEEP, 30, 30, id="again with the same: nothing"),
        pytest.param(
            _terminating(30), 60, Step.KEEP, 30, 30, id="again with a longer one: nothing"
        ),
        pytest.param(
            _terminating(30, 2), 10, Step.WRITE, 8, 10, id="a shorter one moves the deadline"
        ),
        pytest.param(_terminating(30, 20), 10, Step.WRITE, 0, 1, id="but not into the past"),
        pytest.param(
            _terminating(30, 2), 0, Step.WRITE_THEN_REMOVE, 0, 0, id="the kubelet's final delete"
        ),
        pytest.param(
            _terminating(0), None, Step.REMOVE, 0, 0, id="grace 0 and still there: removed"
        ),
    ],
)
def test_grace_of_a_pod(obj: Pod, grace: int | None, step: Step, seconds: int, period: int) -> None:
    """The deadline is `seconds` from now, the grace `period`."""
    decision = decide(obj, POD, Options(grace_period_seconds=grace), NOW)
    metadata = decision.object.metadata

    assert decision.step is step
    assert metadata.deletion_timestamp == NOW + seconds * SECOND
    assert metadata.deletion_grace_period_seconds == period


@pytest.mark.parametrize(
    ("before", "propagation", "after"),
    [
        ((), None, ()),
        ((), Propagation.BACKGROUND, ()),
        ((), Propagation.FOREGROUND, ("foregroundDeletion",)),
        ((), Propagation.ORPHAN, ("orphan",)),
        (("a/b",), Propagation.ORPHAN, ("a/b", "orphan")),
        (("orphan",), None, ("orphan",)),
        (("orphan",), Propagation.BACKGROUND, ()),
        (("orphan", "a/b"), Propagation.FOREGROUND, ("a/b", "foregroundDeletion")),
        (("orphan", "a/b"), Propagation.ORPHAN, ("orphan", "a/b")),
    ],
)
def test_finalizers_of_the_garbage_collector(
    before: tuple[str, ...], propagation: Propagation | None, after: tuple[str, ...]
) -> None:
    assert collector_finalizers(before, DEPLOYMENT, propagation) == after


def test_default_propagation_of_a_kind() -> None:
    """A ReplicationController orphans its pods unless told otherwise; Events know no garbage collection."""
    assert collector_finalizers((), REPLICATION_CONTROLLER, None) == ("orphan",)
    assert collector_finalizers((), EVENT, Propagation.ORPHAN) == ()


async def test_the_recorded_sequence_of_a_pod(client: Client) -> None:
    """reference/api.md 5.7: ADDED, label MODIFIED, delete MODIFIED (grace 30), final delete MODIFIED (grace 0), DELETED, one revision each."""
    made = await client.create(pod())
    first = int(made.metadata.resource_version)
    async with client.watch(Pod) as stream:
        await client.patch(Pod, "p", "default", {"metadata": {"labels": {"a": "b"}}})
        await client.bind(made, "n1")
        await client.delete(made)
        await client.delete(made, grace_period_seconds=0)
        events = await drain(stream)

    assert [
        (e.type.value, e.revision - first, e.object.metadata.deletion_grace_period_seconds)
        for e in events
        if e.object is not None
    ] == [
        ("ADDED", 0, None),
        ("MODIFIED", 1, None),
        ("MODIFIED", 2, None),
        ("MODIFIED", 3, 30),
        ("MODIFIED", 4, 0),
        ("DELETED", 5, 0),
    ]
    assert [int(e.object.metadata.resource_version) for e in events if e.object] == [
        e.revision for e in events
    ]


async def test_deadline_is_now_plus_grace(client: Client, autojump_clock: MockClock) -> None:
    made = await client.create(pod())
    await client.bind(made, "n1")
    await trio.sleep(7)
    left = await client.delete(made, grace_period_seconds=12)
    assert str(left.metadata.deletion_timestamp) == "2026-01-01T00:00:19Z"
    assert left.metadata.generation == 2


async def test_an_object_without_finalizers_goes_at_once(client: Client) -> None:
    made = await client.create(config_map())
    last = await client.delete(made)
    assert last.metadata.deletion_timestamp is None
    with pytest.raises(NotFound, match=r'^configmaps "cm" not found$'):
        await client.get(ConfigMap, "cm", "default")
    with pytest.raises(NotFound):
        await client.delete(made)


async def test_finalizers_hold_an_object(world: World) -> None:
    """Marked first; gone with the last finalizer, as one DELETED that still shows it."""
    client = world.client
    held = attrs.evolve(
        config_map(), metadata=attrs.evolve(config_map().metadata, finalizers=("a/b",))
    )
    made = await client.create(held)
    marked = await client.delete(made)
    assert (marked.metadata.deletion_grace_period_seconds, marked.metadata.finalizers) == (
        0,
        ("a/b",),
    )
    head = world.store.head
    again = await client.delete(made)
    assert (again, world.store.head) == (marked, head)

    async with client.watch(ConfigMap, resource_version=str(head)) as stream:
        await client.patch(ConfigMap, "cm", "default", {"metadata": {"finalizers": None}})
        (event,) = await drain(stream)
    assert (event.type.value, event.revision) == ("DELETED", head + 1)
    assert event.object is not None
    assert event.object.metadata.finalizers == ("a/b",)


async def test_no_new_finalizer_on_a_terminating_object(client: Client) -> None:
    held = attrs.evolve(
        config_map(), metadata=attrs.evolve(config_map().metadata, finalizers=("a/b",))
    )
    await client.delete(await client.create(held))
    with pytest.raises(
        Exception,
        match=r'no new finalizers can be added if the object is being deleted, found new finalizers \[\]string\{"c/d"\}',
    ):
        await client.patch(ConfigMap, "cm", "default", {"metadata": {"finalizers": ["a/b", "c/d"]}})


async def test_foreground_and_orphan_leave_the_object_to_the_collector(client: Client) -> None:
    """Marked, generation raised once, waiting for the collector's finalizer."""
    made = await client.create(deployment())
    marked = await client.delete(made, propagation=Propagation.FOREGROUND)
    assert marked.metadata.finalizers == ("foregroundDeletion",)
    assert marked.metadata.generation == 2
    changed = await client.delete(made, propagation=Propagation.ORPHAN)
    assert (changed.metadata.finalizers, changed.metadata.generation) == (("orphan",), 2)
    await client.delete(made, propagation=Propagation.BACKGROUND)
    with pytest.raises(NotFound):
        await client.get(Deployment, "web", "default")


async def test_a_replication_controller_orphans_by_default(client: Client) -> None:
    controller = ReplicationController(
        metadata=ObjectMeta(name="rc", namespace="default"),
        spec=ReplicationControllerSpec(selector={"a": "b"}, template=template(a="b")),
    )
    marked = await client.delete(await client.create(controller))
    assert marked.metadata.finalizers == ("orphan",)


async def test_preconditions(client: Client) -> None:
    """A delete whose uid or resourceVersion does not match is a Conflict in the API server's words."""
    made = await client.create(config_map())
    with pytest.raises(
        Conflict, match=r"the UID in the precondition \(x\) does not match the UID in record"
    ):
        await client.delete(ConfigMap, "cm", "default", uid=Uid("x"))
    with pytest.raises(
        Conflict, match=r"the ResourceVersion in the precondition \(1\) does not match"
    ):
        await client.delete(ConfigMap, "cm", "default", resource_version="1")
    await client.delete(ConfigMap, "cm", "default", resource_version=made.metadata.resource_version)


async def test_namespace_life(world: World) -> None:
    """Active with its finalizer and label; Terminating, closed for new content; gone when finalized."""
    client = world.client
    made = await client.create(Namespace(metadata=ObjectMeta(name="n")))
    assert made.spec.finalizers == ("kubernetes",)
    assert made.status.phase == "Active"
    assert made.metadata.labels == {"kubernetes.io/metadata.name": "n"}
    kept = await client.create(config_map(namespace="n"))

    marked = await client.delete(made)
    assert isinstance(marked, Namespace)
    assert marked.status.phase == "Terminating"
    assert marked.metadata.deletion_grace_period_seconds is None
    assert await client.delete(made) == marked

    with pytest.raises(Forbidden) as caught:
        await client.create(config_map(name="late", namespace="n"))
    assert caught.value.message == (
        'configmaps "late" is forbidden: unable to create new content in namespace n because it is '
        "being terminated"
    )
    assert [cause.reason for cause in caught.value.causes] == ["NamespaceTerminating"]
    await client.update(attrs.evolve(kept, data={"still": "writable"}))
    await client.delete(kept)

    ignored = await client.update(
        attrs.evolve(marked, spec=attrs.evolve(marked.spec, finalizers=()))
    )
    assert ignored.spec.finalizers == ("kubernetes",)
    await _finalize(world, attrs.evolve(marked, spec=attrs.evolve(marked.spec, finalizers=())))
    with pytest.raises(NotFound):
        await client.get(Namespace, "n")


async def _finalize(world: World, namespace: Namespace) -> None:
    request = Request(
        verb=Verb.UPDATE,
        resource=world.scheme.resource_of(Namespace),
        name=namespace.metadata.name,
        subresource="finalize",
        object=namespace,
    )
    await world.server.request(request)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_are_immortal(client: Client, name: str) -> None:
    with pytest.raises(Forbidden) as caught:
        await client.delete(Namespace, name)
    assert caught.value.message == (
        f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    )
