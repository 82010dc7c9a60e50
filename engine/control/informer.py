"""Informers: a process's own picture of one kind, kept by a list and a watch, read without waiting.

`Informer` is the task around a `Cache`: list, then watch from there. What ends a watch decides how it goes on, as in
client-go's reflector (`Ending`): the server closed it in the ordinary way, and it is opened again from the last revision
seen; nobody answered, and it is opened again after a wait; anything else, and everything is listed anew after a wait. A
list is compared with the cache to find out what was missed, so that handlers always learn of every object's last
state and never of every step: an object deleted and made again meanwhile is one UPDATED with another uid, and one
that is no longer listed is DELETED with the last state known.

The waits grow from 0.8 s to 30 s, each drawn between once and twice its length, so that the clients of an API server that comes
back do not all list at once.
"""

from __future__ import annotations

import enum
from builtins import list as List  # noqa: N812 - `list` is a method here
from typing import Final, Generic, TypeVar, cast

import attrs
import trio

from engine.api.cause import current_origin, set_origin
from engine.api.errors import ApiError, Gone, TooManyRequests, Unavailable
from engine.api.request import WatchEvent, WatchEventType
from engine.control.cache import (
    Cache,
    CacheStatistics,
    Change,
    ChangeType,
    Handler,
    IndexFunction,
    key_of,
)
from engine.control.client import Client
from engine.objects.key import Key
from engine.objects.meta import KubeObject
from engine.objects.scheme import Resource
from engine.settings import Settings
from engine.sim.draws import Draws
from store import Origin, maker

T = TypeVar("T", bound=KubeObject)

_change: Final = maker(Change)
_origin: Final = maker(Origin)
_ADDED: Final = ChangeType.ADDED
_UPDATED: Final = ChangeType.UPDATED
"""A member of an enumeration costs a look-up at every use."""

SHORT_WATCH: Final = 1.0
"""Seconds: a watch that ends sooner and has delivered nothing is a failure (client-go, "very short watch")."""
BACKOFF_RESET: Final = 120.0
"""Seconds without a failure after which the waits begin at the first again (client-go's reflector)."""
TOO_LARGE: Final = "ResourceVersionTooLarge"
"""The cause in the answer of a server that has not come as far as the revision asked for."""


class Ending(enum.Enum):
    """How a watch ended, by what follows."""

    WATCH = "closed by the server in the ordinary way: watch on at once"
    RETRY = "nobody answered: watch on after a wait"
    LIST = "refused, too old or ended at once: list after a wait"


@attrs.define(eq=False)
class Informer(Generic[T]):
    """See the module's text. Handlers run synchronously, in order of addition, after the cache has changed."""

    client: Client
    kind: type[T] | Resource
    settings: Settings
    draws: Draws
    label: str
    """Names this informer's draws, e.g. `controller/deployment/informer/pods`."""
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    cache: Cache[T] = attrs.field(factory=Cache, init=False)
    revision: int = attrs.field(default=0, init=False)
    """The revision up to which this informer has seen everything."""
    _handlers: List[Handler[T]] = attrs.field(factory=List, init=False)
    _synced: trio.Event = attrs.field(factory=trio.Event, init=False)
    _expired: bool = attrs.field(default=False, init=False)
    """The server cannot list at `revision`: the next list asks for the newest."""
    _failures: int = attrs.field(default=0, init=False)
    _failed_at: float = attrs.field(default=0.0, init=False)
    _waits: int = attrs.field(default=0, init=False)

    def get(self, key: Key) -> T | None:
        """The object as last seen, or None."""
        return self.cache.get(key)

    def list(self, namespace: str | None = None) -> List[T]:
        """All objects as last seen, or those of a namespace, in key order."""
        return self.cache.list(namespace)

    def by_index(self, name: str, value: str) -> List[T]:
        """The objects that index `name` holds under `value`, in key order."""
        return self.cache.by_index(name, value)

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep an index from now on. Raises ValueError when the name is taken."""
        self.cache.add_index(name, function)

    def add_handler(self, handler: Handler[T]) -> None:
        """Call `handler` for every change; what the cache holds already is not replayed."""
        self._handlers.append(handler)

    async def synced(self) -> None:
        """Wait until the first list has been delivered."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    def statistics(self) -> CacheStatistics:
        return CacheStatistics(
            objects=len(self.cache), revision=self.revision, synced=self.has_synced
        )

    async def run(self) -> None:
        """List and watch for ever; ends by cancellation only."""
        while True:
            if await self._list():
                ending = await self._watch()
                while ending is not Ending.LIST:
                    if ending is Ending.RETRY:
                        await self._back_off()
                    ending = await self._watch()
            await self._back_off()

    async def _back_off(self) -> None:
        """Wait, longer after each failure that follows another within two minutes."""
        now = trio.current_time()
        if now - self._failed_at > BACKOFF_RESET:
            self._failures = 0
        settings = self.settings
        base = min(
            settings.relist_backoff_base * float(1 << min(self._failures, 16)),
            settings.relist_backoff_max,
        )
        self._failures += 1
        self._waits += 1
        wait = base * self.draws.uniform(f"{self.label}/backoff", self._waits, 1.0, 2.0)
        self._failed_at = now + wait
        await trio.sleep(wait)

    async def _list(self) -> bool:
        """List, and tell what differs from the cache; False when the server would not."""
        while True:
            # The first list takes what the server has at hand; later ones must not go back behind what was seen.
            wanted = str(self.revision) if self.revision else "0"
            try:
                page = await self.client.list_page(
                    self.kind,
                    self.namespace,
                    label_selector=self.label_selector,
                    field_selector=self.field_selector,
                    resource_version="" if self._expired else wanted,
                )
            except ApiError as error:
                if self._expired or not _revision_unavailable(error):
                    return False
                self._expired = True  # and at once again, for the newest
                continue
            self._expired = False
            self._replace(cast("tuple[T, ...]", page.items), int(page.resource_version))
            return True

    def _replace(self, items: tuple[T, ...], revision: int) -> None:
        for obj in items:
            self._put(obj, int(obj.metadata.resource_version))
        if len(self.cache) > len(items):
            listed: dict[Key, None] = dict.fromkeys(key_of(obj) for obj in items)
            for key in [key_of(obj) for obj in self.cache.values()]:
                if key not in listed:
                    self._remove(key, None, revision)
        self.revision = revision
        self._synced.set()

    async def _watch(self) -> Ending:
        """Watch from the last revision seen until something ends it."""
        opened, before = trio.current_time(), self.revision
        try:
            async with self.client.watch(
                self.kind,
                self.namespace,
                label_selector=self.label_selector,
                field_selector=self.field_selector,
                resource_version=str(before),
            ) as stream:
                while True:
                    for event in await stream.receive():
                        self._apply(event)
        except trio.EndOfChannel:
            lasted = trio.current_time() - opened
            short = lasted < SHORT_WATCH and self.revision == before
            return Ending.LIST if short else Ending.WATCH
        except (Unavailable, TooManyRequests):
            return Ending.RETRY
        except (
            ApiError
        ):  # Gone among them: a list "not older than" the last revision seen still serves
            return Ending.LIST

    def _apply(self, event: WatchEvent) -> None:
        obj = cast("T | None", event.object)
        if obj is not None:
            if event.type is WatchEventType.DELETED:
                self._remove(key_of(obj), obj, event.revision)
            else:
                self._put(obj, event.revision)
        self.revision = event.revision

    def _put(self, obj: T, revision: int) -> None:
        old = self.cache.put(obj)
        if not self._handlers:
            return
        if old is None:
            self._deliver(_change(_ADDED, None, obj, revision))
        elif old.metadata.resource_version != obj.metadata.resource_version:
            self._deliver(_change(_UPDATED, old, obj, revision))

    def _remove(self, key: Key, last: T | None, revision: int) -> None:
        old = self.cache.remove(key)
        if old is not None:
            self._deliver(
                Change(ChangeType.DELETED, last if last is not None else old, None, revision)
            )

    def _deliver(self, change: Change[T]) -> None:
        set_origin(_origin(current_origin().actor, "", (change.revision,)))
        for handler in self._handlers:
            handler(change)


def _revision_unavailable(error: ApiError) -> bool:
    """Whether the server refuses to list at that revision: it is compacted, or has not come yet."""
    return isinstance(error, Gone) or any(cause.reason == TOO_LARGE for cause in error.causes)
