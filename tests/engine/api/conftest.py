"""Fixtures of a running API server (a test that waits asks for `autojump_clock`); makes `api_world` importable (tests are no package)."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parent))

from api_world import WIDGET, World

from engine.api.server import ApiServer
from engine.control.client import Client
from engine.objects.codec import ObjectCodec
from engine.objects.kinds import default_scheme
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import open_store


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
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
