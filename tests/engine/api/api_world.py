"""A running API server over the memory store, and small objects to put into it."""

from __future__ import annotations

import attrs
import trio
import trio.testing

from engine.api.request import WatchEvent, WatchStream
from engine.api.server import ApiServer
from engine.control.client import Client
from engine.objects.apps import Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec
from engine.objects.core import ConfigMap
from engine.objects.meta import LabelSelector, ObjectMeta
from engine.objects.pod import Container, Pod, PodSpec, PodTemplateSpec
from engine.objects.scheme import Generation, Resource, Scheme
from engine.sim.clock import Clock
from store import Store

WIDGET = Resource(
    group="example.com",
    version="v1",
    kind="Widget",
    plural="widgets",
    singular="widget",
    custom=True,
    status_subresource=True,
    scale_subresource=True,
    unconditional_update=False,
    generation=Generation.ALL_BUT_METADATA_AND_STATUS,
)


@attrs.frozen(kw_only=True)
class World:
    """One server and what belongs to it."""

    store: Store
    scheme: Scheme
    clock: Clock
    server: ApiServer
    client: Client
    nursery: trio.Nursery


def pod(name: str = "p", **spec: object) -> Pod:
    spec.setdefault("containers", (Container(name="c", image="nginx:1"),))
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(**spec),  # type: ignore[arg-type]
    )


def config_map(name: str = "cm", namespace: str = "default", **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=data)


def template(**labels: str) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=labels),
        spec=PodSpec(containers=(Container(name="c", image="nginx:1"),)),
    )


def deployment(name: str = "web", replicas: int | None = 2, **spec: object) -> Deployment:
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels={"app": name}),
            template=template(app=name),
            **spec,  # type: ignore[arg-type]
        ),
    )


def replica_set(name: str = "web") -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ReplicaSetSpec(
            replicas=1,
            selector=LabelSelector(match_labels={"app": name}),
            template=template(app=name),
        ),
    )


async def drain(stream: WatchStream) -> list[WatchEvent]:
    """Everything the stream has to deliver by now."""
    events: list[WatchEvent] = []

    async def read() -> None:
        while True:
            events.extend(await stream.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return events


def told(events: list[WatchEvent]) -> list[tuple[str, str]]:
    """What happened to whom."""
    return [(e.type.value, e.object.metadata.name if e.object else "") for e in events]
