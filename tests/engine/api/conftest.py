"""A running API server over the memory store, in virtual time, with a client to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from engine.api.cause import acting
from engine.api.request import WatchEvent, WatchStream
from engine.api.server import ApiServer
from engine.control.client import Client
from engine.objects.apps import Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec
from engine.objects.codec import ObjectCodec
from engine.objects.core import ConfigMap
from engine.objects.kinds import default_scheme
from engine.objects.meta import LabelSelector, ObjectMeta
from engine.objects.pod import Container, Pod, PodSpec, PodTemplateSpec
from engine.objects.scheme import Generation, Resource, Scheme
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import Store, open_store

__all__ = ["acting"]

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


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
async def world(
    autojump_clock: trio.testing.MockClock, settings: Settings
) -> AsyncIterator[World]:
    scheme = default_scheme()
    scheme.register(WIDGET)
    clock = Clock.virtual()
    async with open_store(codec=ObjectCodec(scheme), clock=clock.now_ns) as store:
        server = ApiServer(
            store=store, scheme=scheme, clock=clock, draws=Draws(1), settings=settings
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield World(
                store=store,
                scheme=scheme,
                clock=clock,
                server=server,
                client=Client(endpoint=server, scheme=scheme),
                nursery=nursery,
            )
            server.check()
            nursery.cancel_scope.cancel()


@pytest.fixture
def client(world: World) -> Client:
    return world.client


@pytest.fixture
def server(world: World) -> ApiServer:
    return world.server


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
    with trio.move_on_after(0.001):
        while True:
            events.extend(await stream.receive())
    return events


def told(events: list[WatchEvent]) -> list[tuple[str, str]]:
    """What happened to whom."""
    return [(e.type.value, e.object.metadata.name if e.object else "") for e in events]
