"""What a fault does while it lasts: a task in the cluster's nursery that its heal ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import attrs
import trio


@attrs.define(eq=False)
class Background:
    """One such task. It acts under the origin of whoever started it: its fault's."""

    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _over: trio.Event = attrs.field(factory=trio.Event)

    @classmethod
    def start(cls, nursery: trio.Nursery, work: Callable[[], Awaitable[None]], name: str) -> Self:
        """Start `work`; it takes its first step when the caller next waits."""
        background = cls()
        nursery.start_soon(background._run, work, name=name)
        return background

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await work()
        finally:
            self._over.set()

    async def stop(self) -> None:
        """Cancel it, and wait for its end; at once when it has ended."""
        self._scope.cancel()
        await self._over.wait()
