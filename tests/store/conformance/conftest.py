"""The backends that the conformance suite runs against. Another backend is one more maker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import pytest

from store import (
    Disturbance,
    DisturbedStore,
    Durability,
    Limits,
    Store,
    open_etcd,
    open_store,
)
from tests.store.etcd.process import EtcdPool
from tests.store.support import CODEC

Maker = Callable[..., AbstractAsyncContextManager[Store]]

TIGHT = Limits(window_revisions=2, segment_bytes=512, catch_up_revisions=2, write_buffer_bytes=64)
"""So small that nearly everything in the past is read from the log, across segments and in many steps."""

BACKENDS: dict[str, tuple[Durability | None, Limits]] = {
    "memory": (None, Limits()),
    "file-none": (Durability.NONE, Limits()),
    "file-buffered": (Durability.BUFFERED, Limits()),
    "file-fsync": (Durability.FSYNC, Limits()),
    "file-tight": (Durability.NONE, TIGHT),
}


FRONTS = {"undisturbed-front": False, "disturbed-front": True}
"""A store in memory behind a front that faults may disturb, before one does and while one does that changes nothing."""

ETCD = "etcd"
"""A real etcd, new for each test; where there is none these tests are skipped, and fail in CI."""

NOT_FOR_ETCD = {
    "test_values_are_shared_not_copied": "values cross a connection",
    "test_one_wake_up_brings_many_events": "how many events come together is up to the connection",
    "test_a_very_short_lease_is_granted_for_longer": "the shortest lease follows the election time-out, "
    "which is short here; tests/store/etcd/test_equivalence.py compares it",
}
"""Claims about embedded stores alone, and why."""


@pytest.fixture(params=[*BACKENDS, *FRONTS, ETCD])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Opens an empty store of each backend; keyword arguments change its limits."""
    if request.param == ETCD:
        return _etcd_maker(request)
    if request.param in FRONTS:
        return _front_maker(disturbed=FRONTS[request.param])
    durability, base = BACKENDS[request.param]

    def open_empty(**changes: int) -> AbstractAsyncContextManager[Store]:
        limits = attrs.evolve(base, **changes)
        if durability is None:
            return open_store(codec=CODEC, limits=limits)
        return open_store(tmp_path / "run.wtl", codec=CODEC, durability=durability, limits=limits)

    return open_empty


def _front_maker(*, disturbed: bool) -> Maker:
    @asynccontextmanager
    async def open_empty(**changes: int) -> AsyncIterator[Store]:
        async with open_store(codec=CODEC, limits=attrs.evolve(Limits(), **changes)) as inner:
            front = DisturbedStore(inner)
            if disturbed:
                front.disturb(Disturbance(reason="a test"))
            yield front

    return open_empty


def _etcd_maker(request: pytest.FixtureRequest) -> Maker:
    name = getattr(request.node, "originalname", request.node.name)
    if "autojump_clock" in request.fixturenames:
        pytest.skip(
            "virtual time does not move a real etcd; tests/store/etcd does this in real time"
        )
    if name in NOT_FOR_ETCD:
        pytest.skip(NOT_FOR_ETCD[name])
    pool: EtcdPool = request.getfixturevalue("etcd_pool")

    @asynccontextmanager
    async def open_empty(**changes: int) -> AsyncIterator[Store]:
        limits = attrs.evolve(Limits(), **changes)
        with pool.one() as etcd:
            async with open_etcd(etcd.store_url, codec=CODEC, limits=limits) as opened:
                yield opened

    return open_empty


@pytest.fixture
async def store(make: Maker) -> AsyncIterator[Store]:
    async with make() as opened:
        yield opened
