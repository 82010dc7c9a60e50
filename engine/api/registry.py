"""All kinds' caches behind one door: fed with the store's batches, asked by key.

Besides the kinds it keeps what this server has just written and the feed has not brought back yet (`pending`): a process that
writes twice in one breath then starts from its own first write, and the decorated object of the answer is the one that the
watchers get.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from engine.api.shape import decorated
from engine.api.storage import REGISTRY, Stored
from engine.api.watchcache import KindCache, KindStatistics, Watcher
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource, Scheme
from store import Event, EventType, KeyValue


@attrs.define(eq=False)
class RegistryCache:
    """The objects of all kinds of a scheme, as of `revision`."""

    scheme: Scheme
    window_limit: int
    revision: int
    _start: int = attrs.field(init=False)
    _kinds: dict[str, KindCache] = attrs.field(factory=dict, init=False)
    _pending: dict[str, Stored] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._start = self.revision
        for resource in self.scheme.resources:
            self.kind(resource)

    def kind(self, resource: Resource) -> KindCache:
        """The cache of one kind."""
        prefix = resource.storage_prefix
        found = self._kinds.get(prefix)
        if found is None:
            found = self._kinds[prefix] = KindCache(resource, self.window_limit, self._start)
        return found

    def forget(self, revision: int) -> None:
        """Give up the changes of all kinds up to and with `revision`."""
        for kind in self._kinds.values():
            kind.forget(revision)

    def _kind_of_key(self, key: str) -> KindCache | None:
        if not key.startswith(REGISTRY):
            return None
        found = self._known_kind_of_key(key)
        if found is None:
            # A kind may be registered while the server runs (test_parts.py, test_a_users_typed_kind).
            for resource in self.scheme.resources:
                self.kind(resource)
            found = self._known_kind_of_key(key)
        return found

    def _known_kind_of_key(self, key: str) -> KindCache | None:
        slash = key.find("/", len(REGISTRY))
        found = self._kinds.get(key[: slash + 1])
        if found is None:
            slash = key.find("/", slash + 1)
            found = self._kinds.get(key[: slash + 1])
        return found

    def load(self, kvs: Iterable[KeyValue]) -> None:
        """Take the state to start from."""
        for kv in kvs:
            kind = self._kind_of_key(kv.key)
            if kind is not None:
                kind.load(kv.key, Stored(cast("KubeObject", kv.value), kv.mod_revision))

    def apply(self, events: Iterable[Event], revision: int) -> list[Watcher]:
        """Take a batch of the store's events, up to `revision`; returns the watchers to wake."""
        woken: list[Watcher] = []
        pending = self._pending
        for event in events:
            kind = self._kind_of_key(event.key)
            if kind is None:
                continue
            written = pending.get(event.key)
            if written is not None and written.revision <= event.revision:
                del pending[event.key]
            if event.type is EventType.DELETE:
                kind.remove(event.key, event.revision, woken)
            elif written is not None and written.revision == event.revision:
                kind.put(event.key, written, woken)
            else:
                stored = cast("KubeObject", event.value)
                kind.put(event.key, Stored(stored, event.revision), woken)
        self.revision = revision
        return woken

    def written(self, key: str, stored: KubeObject, revision: int) -> KubeObject:
        """This server wrote `stored`; returns it with its resourceVersion: the very object that watches deliver."""
        if revision <= self.revision:
            # The feed was quicker than the writer.
            kind = self._kind_of_key(key)
            if kind is not None and kind.watched:
                arrived = kind.get(key)
                if arrived is not None and arrived.revision == revision:
                    return arrived.object
            return decorated(stored, revision)
        entry = self._pending[key] = Stored(stored, revision)
        return entry.object

    def removed(self, key: str) -> None:
        """This server deleted the object."""
        self._pending.pop(key, None)

    def newest_known(self, resource: Resource, key: str) -> Stored | None:
        """The newest state that this server knows of; the store may have a newer one."""
        return self._pending.get(key) or self.kind(resource).get(key)

    def all_known(self, resource: Resource) -> list[KubeObject]:
        """All objects of a kind as far as this server knows of them, in key order; for kinds of few objects."""
        prefix = resource.storage_prefix
        known = dict(self.kind(resource).entries(prefix))
        known |= {key: entry for key, entry in self._pending.items() if key.startswith(prefix)}
        return [known[key].value for key in sorted(known)]

    def watchers(self) -> list[Watcher]:
        """All watchers of all kinds."""
        return [watcher for kind in self._kinds.values() for watcher in kind.watchers()]

    def statistics(self) -> tuple[KindStatistics, ...]:
        """Each kind that has objects, history or watchers."""
        found = [kind.statistics() for kind in self._kinds.values()]
        return tuple(one for one in found if one.objects or one.window or one.watchers)

    def check(self) -> None:
        """Assert what must always hold."""
        for kind in self._kinds.values():
            kind.check()
        for key, entry in self._pending.items():
            assert entry.revision > self.revision, f"{key} has arrived and is still pending"
