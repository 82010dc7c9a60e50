"""Fixtures of a running API server in virtual time; makes `api_world` importable (tests are no package)."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

sys.path.insert(0, str(Path(__file__).parent))

from api_world import WIDGET, World  # noqa: E402 -- found through the line above

from engine.api.server import ApiServer  # noqa: E402
from engine.control.client import Client  # noqa: E402
from engine.objects.codec import ObjectCodec  # noqa: E402
from engine.objects.kinds import default_scheme  # noqa: E402
from engine.settings import Settings  # noqa: E402
from engine.sim.clock import Clock  # noqa: E402
from engine.sim.draws import Draws  # noqa: E402
from store import open_store  # noqa: E402


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
async def world(
    autojump_clock: MockClock, settings: Settings
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
