"""Where an etcd is: `etcd://` addresses and what goes with them. Pure.

    etcd://127.0.0.1:2379
    etcd://user:password@10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
    etcds://etcd.example:2379?ca=/etc/etcd/ca.pem&cert=/etc/etcd/client.pem&key=/etc/etcd/client.key

`etcds` speaks TLS; `ca`, `cert` and `key` are paths, and without `ca` the system's authorities are trusted.
"""

from __future__ import annotations

from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from store.errors import InvalidRequest

DEFAULT_PORT: Final = 2379
"""etcd's port for clients."""

_SCHEMES: Final = {"etcd": "http", "etcds": "https"}
_FILES: Final = ("ca", "cert", "key")


def is_etcd(address: object) -> bool:
    """Whether this is an address of an etcd, and no path."""
    return isinstance(address, str) and address.startswith(
        tuple(f"{scheme}://" for scheme in _SCHEMES)
    )


@attrs.frozen(kw_only=True)
class EtcdAddress:
    """One etcd cluster: its endpoints in the order in which they are tried, and how to be let in."""

    endpoints: tuple[str, ...]
    """As http or https URLs."""
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises InvalidRequest, which says what is allowed."""
        parts = urlsplit(text)
        if parts.scheme not in _SCHEMES or not parts.netloc or parts.path not in ("", "/"):
            raise InvalidRequest(
                f"{_shown(text)}: an etcd is named as etcd://HOST:PORT[,HOST:PORT...], or etcds:// with TLS"
            )
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        files = dict(parse_qsl(parts.query))
        for name in files:
            if name not in _FILES or parts.scheme != "etcds":
                raise InvalidRequest(
                    f"{_shown(text)}: {name!r} is not known; etcds:// takes ca, cert and key"
                )
        if bool(files.get("cert")) is not bool(files.get("key")):
            raise InvalidRequest(f"{_shown(text)}: a certificate needs its key: give cert and key")
        scheme = _SCHEMES[parts.scheme]
        return cls(
            endpoints=tuple(f"{scheme}://{_with_port(host, text)}" for host in hosts.split(",")),
            user=unquote(user),
            password=unquote(password),
            **files,
        )


@attrs.frozen(kw_only=True)
class EtcdTiming:
    """How long an etcd is waited for."""

    request_seconds: float = 5.0
    """Until a request has found an endpoint, and then until it is answered: etcd's own time-out is 5 s and an election."""
    connect_seconds: float = 1.0
    """Until an endpoint has taken a connection."""
    retry_first_seconds: float = 0.02
    retry_most_seconds: float = 1.0
    """Between rounds over all endpoints, doubling from the first to the most."""
    stall_seconds: float = 5.0
    """A watch that has not told by then what was answered elsewhere is opened again."""


def _with_port(host: str, text: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, str(DEFAULT_PORT)
    if not name or not port.isdecimal():
        raise InvalidRequest(f"{_shown(text)}: {host!r} is no HOST:PORT")
    return f"{name}:{port}"


def _shown(text: str) -> str:
    """An address as it may be shown: without what stands before the host."""
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
