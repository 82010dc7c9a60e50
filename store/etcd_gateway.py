"""etcd's JSON gateway over httpx on trio: requests that find an endpoint that answers, and streams. The only module that knows httpx.

A request goes to the endpoint that answered last. What happened to one that failed decides what comes next:

    not sent (no connection)                 the next endpoint, round after round, until time is up: StoreUnavailable
    sent, and the answer was lost            one that only reads is sent again; one that changes something raises OutcomeUnknown
    refused for good                         GatewayRefusal
    refused for now (starting, no leader)    as if not sent
    refused without a verdict (time-out)     as if the answer was lost
    refused for its token                    a new token, then again
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final, cast

import attrs
import httpx
import trio

from store.errors import OutcomeUnknown, StoreUnavailable
from store.etcd_address import EtcdAddress
from store.etcd_errors import GatewayRefusal, Verdict, verdict
from store.etcd_wire import Message, number

_KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""A watch may be silent for hours; so the system asks every few seconds whether the other side is still there."""

Take = Callable[[Message], None]
"""Takes the messages of a stream, one after the other."""


@attrs.frozen(kw_only=True)
class Timing:
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


class NotSent(Exception):
    """Nothing of the request has reached etcd."""


class Lost(Exception):
    """The request was sent, and there is no answer; or a stream has ended."""


@attrs.define(eq=False, repr=False)
class Gateway:
    """A client of one etcd cluster; `open_gateway` makes one."""

    address: EtcdAddress
    timing: Timing
    _http: httpx.AsyncClient
    _preferred: int = attrs.field(default=0, init=False)
    """The endpoint that answered last."""
    _token: str = attrs.field(default="", init=False)

    def __repr__(self) -> str:
        return f"<Gateway {self.endpoint} of {len(self.address.endpoints)}>"

    @property
    def endpoint(self) -> str:
        """Where the next request goes."""
        return self.address.endpoints[self._preferred]

    def turn(self) -> None:
        """Try the next endpoint from now on."""
        self._preferred = (self._preferred + 1) % len(self.address.endpoints)

    async def call(self, path: str, message: Message, *, changes: bool) -> Message:
        """One request and its answer. Raises GatewayRefusal, StoreUnavailable; and OutcomeUnknown if it `changes` something."""
        deadline = trio.current_time() + self.timing.request_seconds
        wait = self.timing.retry_first_seconds
        while True:
            reason = ""
            for _ in self.address.endpoints:
                try:
                    return await self._authenticated(path, message)
                except NotSent as error:
                    reason = str(error)
                except (Lost, GatewayRefusal) as error:
                    reason = self._judge(error, path, changes=changes)
                self.turn()
            if trio.current_time() + wait > deadline:
                raise StoreUnavailable(
                    f"no endpoint of etcd answers ({', '.join(self.address.endpoints)}): {reason}"
                )
            await trio.sleep(wait)
            wait = min(2 * wait, self.timing.retry_most_seconds)

    def _judge(self, error: Lost | GatewayRefusal, path: str, *, changes: bool) -> str:
        """Why to try again; raises when that must not be done."""
        if isinstance(error, GatewayRefusal):
            meaning = verdict(error)
            if meaning in (Verdict.FINAL, Verdict.LOGIN):
                raise error
            if meaning is Verdict.LATER:
                return str(error)
        if changes:
            raise OutcomeUnknown(
                f"{path} at {self.endpoint}: {error}; it may have happened: read before trying again"
            ) from error
        return str(error)

    async def _authenticated(self, path: str, message: Message) -> Message:
        if self.address.user and not self._token:
            await self._login()
        try:
            return await self._once(path, message)
        except GatewayRefusal as refusal:
            if not self.address.user or verdict(refusal) is not Verdict.LOGIN:
                raise
        await self._login()
        return await self._once(path, message)

    async def _login(self) -> None:
        self._token = ""
        login: Message = {"name": self.address.user, "password": self.address.password}
        try:
            answer = await self._once("/v3/auth/authenticate", login)
        except Lost as error:
            # What the login was for has not been sent.
            raise NotSent(f"login: {error}") from error
        self._token = str(answer["token"])

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._token} if self._token else {}

    async def _once(self, path: str, message: Message) -> Message:
        try:
            response = await self._http.post(
                self.endpoint + path, json=message, headers=self._headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(_text(error)) from error
        except httpx.TransportError as error:
            raise Lost(_text(error)) from error
        return _answer(response)

    async def follow(self, path: str, message: Message, take: Take) -> None:
        """Give `take` what a stream brings, until it ends. Raises NotSent, Lost, GatewayRefusal and what `take` raises."""
        if self.address.user and not self._token:
            await self._login()
        timeout = httpx.Timeout(None, connect=self.timing.connect_seconds)
        try:
            async with self._http.stream(
                "POST", self.endpoint + path, json=message, headers=self._headers, timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    _answer(response)
                await self._read(response, take)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(_text(error)) from error
        except httpx.TransportError as error:
            raise Lost(_text(error)) from error
        raise Lost("the stream has ended")

    async def _read(self, response: httpx.Response, take: Take) -> None:
        rest = b""
        async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_bytes())) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        take(self._message(line))

    def _message(self, line: bytes) -> Message:
        message = cast("Message", json.loads(line))
        if "error" in message:
            error = cast("Message", message["error"])
            refusal = GatewayRefusal(number(error, "grpc_code"), str(error.get("message", error)))
            if verdict(refusal) is Verdict.LOGIN:
                self._token = ""
            raise refusal
        return cast("Message", message["result"])


def _answer(response: httpx.Response) -> Message:
    """The message of an answer. Raises GatewayRefusal, Lost."""
    try:
        message = cast("Message", json.loads(response.content))
    except ValueError as error:
        raise Lost(
            f"no answer of an etcd: {response.status_code} {response.text[:80]!r}"
        ) from error
    if response.status_code != httpx.codes.OK:
        raise GatewayRefusal(
            number(message, "code"), str(message.get("message", response.status_code))
        )
    return message


def _text(error: httpx.TransportError) -> str:
    return f"{type(error).__name__} {error}".strip()


@asynccontextmanager
async def open_gateway(address: EtcdAddress, timing: Timing) -> AsyncIterator[Gateway]:
    """A client with its connections, which end with the block."""
    verify: ssl.SSLContext | bool = False
    if address.endpoints[0].startswith("https"):
        verify = ssl.create_default_context(cafile=address.ca or None)
        if address.cert:
            verify.load_cert_chain(address.cert, address.key)
    transport = httpx.AsyncHTTPTransport(
        verify=verify,
        trust_env=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        socket_options=_KEEPALIVE,
    )
    timeout = httpx.Timeout(timing.request_seconds, connect=timing.connect_seconds, pool=None)
    async with httpx.AsyncClient(transport=transport, timeout=timeout) as http:
        yield Gateway(address, timing, http)
