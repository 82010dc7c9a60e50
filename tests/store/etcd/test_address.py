"""Addresses of etcds: what is understood, and what is refused."""

from __future__ import annotations

import pytest

from store import EtcdAddress, InvalidRequest, is_etcd


def test_all_parts() -> None:
    """Endpoints in order, a default port, a login with escapes, files of TLS."""
    plain = EtcdAddress.parse("etcd://10.0.0.1:1234,etcd.example,[::1]:7,[::1]/")
    secured = EtcdAddress.parse("etcds://me:a%40b@h:1?ca=/a.pem&cert=/c.pem&key=/k.pem")

    assert plain.endpoints == (
        "http://10.0.0.1:1234",
        "http://etcd.example:2379",
        "http://[::1]:7",
        "http://[::1]:2379",
    )
    assert secured == EtcdAddress(
        endpoints=("https://h:1",),
        user="me",
        password="a@b",  # noqa: S106 - nobody's
        ca="/a.pem",
        cert="/c.pem",
        key="/k.pem",
    )
    assert "a@b" not in repr(secured)
    assert EtcdAddress.parse("etcds://h?ca=/home/a@b/ca.pem").ca == "/home/a@b/ca.pem"


@pytest.mark.parametrize(
    "text",
    [
        "http://h:1",
        "etcd://",
        "etcd://h:port",
        "etcd://:1",
        "etcd://h:1,",
        "etcd://h:1/path",
        "etcd://h:1?ca=/a.pem",
        "etcds://h:1?what=1",
        "etcds://h:1?cert=/c.pem",
        "etcds://h:1?ca",
        "etcds://h:1?ca=",
        "etcd://h:0",
        "etcd://h:65536",
        "etcd://h:99999999999",
        "etcd://::1:2379",
        "etcd://[::1",
        "etcd://[::1]x:1",
        "etcd://[1.2.3.4]:1",
        "etcd://[fe80::1%25eth0]:1",
        "etcd://h h:1",
        "etcd://h\u00e9:1",
        "etcd://h:1#part",
    ],
)
def test_what_is_refused(text: str) -> None:
    """The message shows the address, without a password."""
    with pytest.raises(InvalidRequest):
        EtcdAddress.parse(text)
    with pytest.raises(InvalidRequest) as caught:
        EtcdAddress.parse(text.replace("://", "://user:secret@"))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "[secret", "se?cret=1"])
def test_a_password_that_is_not_escaped_is_not_shown(password: str) -> None:
    """Nor any part of it: the message says what to escape."""
    for scheme in ("etcd", "etcds"):
        with pytest.raises(InvalidRequest) as caught:
            EtcdAddress.parse(f"{scheme}://user:{password}@h:1x")

        assert "cret" not in str(caught.value)


def test_what_is_an_etcd() -> None:
    """And what is a path."""
    assert is_etcd("etcd://h")
    assert is_etcd("etcds://h")
    assert not is_etcd("run.wtl")
    assert not is_etcd(None)
