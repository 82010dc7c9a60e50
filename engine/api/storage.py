"""Objects in the store: keys, compare-and-swap, and nothing else.

The API server writes one object per transaction, and only if it is as the server saw it (its modification revision, as
kube-apiserver does with etcd). A lost race answers with the newest state, so that trying again costs no extra read.
"""

from __future__ import annotations

from typing import Final, cast

import attrs

from engine.api.cause import current_origin
from engine.api.shape import decorated
from engine.objects.meta import KubeObject
from store import Compare, Delete, Get, KeyValue, Put, RangeResult, Store, Target, Txn, maker

REGISTRY: Final = "/registry/"
"""Below this key all objects are stored."""


class Stored:
    """One state of an object: its value, as the store has it, and the revision that left it so."""

    __slots__ = ("_shown", "revision", "value")

    def __init__(self, value: KubeObject, revision: int) -> None:
        self.value: Final = value
        self.revision: Final = revision
        self._shown: KubeObject | None = None

    @property
    def object(self) -> KubeObject:
        """The object as clients see it, with its resourceVersion: the same one for everybody."""
        shown = self._shown
        if shown is None:
            shown = self._shown = decorated(self.value, self.revision)
        return shown

    def put_away(self) -> None:
        """Nobody looks at it for now: it is made again for who does."""
        self._shown = None


@attrs.frozen
class Outcome:
    """What became of a write: its revision, or 0 and the state that was in its way (None: no object)."""

    revision: int
    current: Stored | None = None


_compare: Final = maker(Compare)
_put: Final = maker(Put)
_get: Final = maker(Get)
_txn: Final = maker(Txn)
_outcome: Final = maker(Outcome)
_MOD: Final = Target.MOD


@attrs.frozen
class Storage:
    """The store, as the API server uses it. Every method is a checkpoint."""

    store: Store

    async def read(self, key: str) -> Stored | None:
        """The newest state of one object."""
        return _first((await self.store.range(key)).kvs)

    async def create(self, key: str, value: KubeObject, *, lease: int = 0) -> Outcome:
        """Write an object that must not exist."""
        return await self._swap(key, 0, _put(key, value, lease))

    async def replace(
        self, key: str, value: KubeObject, expected: int, *, lease: int = 0
    ) -> Outcome:
        """Write an object whose last change must be `expected`."""
        return await self._swap(key, expected, _put(key, value, lease))

    async def remove(self, key: str, expected: int) -> Outcome:
        """Delete an object whose last change must be `expected`."""
        return await self._swap(key, expected, Delete(key))

    async def _swap(self, key: str, expected: int, operation: Put | Delete) -> Outcome:
        result = await self.store.txn(
            _txn((_compare(key, _MOD, "=", expected),), (operation,), (_get(key),)),
            origin=current_origin(),
        )
        if result.succeeded:
            return _outcome(result.revision)
        answer = result.responses[0]
        assert isinstance(answer, RangeResult)
        return Outcome(0, _first(answer.kvs))


def _first(kvs: tuple[KeyValue, ...]) -> Stored | None:
    return Stored(cast("KubeObject", kvs[0].value), kvs[0].mod_revision) if kvs else None
