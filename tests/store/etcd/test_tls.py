"""TLS with certificates of an authority of our own, users, and the ways to name a host: all with a real etcd."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from store import (
    EtcdRefusal,
    EventType,
    InvalidRequest,
    OutcomeUnknown,
    StoreFailed,
    StoreUnavailable,
    open_etcd,
    read_etcd_header,
)
from store.etcd_address import EtcdTiming
from store.etcd_wire import Message, Wire, encoded
from tests.store.etcd.judge import Judge
from tests.store.etcd.pair import TextCodec
from tests.store.etcd.process import QUICK, EtcdPool, EtcdProcess
from tests.store.support import USER, events_until

CERTS: Final = Path(__file__).with_name("certs")
CODEC = TextCodec()
IMPATIENT = EtcdTiming(request_seconds=0.5, connect_seconds=0.3, stall_seconds=1)

CA = f"ca={CERTS / 'authority.pem'}"
CLIENT = f"cert={CERTS / 'client.pem'}&key={CERTS / 'client.key'}"


def has_ipv6() -> bool:
    """Whether this machine has the loopback of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextmanager
def secured(
    folder: Path, *, host: str = "127.0.0.1", clients: bool = False
) -> Iterator[EtcdProcess]:
    """An etcd with our server's certificate; `clients` must show one too."""
    asks = ("--client-cert-auth", f"--trusted-ca-file={CERTS / 'authority.pem'}") if clients else ()
    context = ssl.create_default_context(cafile=str(CERTS / "authority.pem"))
    context.load_cert_chain(CERTS / "client.pem", CERTS / "client.key")
    cert, key = f"--cert-file={CERTS / 'server.pem'}", f"--key-file={CERTS / 'server.key'}"
    etcd = EtcdProcess(
        data=folder, arguments=(*QUICK, cert, key, *asks), scheme="https", host=host, tls=context
    )
    with etcd.running():
        yield etcd


@pytest.fixture(scope="module")
def tls(etcd_pool: EtcdPool) -> Iterator[EtcdProcess]:
    """One etcd with TLS that wants a certificate of its clients, for all tests that only read and write."""
    with secured(etcd_pool.folder / "tls", clients=True) as etcd:
        yield etcd


async def written_and_told(url: str) -> None:
    """Writes, and sees it in the mirror, which is a stream."""
    async with open_etcd(url, codec=CODEC, timing=IMPATIENT) as store, store.watch("a") as watch:
        revision = (await store.put("a", "x", origin=USER)).revision
        (event,) = await events_until(watch, revision)
        assert ("x", USER) == (event.value, event.origin)
        assert (await store.range("a")).kvs[0].value == "x"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_both_sides_show_certificates(tls: EtcdProcess, host: str) -> None:
    """Whichever way the host is named, if the certificate names it too."""
    await written_and_told(f"etcds://{host}:{tls.client_port}?{CA}&{CLIENT}")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
async def test_an_ipv6_address(etcd_pool: EtcdPool) -> None:
    """With TLS and without."""
    with secured(etcd_pool.folder / "tls6", host="[::1]") as etcd:
        await written_and_told(f"etcds://[::1]:{etcd.client_port}?{CA}")
    plain = EtcdProcess(data=etcd_pool.folder / "plain6", host="[::1]", arguments=QUICK)
    with plain.running():
        await written_and_told(f"etcd://[::1]:{plain.client_port}")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (CLIENT, "certificate verify failed"),
        (f"ca={CERTS / 'stranger.pem'}&{CLIENT}", "certificate verify failed"),
        (CA, "certificate required|bad certificate"),
    ],
    ids=["nobody believes it", "another authority", "no certificate of ours"],
)
async def test_who_is_not_believed(tls: EtcdProcess, query: str, says: str) -> None:
    """By either side; the error says what TLS says."""
    url = f"etcds://127.0.0.1:{tls.client_port}?{query}"
    with pytest.raises(StoreUnavailable, match=says):
        async with open_etcd(url, codec=CODEC, timing=IMPATIENT):
            pass


async def test_a_host_that_the_certificate_does_not_name(tls: EtcdProcess) -> None:
    """Is not believed to be that host."""
    url = f"etcds://127.0.0.2:{tls.client_port}?{CA}&{CLIENT}"
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.2|refused"):
        async with open_etcd(url, codec=CODEC, timing=IMPATIENT):
            pass


async def test_one_side_alone_speaks_tls(tls: EtcdProcess, etcd_pool: EtcdPool) -> None:
    """Either way it is no etcd that answers."""
    with pytest.raises(StoreUnavailable, match="disconnected"):
        async with open_etcd(f"etcd://127.0.0.1:{tls.client_port}", codec=CODEC, timing=IMPATIENT):
            pass
    with etcd_pool.one() as etcd:
        url = f"etcds://127.0.0.1:{etcd.client_port}?{CA}"
        with pytest.raises(StoreUnavailable, match=r"SSL|reset by peer"):
            async with open_etcd(url, codec=CODEC, timing=IMPATIENT):
                pass


@pytest.mark.parametrize(
    "query",
    [
        "ca=/no/such/file.pem",
        f"ca={__file__}",
        f"{CA}&cert=/no/such/file.pem&key=/no/such/file.key",
        f"{CA}&cert={CERTS / 'client.pem'}&key={CERTS / 'server.key'}",
        f"{CA}&cert={CERTS / 'client.pem'}&key={CERTS / 'locked.key'}",
    ],
    ids=["no file", "no certificate", "no files", "another's key", "a key that is locked"],
)
def test_files_that_are_none(query: str) -> None:
    """Are named, before anything is sent; nobody is asked for a password at the terminal."""
    wrong = query.rpartition("=")[2]
    with pytest.raises(InvalidRequest, match=wrong):
        read_etcd_header(f"etcds://127.0.0.1:1?{query}")


async def test_a_user_over_tls(etcd_pool: EtcdPool) -> None:
    """A wrong password is refused, and whoever may not read everything; a token that etcd has forgotten is asked for anew."""
    with secured(etcd_pool.folder / "users") as etcd:
        judge = Judge(Wire(CODEC), etcd.client_port, etcd.tls)
        judge.call("/v3/auth/user/add", {"name": "root", "password": "se:cret@"})
        judge.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        judge.call("/v3/auth/user/add", {"name": "guest", "password": "guest"})
        judge.call("/v3/auth/role/add", {"name": "header"})
        own: Message = {"key": encoded(b"\xf5"), "range_end": encoded(b"\xf6")}
        judge.call(
            "/v3/auth/role/grant", {"name": "header", "perm": {**own, "permType": "READWRITE"}}
        )
        judge.call("/v3/auth/user/grant", {"user": "guest", "role": "header"})
        judge.call("/v3/auth/enable", {})
        judge.close()
        at = f"127.0.0.1:{etcd.client_port}?{CA}"
        url = f"etcds://root:se%3Acret%40@{at}"
        async with (
            open_etcd(url, codec=CODEC, timing=IMPATIENT) as store,
            store.watch("a") as watch,
        ):
            assert (await store.put("a", "x", origin=USER)).revision == 2
            etcd.kill()
            etcd.start()
            while True:
                try:
                    await store.put("a", "y", origin=USER)
                    break
                except (OutcomeUnknown, StoreUnavailable):
                    continue
            events = await events_until(watch, store.head)
            assert [EventType.PUT] * 2 == [event.type for event in events][:2]
        with pytest.raises(EtcdRefusal, match="invalid user ID or password"):
            async with open_etcd(url.replace("se%", "no%"), codec=CODEC, timing=IMPATIENT):
                pass
        with pytest.raises(StoreFailed, match="permission denied"):
            async with open_etcd(f"etcds://guest:guest@{at}", codec=CODEC, timing=IMPATIENT):
                pass
