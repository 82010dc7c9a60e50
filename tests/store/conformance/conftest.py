"""The backends that the conformance suite runs against. Another backend is one more maker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import pytest

from store import Durability, Limits, Store, open_store
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


@pytest.fixture(params=list(BACKENDS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Opens an empty store of each backend; keyword arguments change its limits."""
    durability, base = BACKENDS[request.param]

    def open_empty(**changes: int) -> AbstractAsyncContextManager[Store]:
        limits = attrs.evolve(base, **changes)
        if durability is None:
            return open_store(codec=CODEC, limits=limits)
        return open_store(tmp_path / "run.wtl", codec=CODEC, durability=durability, limits=limits)

    return open_empty


@pytest.fixture
async def store(make: Maker) -> AsyncIterator[Store]:
    async with make() as opened:
        yield opened
