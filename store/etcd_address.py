"""Where an etcd is: `etcd://` addresses and what goes with them. Pure.

    etcd://127.0.0.1:2379
    etcd://user:password@10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
    etcds://etcd.example:2379?ca=/etc/etcd/ca.pem&cert=/etc/etcd/client.pem&key=/etc/etcd/client.key

`etcds` speaks TLS; `ca`, `cert` and `key` are paths, and without `ca` the system's authorities are trusted. An IPv6 address stands in brackets;
what has a meaning of its own in an address is escaped in a user and a password (`@` as `%40`, `/` as `%2F`, `#` as `%23`).
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Self
from urllib.parse import parse_qsl, unquote

import attrs

from store.errors import InvalidRequest

DEFAULT_PORT: Final = 2379
"""etcd's port for clients."""

_SCHEMES: Final = {"etcd": "http", "etcds": "https"}
_FILES: Final = ("ca", "cert", "key")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LAST_PORT: Final = 65_535


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
        scheme, _, rest = text.partition("://")
        # Not by urlsplit: it takes a password for what it is not, and an odd one would be shown.
        before, _, query = rest.partition("?")
        login, _, hosts = before.rpartition("@")
        user, _, password = login.partition(":")
        if scheme not in _SCHEMES or not hosts or "#" in text or "/" in login + hosts.rstrip("/"):
            raise InvalidRequest(
                f"{_shown(text)}: an etcd is named as etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...], "
                "or etcds:// with TLS; / ? # and @ in a password are escaped: %2F %3F %23 %40"
            )
        files = dict(parse_qsl(query, keep_blank_values=True))
        if not all(name in _FILES and path for name, path in files.items()) or (
            query and scheme != "etcds"
        ):
            raise InvalidRequest(
                f"{_shown(text)}: after ? etcds:// takes ca=FILE, cert=FILE and key=FILE, and etcd:// nothing"
            )
        if bool(files.get("cert")) is not bool(files.get("key")):
            raise InvalidRequest(f"{_shown(text)}: a certificate needs its key: give cert and key")
        hosts = hosts.removesuffix("/")
        return cls(
            endpoints=tuple(
                f"{_SCHEMES[scheme]}://{_with_port(host, text)}" for host in hosts.split(",")
            ),
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
    """A watch that has told nothing for so long, though something was answered elsewhere, is opened again."""
    silence_seconds: float = 30.0
    """So is one that has told nothing at all: nobody else would notice an endpoint that hangs."""


def _with_port(host: str, text: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, str(DEFAULT_PORT)
    named = _HOST.fullmatch(name) is not None or _is_ipv6(name)
    if not named or not _PORT.fullmatch(port) or not 0 < int(port) <= _LAST_PORT:
        raise InvalidRequest(f"{_shown(text)}: {host!r} is no HOST:PORT, nor [IPv6]:PORT")
    return f"{name}:{port}"


def _is_ipv6(name: str) -> bool:
    """Whether it is an IPv6 address in brackets."""
    try:
        IPv6Address(name[1:-1])
    except AddressValueError:
        return False
    return name.startswith("[") and name.endswith("]") and "%" not in name


def _shown(text: str) -> str:
    """An address as it may be shown: without what stands before the host."""
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
