"""What faults change in the spec of objects, through the API: replicas, taints, a cordon.

Several may change the same thing. Each keeps its own change; what is written is the value found first with all of them made in order, and a heal takes
its own out. When somebody else has written another value meanwhile, or the object is another one of that name, the faults have nothing to take back.

    replicas 3     surge x2 -> 6     surge x3 -> 18     the first is healed -> 9     the second -> 3
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from engine import ApiError, Client, Conflict, Json, KubeObject, NotFound, Uid
from wavetank.faults.model import Heal, NoEffect

Change = Callable[[Json], Json]

_TRIES = 30
"""Tries of a heal, a second apart, before it goes on in the background: what keeps it from writing may be a fault that is healed after it."""


@attrs.frozen(kw_only=True)
class Field:
    """One thing about one object. `read` and `write` are given the object as it is now."""

    kind: type[KubeObject]
    namespace: str = ""
    name: str
    what: str
    read: Callable[[KubeObject], Json]
    write: Callable[[KubeObject, Json], KubeObject]

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.kind.__name__, self.namespace, self.name, self.what

    async def get(self, client: Client) -> KubeObject:
        """Raises NotFound, ApiError."""
        return await client.get(self.kind, self.name, self.namespace)


@attrs.define(eq=False)
class _Override:
    """The changes of one field that are in force, by the faults' ids."""

    uid: Uid
    base: Json
    written: Json
    changes: list[tuple[str, Change]] = attrs.field(factory=list)

    def with_changes(self, changes: list[tuple[str, Change]]) -> _Override:
        """The same field with other changes, as yet unwritten."""
        return _Override(self.uid, self.base, self.written, changes)

    def value(self) -> Json:
        value = self.base
        for _, change in self.changes:
            value = change(value)
        return value


@attrs.define(eq=False)
class Overrides:
    """All of one cluster."""

    _lock: trio.Lock = attrs.field(factory=trio.Lock)
    _fields: dict[tuple[str, str, str, str], _Override] = attrs.field(factory=dict)

    def in_force(self) -> list[str]:
        """The changes that were not taken back, one line each."""
        return [
            f"{kind} {namespace}/{name}: {what} changed by {reason}"
            for (kind, namespace, name, what), override in self._fields.items()
            for reason, _ in override.changes
        ]

    async def change(
        self, client: Client, field: Field, change: Change, reason: str, nursery: trio.Nursery
    ) -> Heal:
        """Make a change; returns what takes it back.

        Raises NoEffect when it changes nothing, when there is no such object, or when the API server does not take it.
        """
        entry = (reason, change)

        async def make() -> None:
            obj = await field.get(client)
            found = self._override(field, obj)
            if not found.changes and change(found.base) == found.base:
                raise NoEffect(f"{field.what} of {field.name} is as the fault would have it")
            await self._write(client, field, obj, found.with_changes([*found.changes, entry]))

        async with self._lock:
            try:
                await _repeated(make)
            except ApiError as error:
                raise NoEffect(f"the API server refuses it: {error}") from error

        async def heal() -> None:
            await insist(lambda: self._take_back(client, field, entry), nursery)

        return heal

    def _override(self, field: Field, obj: KubeObject) -> _Override:
        """What is in force, or a new one when somebody else has written there since."""
        found = self._fields.get(field.key)
        current = field.read(obj)
        if found is not None and found.uid == obj.metadata.uid and found.written == current:
            return found
        return _Override(obj.metadata.uid, current, current)

    async def _take_back(self, client: Client, field: Field, entry: tuple[str, Change]) -> None:
        async with self._lock:
            override = self._fields.get(field.key)
            if override is None or entry not in override.changes:
                return
            try:
                await _repeated(lambda: self._write_without(client, field, override, entry))
            except NotFound:
                del self._fields[field.key]

    async def _write_without(
        self, client: Client, field: Field, override: _Override, entry: tuple[str, Change]
    ) -> None:
        obj = await field.get(client)
        if self._override(field, obj) is not override:
            del self._fields[field.key]
            return
        left = [each for each in override.changes if each is not entry]
        await self._write(client, field, obj, override.with_changes(left))

    async def _write(
        self, client: Client, field: Field, obj: KubeObject, override: _Override
    ) -> None:
        """Bring the field to what the changes make of it, and remember them."""
        value = override.value()
        if value != override.written:
            await client.update(field.write(obj, value))
        override.written = value
        if override.changes:
            self._fields[field.key] = override
        else:
            del self._fields[field.key]


async def _repeated(write: Callable[[], Awaitable[None]]) -> None:
    """Read and write, again when somebody else was quicker. Raises ApiError."""
    while True:
        try:
            await write()
        except Conflict:
            continue
        return


async def insist(action: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
    """Try until the API server lets it be done; after some time go on in the background."""
    for _ in range(_TRIES):
        try:
            await action()
        except ApiError:
            await trio.sleep(1.0)
        else:
            return

    async def go_on() -> None:
        while True:
            await trio.sleep(1.0)
            try:
                await action()
            except ApiError:
                continue
            return

    nursery.start_soon(go_on, name="heal")
