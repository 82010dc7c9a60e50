"""Keeps a mirror of an etcd up to date over one watch of all keys, whatever happens to its connection."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

import attrs
import trio

from store.errors import StoreError, StoreFailed, StoreUnavailable
from store.etcd_errors import EtcdRefusal, Verdict, verdict
from store.etcd_gateway import Gateway, Lost, NotSent, Silent, Take
from store.etcd_mirror import Behind, Mirror
from store.etcd_wire import Message, data, encoded, flag, head_of, number, part, parts
from store.records import EMPTY_REVISION, Revision
from store.watchers import Watcher

_PAGE_KEYS: Final = 5_000
"""Keys read in one request when the mirror begins."""

EVERYTHING: Final[Message] = {"key": encoded(b"\0"), "range_end": encoded(b"\0")}

_DENIED: Final = ("permission denied", "invalid auth token")
"""In the reason for which a watch is not opened."""

_COUNT: Final[Message] = {"key": encoded(b"\0"), "count_only": True}


@attrs.define(eq=False, repr=False)
class Follower:
    """Feeds the mirror, and tells who waits for a revision to be mirrored.

    The watch is opened at the last revision taken over: what is told twice is passed over, and what is left out is noticed (store.etcd_mirror). So
    the mirror's events are ordered, unique and without a gap across any number of connections and endpoints.
    """

    gateway: Gateway
    mirror: Mirror
    fail: Callable[[StoreFailed], None]
    """Told when the mirror can go on no more."""
    openings: int = attrs.field(default=0, init=False)
    """How often the watch was opened."""
    _moved: float = attrs.field(default=0.0, init=False)
    """When something last did: the watch was opened, or told something."""
    _cluster: str = attrs.field(default="", init=False)
    _waiting: list[tuple[int, int, trio.Event]] = attrs.field(factory=list, init=False)
    """A heap of who waits for which revision."""
    _numbers: count[int] = attrs.field(factory=count, init=False)
    _started: Callable[[], None] | None = attrs.field(default=None, init=False)
    """To be called once, when the mirror has caught up for the first time."""
    _denied: bool = attrs.field(default=False, init=False)
    """The last watch was."""
    _failed: bool = attrs.field(default=False, init=False)
    _stream: trio.CancelScope | None = attrs.field(default=None, init=False)

    def __repr__(self) -> str:
        state = "failed" if self._failed else "open" if self._stream else "between connections"
        return f"<Follower {state} {self.mirror!r}>"

    @property
    def head(self) -> Revision:
        """The newest revision that is mirrored."""
        return self.mirror.head

    async def mirrored(self, revision: int) -> None:
        """Wait until the mirror is at `revision`, or can go on no more."""
        while self.head < revision and not self._failed:
            event = trio.Event()
            heapq.heappush(self._waiting, (revision, next(self._numbers), event))
            await event.wait()

    def reopen(self) -> None:
        """Give the present connection up, and open another."""
        if self._stream is not None:
            self._stream.cancel()

    def reopen_if_stalled(self) -> None:
        """The same, but only if nothing has moved for long: each of many who wait may ask, and one that is slow is not cut off again and again."""
        if trio.current_time() - self._moved >= self.gateway.timing.stall_seconds:
            self.reopen()

    # -- the watch -----------------------------------------------------------------------------

    async def follow(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mirror what happens, until cancelled or it can go on no more; started when the mirror has reached what etcd had when it was asked."""
        wait = self.gateway.timing.retry_first_seconds
        self._started = task_status.started
        while not self._failed:
            head, began = self.head, trio.current_time()
            try:
                await self._follow_or_begin()
            except (NotSent, Lost, StoreUnavailable):
                pass  # once more, below
            except EtcdRefusal as refusal:
                if verdict(refusal) is Verdict.FINAL:
                    self._fail(StoreFailed(f"the watch of all keys: {refusal}"))
            except StoreError as failure:
                self._fail(StoreFailed(str(failure)))
            timing = self.gateway.timing
            if self.head > head or trio.current_time() - began > timing.retry_most_seconds:
                wait = timing.retry_first_seconds
            await trio.sleep(wait)
            wait = min(2 * wait, timing.retry_most_seconds)

    async def _follow_or_begin(self) -> None:
        try:
            await self._follow_once()
        except Behind as behind:
            await self._begin(behind.revision)

    async def _follow_once(self) -> None:
        # A read first: the endpoint must be no older than what has been seen, and must answer.
        answer = await self.gateway.call("/v3/kv/range", {**_COUNT}, changes=False)
        self.check_cluster(answer)
        head = head_of(answer)
        if head < self.head:
            raise StoreFailed(
                f"etcd is at revision {head}, and was at {self.head}: it has lost what was written; open the store anew"
            )
        self._caught_up(head)

        def take(response: Message) -> None:
            self._check_admitted(response)
            self.check_cluster(response)
            self._moved = trio.current_time()
            self._announce(self.mirror.take(response))
            self._caught_up(head)

        self.openings += 1
        # From what was seen last, which is passed over: if that is compacted we are told. From the next one etcd begins without a word even when that is
        # compacted as well, and leaves out what it deleted (its issue 19179).
        start = max(self.head, EMPTY_REVISION + 1)
        watch = {**EVERYTHING, "start_revision": str(start), "progress_notify": True}
        await self._stream_from({"create_request": watch}, take)

    async def _stream_from(self, message: Message, take: Take) -> None:
        """Read the watch to its end, or until `reopen`; and go to another endpoint after that, unless it was only silent."""
        endpoint = self.gateway.endpoint
        self._moved = trio.current_time()
        with trio.CancelScope() as scope:
            self._stream = scope
            try:
                await self.gateway.follow(endpoint, "/v3/watch", message, take)
            except Silent:
                return
            except (NotSent, Lost, EtcdRefusal):
                self.gateway.leave(endpoint)
                raise
            finally:
                self._stream = None
        self.gateway.leave(endpoint)

    def _check_admitted(self, response: Message) -> None:
        """Raises Lost for a watch that was denied, which etcd 3.5 does to one whose token has expired too: the second time it is meant."""
        denied = any(each in str(response.get("cancel_reason", "")) for each in _DENIED)
        if denied and self.gateway.address.user and not self._denied:
            self._denied = True
            self.gateway.forget_token()
            raise Lost(str(response["cancel_reason"]))
        self._denied = denied

    def _caught_up(self, head: int) -> None:
        if self._started is not None and self.head >= head:
            self._started()
            self._started = None

    def check_cluster(self, answer: Message) -> None:
        """Raises StoreFailed for an answer of another cluster than before."""
        cluster = str(part(answer, "header").get("cluster_id", ""))
        if self._cluster and cluster and cluster != self._cluster:
            raise StoreFailed(
                f"etcd cluster {cluster} answers in place of {self._cluster}: open the store anew"
            )
        self._cluster = cluster or self._cluster

    def _announce(self, to_wake: Iterable[Watcher]) -> None:
        for watcher in to_wake:
            watcher.wake()
        while self._waiting and self._waiting[0][0] <= self.head:
            heapq.heappop(self._waiting)[2].set()

    def _fail(self, failure: StoreFailed) -> None:
        self._failed = True
        self.fail(failure)
        self._caught_up(0)
        for _, _, event in self._waiting:
            event.set()

    # -- beginning anew ------------------------------------------------------------------------

    async def _begin(self, revision: int) -> None:
        """Begin the mirror anew with the state at `revision`; if that cannot be read, the next watch tells from where on."""
        messages: list[Message] = []
        start = b"\0"
        try:
            while True:
                page: Message = {"key": encoded(start), "range_end": encoded(b"\0")}
                page |= {"revision": str(revision), "limit": str(_PAGE_KEYS)}
                answer = await self.gateway.call("/v3/kv/range", page, changes=False)
                messages += parts(answer, "kvs")
                if not flag(answer, "more"):
                    break
                start = data(messages[-1], "key") + b"\0"
        except (EtcdRefusal, StoreUnavailable):
            return
        self._announce(self.mirror.begin(revision, messages))

    async def compacted_above(self, revision: int) -> int:
        """The oldest revision that can be read, when `revision` cannot: a watch from there is told. 0 when it is not."""
        watch: Message = {"create_request": {**EVERYTHING, "start_revision": str(revision)}}

        def take(response: Message) -> None:
            if number(response, "compact_revision"):
                raise Behind(number(response, "compact_revision"))

        with trio.move_on_after(self.gateway.timing.request_seconds):
            try:
                await self.gateway.follow(self.gateway.endpoint, "/v3/watch", watch, take)
            except Behind as behind:
                return behind.revision
            except (NotSent, Lost, EtcdRefusal):
                pass
        return 0
