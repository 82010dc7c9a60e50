"""What requests to etcd do when a network, a proxy or an etcd in trouble answers: repeated, refused, or of unknown outcome.

Here real time passes, but no claim depends on how much.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from store import (
    ALL_KEYS,
    EtcdRefusal,
    Event,
    InvalidRequest,
    LeaseNotFound,
    OutcomeUnknown,
    StoreUnavailable,
    Watch,
    open_etcd,
)
from store.etcd import EtcdStore
from store.etcd_address import EtcdAddress, EtcdTiming
from store.etcd_gateway import Gateway, open_gateway
from store.etcd_wire import Message, encoded
from tests.store.etcd.pair import TextCodec
from tests.store.etcd.process import EtcdPool, EtcdProcess, free_port, guarded, three_members
from tests.store.etcd.proxy import (
    DRIBBLE,
    HANG_UP,
    SILENCE,
    Proxy,
    Rule,
    answer,
    opened_proxy,
    stream,
)
from tests.store.support import USER, brief, events_until

ALL, END = ALL_KEYS
CODEC = TextCodec()
IMPATIENT = EtcdTiming(request_seconds=0.5, connect_seconds=0.2, stall_seconds=1)
READ: Message = {"key": encoded(b"a")}


@pytest.fixture
def etcd(etcd_pool: EtcdPool) -> Iterator[EtcdProcess]:
    with etcd_pool.one() as one:
        yield one


def pass_on(path: str, body: bytes) -> None:
    """The rule of a proxy that is not in the way."""


def only(wanted: str, said: bytes, times: int = 10**9) -> Rule:
    """A rule for some requests of one path."""
    left = [times]

    def rule(path: str, body: bytes) -> bytes | None:
        if path != wanted or not left[0]:
            return None
        left[0] -= 1
        return said

    return rule


@asynccontextmanager
async def through(
    etcd: EtcdProcess, login: str = "", timing: EtcdTiming = IMPATIENT
) -> AsyncIterator[tuple[EtcdStore, Proxy]]:
    """A store that reaches its etcd through a proxy, which has no rule yet."""
    async with opened_proxy(etcd.url, pass_on) as proxy:
        url = f"etcd://{login}127.0.0.1:{proxy.port}"
        async with open_etcd(url, codec=CODEC, timing=timing) as store:
            yield store, proxy


@asynccontextmanager
async def gateway_to(*ports: int, login: str = "") -> AsyncIterator[Gateway]:
    address = EtcdAddress.parse(f"etcd://{login}" + ",".join(f"127.0.0.1:{p}" for p in ports))
    async with open_gateway(address, IMPATIENT) as gateway:
        yield gateway


# -- what a lost answer means -------------------------------------------------------------------------


async def test_a_write_that_was_not_sent_whole_did_not_happen() -> None:
    """A server that takes no more of it cannot have done it: so its outcome is known."""

    async def reads_nothing(client: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, reads_nothing, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        async with gateway_to(listener.socket.getsockname()[1]) as gateway:
            large: Message = {"key": encoded(b"a"), "value": encoded(b"x" * 50_000_000)}
            with pytest.raises(StoreUnavailable):
                await gateway.call("/v3/kv/put", large, changes=True)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", [SILENCE, HANG_UP, DRIBBLE, answer(502, "<html>Bad Gateway")])
async def test_a_write_without_an_answer_ends_in_time(etcd: EtcdProcess, said: bytes) -> None:
    """Even when the answer comes byte by byte, which no time-out of a single read notices."""
    async with through(etcd) as (store, proxy):
        proxy.rule = only("/v3/kv/txn", said)
        with trio.fail_after(5), pytest.raises(OutcomeUnknown):
            await store.put("a", "x", origin=USER)
        proxy.rule = pass_on
        assert (await store.range("a")).count == 0


async def test_what_http_does_not_allow_is_not_tried_again(etcd: EtcdProcess) -> None:
    """It is a mistake on this side of the connection, and is told at once."""
    token = answer(200, json.dumps({"header": {"revision": "1"}, "token": "two\nlines"}))
    async with opened_proxy(etcd.url, only("/v3/auth/authenticate", token)) as proxy:
        async with gateway_to(proxy.port, login="me:secret@") as gateway:
            with pytest.raises(InvalidRequest, match="HTTP"):
                await gateway.call("/v3/kv/put", READ, changes=True)
        assert ["/v3/auth/authenticate"] == proxy.paths


@pytest.mark.parametrize("said", ["{}", "[]", "null", '"text"', "<html>", '{"kind": "Status"}'])
async def test_an_answer_of_something_else_is_none(etcd: EtcdProcess, said: str) -> None:
    """Whatever listens there, it is no etcd; opening a store says so."""
    async with opened_proxy(etcd.url, only("/v3/kv/txn", answer(200, said))) as proxy:
        url = f"etcd://127.0.0.1:{proxy.port}"
        with pytest.raises(StoreUnavailable, match="no answer of an etcd"):
            async with open_etcd(url, codec=CODEC, timing=IMPATIENT):
                pass


@pytest.mark.parametrize("octets", [1_600_000, 3_000_000])
async def test_what_is_too_large_is_refused(etcd: EtcdProcess, octets: int) -> None:
    """By etcd's own limit, or before that by its gRPC's: it did not happen, and never will."""
    async with open_etcd(etcd.store_url, codec=CODEC, timing=EtcdTiming()) as store:
        with pytest.raises(InvalidRequest, match="larg"):
            await store.put("a", "x" * octets, origin=USER)
        assert (await store.range("a")).count == 0


async def test_large_values_come_whole(etcd: EtcdProcess) -> None:
    """In answers, and over a watch that tells many of them at once."""
    timing = EtcdTiming()
    async with open_etcd(etcd.store_url, codec=CODEC, timing=timing) as store:
        for name in "abcdef":
            await store.put(name, name * 1_400_000, origin=USER)
        async with open_etcd(etcd.store_url, codec=CODEC, timing=timing) as other:
            values = [kv.value for kv in (await other.range(ALL, range_end=END)).kvs]
            assert [name * 1_400_000 for name in "abcdef"] == values
            assert list(store.history()) == list(other.history())


async def test_an_endpoint_where_nobody_listens() -> None:
    """The error says why, once, as the system says it."""
    async with gateway_to(free_port()) as gateway:
        with pytest.raises(StoreUnavailable, match=r"failed: [^:]*: Connection refused$"):
            await gateway.call("/v3/kv/range", READ, changes=True)


# -- several endpoints ---------------------------------------------------------------------------------


async def test_all_who_fail_at_an_endpoint_go_to_the_next(etcd: EtcdProcess) -> None:
    """However many fail at once: they do not send each other back to it."""
    hangs_up = lambda path, body: HANG_UP  # noqa: E731 - a rule
    async with (
        opened_proxy(etcd.url, hangs_up) as bad,
        gateway_to(bad.port, etcd.client_port) as gateway,
    ):
        answers: list[Message] = []

        async def read() -> None:
            answers.append(await gateway.call("/v3/kv/range", READ, changes=False))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(read)

        assert 10 == len(answers)
        assert len(bad.paths) <= 10
        assert gateway.endpoint == etcd.url


async def test_an_endpoint_without_a_leader_ends_its_watches(etcd_pool: EtcdPool) -> None:
    """Else the watch of a member that is cut off from the others would stay open, and silent, for as long as it is."""
    with three_members(etcd_pool.folder / "members") as members:
        async with gateway_to(members[0].client_port) as gateway:
            watch: Message = {"create_request": {**READ}}
            created: list[Message] = []

            def take(response: Message) -> None:
                created.append(response)
                for other in members[1:]:
                    other.pause()

            with trio.fail_after(10), pytest.raises(EtcdRefusal, match="no leader"):
                await gateway.follow(gateway.endpoint, "/v3/watch", watch, take)
            assert created


async def test_a_cluster_goes_on_without_one_of_its_members(etcd_pool: EtcdPool) -> None:
    """Whichever is asked first: writes and watches go on at another, and all see one history."""
    timing = EtcdTiming(request_seconds=2, connect_seconds=0.2, stall_seconds=1)
    with three_members(etcd_pool.folder / "going-on") as members:
        url = "etcd://" + ",".join(f"127.0.0.1:{member.client_port}" for member in members)
        async with (
            open_etcd(url, codec=CODEC, timing=timing) as store,
            open_etcd(url, codec=CODEC, timing=timing) as watcher,
            watcher.watch(ALL, range_end=END) as watch,
        ):
            head = 1
            for gone in members:
                await store.put("a", "before", origin=USER)
                gone.kill()
                with trio.fail_after(20):
                    while True:
                        try:
                            head = (await store.put("a", "without", origin=USER)).revision
                            break
                        except (OutcomeUnknown, StoreUnavailable):
                            continue
                    events = [each.revision for each in await _until(watch, head)]
                assert list(range(events[0], head + 1)) == events
                gone.start()
            assert list(store.history()) == list(watcher.history())


async def _until(watch: Watch, revision: int) -> list[Event]:
    events: list[Event] = []
    while watch.revision < revision:
        events += (await watch.receive()).events
    return events


# -- refusals ------------------------------------------------------------------------------------------

NO_LEADER = {"grpc_code": 14, "http_code": 503, "message": "etcdserver: no leader"}


@pytest.mark.parametrize("status", [200, 503])
async def test_a_keep_alive_that_is_refused_is_no_lost_lease(
    etcd: EtcdProcess, status: int
) -> None:
    """The gateway wraps refusals of streams, after which the lease may live on."""
    async with through(etcd) as (store, proxy):
        lease = await store.lease_grant(60)
        refusal = answer(status, json.dumps({"error": NO_LEADER}))
        proxy.rule = only("/v3/lease/keepalive", refusal)
        with pytest.raises(StoreUnavailable, match="no leader"):
            await store.lease_keep_alive(lease.id)
        proxy.rule = only("/v3/lease/keepalive", refusal, times=2)
        assert (await store.lease_keep_alive(lease.id)).granted_seconds == 60
        with pytest.raises(LeaseNotFound):
            await store.lease_keep_alive(lease.id + 1)


LINES = {
    "an error": '{"error": {"grpc_code": 14, "message": "etcdserver: no leader"}}',
    "an error of gRPC gateway 2": '{"error": {"code": 13, "message": "stream terminated"}}',
    "no JSON": '{"result": {"hea',
    "no message": "[1]",
    "nothing": "{}",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
async def test_a_bad_line_in_a_watch_is_a_broken_watch(etcd: EtcdProcess, line: str) -> None:
    """It is opened again where it was, and tells what it should have."""
    async with through(etcd) as (store, proxy), store.watch("a") as watch:
        await store.put("a", "x", origin=USER)
        proxy.rule = only("/v3/watch", stream(line), times=2)
        store.follower.reopen()
        await store.put("a", "y", origin=USER)
        assert brief(await events_until(watch, 3)) == [("PUT", "a", "x", 2), ("PUT", "a", "y", 3)]
        assert proxy.count("/v3/watch") == 4


async def test_a_watch_that_went_silent_is_opened_again(etcd: EtcdProcess) -> None:
    """Its connection stands, and nothing comes over it: a store that only watches would never know."""
    timing = EtcdTiming(request_seconds=0.5, silence_seconds=0.3)
    async with through(etcd, timing=timing) as (store, proxy), store.watch("a") as watch:
        proxy.held = True
        async with open_etcd(etcd.store_url, codec=CODEC) as other:
            await other.put("a", "x", origin=USER)
            proxy.held = False
            assert brief(await events_until(watch, 2)) == [("PUT", "a", "x", 2)]


# -- being let in --------------------------------------------------------------------------------------


async def test_a_login_without_an_answer_leaves_no_doubt(etcd: EtcdProcess) -> None:
    """What it was for was not sent: it is sent when the login has been answered."""
    guarded(etcd)
    timed_out = '{"error": "etcdserver: request timed out", "message": "etcdserver: request timed out", "code": 14}'
    async with through(etcd, "root:root@") as (store, proxy):
        for count, said in enumerate((HANG_UP, answer(503, timed_out)), 1):
            store.gateway.forget_token()
            proxy.rule = only("/v3/auth/authenticate", said, times=1)
            assert (await store.put("a", "x", origin=USER)).revision == 1 + count
        store.gateway.forget_token()
        proxy.rule = only("/v3/auth/authenticate", SILENCE)
        with pytest.raises(StoreUnavailable):
            await store.put("a", "x", origin=USER)


async def test_one_login_serves_all_who_need_one(etcd: EtcdProcess) -> None:
    """Etcd makes a login slow on purpose; a hundred at once would keep it busy for seconds."""
    guarded(etcd)
    async with through(etcd, "root:root@", EtcdTiming()) as (store, proxy):
        store.gateway.forget_token()
        before = proxy.count("/v3/auth/authenticate")
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(partial(store.put, f"k{number}", "x", origin=USER))

        assert before + 1 == proxy.count("/v3/auth/authenticate")


async def test_a_token_that_expired_is_asked_for_anew(etcd_pool: EtcdPool) -> None:
    """By reads, by writes, and by the watch; each token lives a second here, and five minutes by default."""
    arguments = ("--unsafe-no-fsync", "--auth-token-ttl=1")
    with EtcdProcess(data=etcd_pool.folder / "expiring", arguments=arguments).running() as etcd:
        guarded(etcd)
        async with through(etcd, "root:root@", EtcdTiming()) as (store, proxy):
            await trio.sleep(2.5)
            logins = proxy.count("/v3/auth/authenticate")
            await store.put("a", "x", origin=USER)
            assert logins + 1 == proxy.count("/v3/auth/authenticate")
            await trio.sleep(2.5)
            assert (await store.range("a")).kvs[0].value == "x"
            await trio.sleep(2.5)
            store.follower.reopen()
            async with (
                open_etcd(f"etcd://root:root@127.0.0.1:{etcd.client_port}", codec=CODEC) as other,
                store.watch("a") as watch,
            ):
                await other.put("a", "y", origin=USER)
                assert brief(await events_until(watch, 3)) == [("PUT", "a", "y", 3)]


async def test_a_watch_that_was_denied_for_its_token_asks_for_another(etcd: EtcdProcess) -> None:
    """Etcd 3.5 says `permission denied` to a token that has expired, where a watch is opened; only twice is it meant."""
    guarded(etcd)
    denied = {"created": True, "canceled": True, "cancel_reason": "etcdserver: permission denied"}
    line = json.dumps({"result": {"header": {"revision": "1"}, **denied}})
    async with through(etcd, "root:root@") as (store, proxy), store.watch("a") as watch:
        proxy.rule = only("/v3/watch", stream(line), times=1)
        logins = proxy.count("/v3/auth/authenticate")
        store.follower.reopen()
        await store.put("a", "x", origin=USER)
        assert brief(await events_until(watch, 2)) == [("PUT", "a", "x", 2)]
        assert logins < proxy.count("/v3/auth/authenticate")


async def test_a_login_that_is_not_needed_is_refused(etcd: EtcdProcess) -> None:
    """So is one that is needed, and is not there."""
    with pytest.raises(EtcdRefusal, match="authentication is not enabled"):
        async with open_etcd(f"etcd://root:root@127.0.0.1:{etcd.client_port}", codec=CODEC):
            pass
    guarded(etcd)
    with pytest.raises(EtcdRefusal, match="user name is empty"):
        async with open_etcd(etcd.store_url, codec=CODEC):
            pass


# -- cancellation --------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what /proc shows")
async def test_whatever_is_cancelled_leaves_no_connection(etcd: EtcdProcess) -> None:
    """Reads at every moment of their lives, and watches; the store goes on, and its connections end with it."""
    before = _descriptors()
    async with through(etcd) as (store, proxy):
        for moment in range(60):
            with trio.move_on_after(moment / 10_000):
                await store.range("a")
            with trio.move_on_after(moment / 10_000):
                await store.put("a", f"{moment}", origin=USER)
            if moment % 10 == 0:
                store.follower.reopen()
        proxy.rule = only("/v3/kv/range", SILENCE)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(partial(store.range, "a"))
            with trio.fail_after(5):
                while proxy.count("/v3/kv/range") < 20:  # noqa: ASYNC110 - the proxy tells nobody
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        proxy.rule = pass_on
        answered = await store.put("a", "last", origin=USER)
        assert list(range(2, answered.revision + 1)) == [each.revision for each in store.history()]
        # Two ends of each connection are of this process, and one more of the proxy.
        await _at_most(before + 3 * 6)
    await _at_most(before)


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _at_most(count: int) -> None:
    """Wait until no more files are open; fails when that does not come."""
    with trio.fail_after(5):
        while _descriptors() > count:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


async def test_a_write_that_was_sent_is_not_cancelled(etcd: EtcdProcess) -> None:
    """It ends with its answer, or with its time: cancelled means that nothing happened."""
    async with through(etcd) as (store, proxy):
        proxy.rule = only("/v3/kv/txn", SILENCE)
        with trio.move_on_after(0.1) as scope:
            with pytest.raises(OutcomeUnknown):
                await store.put("a", "x", origin=USER)
        assert not scope.cancelled_caught
