"""The API server: the endpoint that all processes reach, in front of the store.

It holds no state of its own but caches: what it knows it has from the store, and a server started anew on the same store serves the
same cluster. A request is routed by verb and subresource to one of three parts: `reads`, `writes` with the `subresources`, `patches`.
Watches are the `feed`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NoReturn, TypeAlias

import attrs
import trio

from engine.api.admission import Admission
from engine.api.bootstrap import bootstrap
from engine.api.defaulting import Defaulting
from engine.api.errors import ApiError, MethodNotAllowed
from engine.api.feed import Feed, Limits, WatchListener
from engine.api.leases import EventLeases
from engine.api.names import Names
from engine.api.patches import Patcher
from engine.api.reads import Reader
from engine.api.refusals import no_such_path, translated
from engine.api.request import ObjectList, Request, Verb, WatchRequest, WatchStream
from engine.api.storage import Storage
from engine.api.strategy import Rules
from engine.api.subresources import bind, finalize, scale_of, update_scale
from engine.api.swap import Swap
from engine.api.validation import Validation
from engine.api.watchcache import KindStatistics
from engine.api.writes import Writer
from engine.objects.meta import KubeObject
from engine.objects.scheme import Scheme
from engine.settings import Settings
from engine.sim.clock import Clock
from engine.sim.draws import Draws
from store import Store, StoreError

Answer: TypeAlias = KubeObject | ObjectList | None
_Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]


@attrs.frozen(kw_only=True)
class ServerStatistics:
    """What a server has done since it was made, and what it holds."""

    running: bool
    requests: Mapping[str, int]
    """By verb."""
    refused: int
    """Requests answered with an error."""
    revision: int
    """Of the watch cache; 0 when the server does not run."""
    kinds: tuple[KindStatistics, ...]
    watches_opened: int
    watches_overflowed: int


@attrs.define(eq=False, kw_only=True)
class ApiServer:
    """One API server over one store.

    async with open_api_server(store=store, scheme=scheme, clock=clock, draws=draws) as server:
        client = Client(endpoint=server, scheme=scheme)

    `run` keeps it going (`nursery.start(server.run)`); while it does not run, requests raise Unavailable. Run again after a
    crash, it begins with an empty memory.
    """

    store: Store
    scheme: Scheme
    clock: Clock
    draws: Draws
    settings: Settings = Settings()  # noqa: RUF009 -- frozen, and so safely shared
    limits: Limits = attrs.field()
    default_account_implied: bool = True
    """See `Admission`."""
    shared: bool = False
    """Whether others write to the store, which then is no embedded one; see `Names`."""
    _feed: Feed = attrs.field(init=False)
    _writer: Writer = attrs.field(init=False)
    _reader: Reader = attrs.field(init=False)
    _patcher: Patcher = attrs.field(init=False)
    _handlers: Mapping[tuple[Verb, str], _Handler] = attrs.field(init=False)
    _requests: dict[Verb, int] = attrs.field(factory=dict, init=False)
    _refused: int = attrs.field(default=0, init=False)

    @limits.default
    def _default_limits(self) -> Limits:
        return Limits(watch_window=self.settings.watch_cache_window)

    def __attrs_post_init__(self) -> None:
        self._feed = Feed(self.store, self.scheme, self.limits)
        self._reset()

    def _reset(self) -> None:
        """Forget everything: the state of a server that has just been started."""
        storage = Storage(self.store)
        leases = EventLeases(self.store, self.clock, self.settings.event_ttl)
        names = Names(self.draws, self.store.head, self.shared)
        self._reader = Reader(storage=storage, feed=self._feed)
        self._writer = Writer(
            swap=Swap(storage, self._feed, names, leases.lease_for),
            clock=self.clock,
            names=names,
            rules=Rules(pod_generation=self.settings.at_least("1.34")),
            defaulting=Defaulting(),
            admission=Admission(self.settings, self.default_account_implied),
            validation=Validation(),
        )
        self._patcher = Patcher(self._writer, self.scheme)
        self._handlers = self._routes()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<ApiServer {state}, store at revision {self.store.head}>"

    # -- its life ----------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether requests are served."""
        return self._feed.serving

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve for ever; started when the cache is loaded and the cluster's first objects exist."""
        self._reset()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._feed.run)
            await bootstrap(self)
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError("unreachable: the nursery ends by cancellation or an error")

    # -- the endpoint ------------------------------------------------------------------------------

    async def request(self, request: Request) -> Answer:
        """Carry out one call. Always a checkpoint. Raises ApiError."""
        verb = request.verb
        self._requests[verb] = self._requests.get(verb, 0) + 1
        try:
            try:
                return await self._route(request)
            except StoreError as error:
                raise translated(error) from error
        except ApiError:
            # A caller that tries again at once must not keep the others from running.
            self._refused += 1
            await trio.lowlevel.checkpoint()
            raise

    async def _route(self, request: Request) -> Answer:
        handler = self._handlers.get((request.verb, request.subresource))
        if handler is None:
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        return await handler(request)

    def watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch for the length of the block. Entering raises BadRequest, Gone, Unavailable."""
        return self._feed.watch(request)

    def listen(self, listener: WatchListener) -> None:
        """Tell `listener` of all watches from now on, and first of those that are open."""
        self._feed.listen(listener)

    def statistics(self) -> ServerStatistics:
        """What it has done and what it holds."""
        feed = self._feed
        return ServerStatistics(
            running=feed.serving,
            requests={verb.value: count for verb, count in self._requests.items()},
            refused=self._refused,
            revision=feed.cache.revision if feed.serving else 0,
            kinds=feed.cache.statistics() if feed.serving else (),
            watches_opened=feed.opened,
            watches_overflowed=feed.overflowed,
        )

    def forget(self, revision: int) -> None:
        """Give up the changes up to and with `revision`, which has to be in the cache: who watches from before it meets Gone."""
        if self._feed.serving:
            self._feed.cache.forget(min(revision, self._feed.cache.revision))

    def check(self) -> None:
        """Assert the cache's invariants."""
        if self._feed.serving:
            self._feed.cache.check()

    # -- routes ------------------------------------------------------------------------------------

    def _routes(self) -> Mapping[tuple[Verb, str], _Handler]:
        writer, reader, patcher = self._writer, self._reader, self._patcher
        return {
            (Verb.CREATE, ""): writer.create,
            (Verb.CREATE, "binding"): self._bind,
            (Verb.GET, ""): reader.get,
            (Verb.GET, "status"): reader.get,
            (Verb.GET, "scale"): self._get_scale,
            (Verb.LIST, ""): reader.list,
            (Verb.UPDATE, ""): writer.update,
            (Verb.UPDATE, "status"): self._update_status,
            (Verb.UPDATE, "scale"): self._update_scale,
            (Verb.UPDATE, "finalize"): self._finalize,
            (Verb.PATCH, ""): patcher.patch,
            (Verb.PATCH, "status"): patcher.patch_status,
            (Verb.PATCH, "scale"): patcher.patch_scale,
            (Verb.DELETE, ""): writer.delete,
        }

    async def _bind(self, request: Request) -> Answer:
        return await bind(self._writer, request, self.settings)

    async def _finalize(self, request: Request) -> Answer:
        return await finalize(self._writer, request)

    async def _update_status(self, request: Request) -> Answer:
        if not request.resource.status_subresource:
            raise no_such_path()
        return await self._writer.update_status(request)

    async def _update_scale(self, request: Request) -> Answer:
        return await update_scale(self._writer, request)

    async def _get_scale(self, request: Request) -> Answer:
        if not request.resource.scale_subresource:
            raise no_such_path()
        obj = await self._reader.get(request)
        return scale_of(obj, int(obj.metadata.resource_version))


@asynccontextmanager
async def open_api_server(
    *,
    store: Store,
    scheme: Scheme,
    clock: Clock,
    draws: Draws,
    settings: Settings = Settings(),  # noqa: B008 -- frozen, and so safely shared
) -> AsyncIterator[ApiServer]:
    """A running API server for the length of the block."""
    server = ApiServer(store=store, scheme=scheme, clock=clock, draws=draws, settings=settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()
