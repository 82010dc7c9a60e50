"""Changing one stored object: decide on the state known, write if it still holds, else decide anew.

This is etcd3's GuaranteedUpdate: the first try starts from the cache, which may lag. A refusal or a decision to do nothing that rests
on a cached state is checked against the store before it counts; a write that comes too late is answered with the state that
was in its way, and the next try starts from that.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio

from engine.api.errors import ApiError, ServerTimeout
from engine.api.feed import Feed
from engine.api.names import Names
from engine.api.refusals import not_found
from engine.api.registry import RegistryCache
from engine.api.shape import decorated
from engine.api.storage import Storage, Stored
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource

MAX_ATTEMPTS: Final = 64
"""Lost races before a write gives up. Each loss means that another write won."""


class Step(enum.Enum):
    """What to do with an object."""

    KEEP = "nothing"
    WRITE = "write it"
    REMOVE = "remove it"
    WRITE_THEN_REMOVE = "write it, then remove it"


@attrs.frozen
class Decision:
    """The step, and the object as it is to be written; for KEEP and REMOVE, as it is to be shown."""

    step: Step
    object: KubeObject


Decide: TypeAlias = Callable[[KubeObject, int], Decision]
"""From an object as stored and its revision, what to do. Synchronous, and called again after a lost race. Raises ApiError."""


@attrs.frozen
class Swap:
    """Carries out decisions about single objects."""

    storage: Storage
    feed: Feed
    names: Names
    lease: Callable[[Resource], Awaitable[int]]
    """The store's lease for an object of that kind; 0 for none."""

    async def change(
        self, resource: Resource, namespace: str, name: str, decide: Decide
    ) -> KubeObject:
        """Carry out what `decide` says about one object; returns its state afterwards. Always a checkpoint.

        Raises NotFound, ServerTimeout, and whatever `decide` raises.
        """
        key = resource.storage_key(namespace, name)
        cache = self.feed.cache
        state = cache.newest_known(resource, key)
        fresh = False
        for _ in range(MAX_ATTEMPTS):
            if state is None:
                if fresh:
                    raise not_found(resource, name)
                state, fresh = await self.storage.read(key), True
                continue
            try:
                decision = decide(state.value, state.revision)
            except ApiError:
                if fresh or self.feed.current:
                    raise
                state, fresh = await self.storage.read(key), True
                continue
            unchanged = decision.step is Step.WRITE and decision.object is state.value
            if unchanged or decision.step is Step.KEEP:
                if not (fresh or self.feed.current):
                    state, fresh = await self.storage.read(key), True
                    continue
                await trio.lowlevel.checkpoint()
                return decorated(decision.object, state.revision)
            done, state = await self._carry_out(cache, resource, key, decision, state)
            if done is not None:
                return done
            fresh = True
        raise ServerTimeout(
            f"The update operation against {resource.group_resource} could not be completed at this "
            "time, please try again.",
            retry_after_seconds=1,
        )

    async def _carry_out(
        self,
        cache: RegistryCache,
        resource: Resource,
        key: str,
        decision: Decision,
        state: Stored,
    ) -> tuple[KubeObject | None, Stored | None]:
        """The object afterwards, or None and the state that was in the way."""
        expected = state.revision
        if decision.step is Step.REMOVE:
            return await self._remove(cache, resource, key, decision.object, expected)
        lease = await self.lease(resource)
        outcome = await self.storage.replace(key, decision.object, expected, lease=lease)
        if not outcome.revision:
            return None, outcome.current
        written = cache.written(key, decision.object, outcome.revision)
        if decision.step is Step.WRITE_THEN_REMOVE:
            return await self._remove(cache, resource, key, decision.object, outcome.revision)
        return written, None

    async def _remove(
        self, cache: RegistryCache, resource: Resource, key: str, last: KubeObject, expected: int
    ) -> tuple[KubeObject | None, Stored | None]:
        outcome = await self.storage.remove(key, expected)
        if not outcome.revision:
            return None, outcome.current
        cache.removed(key)
        self.names.ended(resource, key, last.metadata)
        return decorated(last, expected), None
