"""etcd's JSON gateway over httpx on trio: requests that find an endpoint that answers, and streams. The only module that knows httpx.

A request goes to the endpoint that answered last. What happened to one that failed decides what comes next:

    not sent (no connection)                 the next endpoint, round after round, until time is up: StoreUnavailable
    sent, and the answer was lost            one that only reads is sent again; one that changes something raises OutcomeUnknown
    refused for good                         EtcdRefusal
    refused for now (starting, no leader)    as if not sent
    refused without a verdict (time-out)     as if the answer was lost
    refused for its token                    a new token, then again
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

import attrs
import httpx
import trio

from store.errors import OutcomeUnknown, StoreUnavailable
from store.etcd_address import EtcdAddress, EtcdTiming
from store.etcd_errors import EtcdRefusal, Verdict, verdict
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


class NotSent(Exception):
    """Nothing of the request has reached etcd."""


class Lost(Exception):
    """The request was sent, and there is no answer; or a stream has ended."""


class _Body(httpx.AsyncByteStream):
    """The body of a request in one piece. httpx's own is a generator, which is not closed when the sending fails."""

    def __init__(self, octets: bytes) -> None:
        self._left = [octets]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@attrs.define(eq=False, repr=False)
class Gateway:
    """A client of one etcd cluster; `open_gateway` makes one."""

    address: EtcdAddress
    timing: EtcdTiming
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
        """One request and its answer. Raises EtcdRefusal, StoreUnavailable; and OutcomeUnknown if it `changes` something."""
        deadline = trio.current_time() + self.timing.request_seconds
        wait = self.timing.retry_first_seconds
        while True:
            reason = ""
            for _ in self.address.endpoints:
                try:
                    return await self._authenticated(path, message)
                except NotSent as error:
                    reason = str(error)
                except (Lost, EtcdRefusal) as error:
                    reason = self._judge(error, path, changes=changes)
                self.turn()
            if trio.current_time() + wait > deadline:
                raise StoreUnavailable(
                    f"no endpoint of etcd answers ({', '.join(self.address.endpoints)}): {reason}"
                )
            await trio.sleep(wait)
            wait = min(2 * wait, self.timing.retry_most_seconds)

    def _judge(self, error: Lost | EtcdRefusal, path: str, *, changes: bool) -> str:
        """Why to try again; raises when that must not be done."""
        if isinstance(error, EtcdRefusal):
            meaning = verdict(error)
            if meaning in (Verdict.FINAL, Verdict.LOGIN):
                raise error
            if meaning is Verdict.LATER:
                return str(error)
        if changes:
            message = f"{path} at {self.endpoint}: {error}; it may have happened: read before trying again"
            self.turn()
            raise OutcomeUnknown(message) from error
        return str(error)

    async def _authenticated(self, path: str, message: Message) -> Message:
        if self.address.user and not self._token:
            await self._login()
        try:
            return await self._once(path, message)
        except EtcdRefusal as refusal:
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

    def _request(
        self, path: str, message: Message, timeout: httpx.Timeout | None = None
    ) -> httpx.Request:
        body = json.dumps(message, separators=(",", ":")).encode()
        headers = {
            "Host": self.endpoint.partition("://")[2],
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        if self._token:
            headers["Authorization"] = self._token
        extensions = {"timeout": (timeout or self._http.timeout).as_dict()}
        url = self.endpoint + path
        return httpx.Request(
            "POST", url, headers=headers, stream=_Body(body), extensions=extensions
        )

    async def _once(self, path: str, message: Message) -> Message:
        try:
            response = await self._http.send(self._request(path, message))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(_text(error)) from error
        except httpx.TransportError as error:
            raise Lost(_text(error)) from error
        return _answer(response)

    async def follow(self, path: str, message: Message, take: Take) -> None:
        """Give `take` what a stream brings, until it ends. Raises NotSent, Lost, EtcdRefusal and what `take` raises."""
        if self.address.user and not self._token:
            await self._login()
        timeout = httpx.Timeout(None, connect=self.timing.connect_seconds)
        try:
            response = await self._http.send(self._request(path, message, timeout), stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    _answer(response)
                await self._read(response, take)
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(_text(error)) from error
        except httpx.TransportError as error:
            raise Lost(_text(error)) from error
        raise Lost("the stream has ended")

    async def _read(self, response: httpx.Response, take: Take) -> None:
        """Read to the end. What `take` raises ends the reading by cancellation: a generator of httpx that is left early is not closed."""
        rest = b""
        failure: Exception | None = None
        with trio.CancelScope() as scope:
            async for chunk in response.aiter_bytes():
                *lines, rest = (rest + chunk).split(b"\n")
                try:
                    for line in lines if failure is None else ():
                        if line:
                            take(self._message(line))
                except Exception as error:  # noqa: BLE001 - raised again below
                    failure = error
                    scope.cancel()
        if failure is not None:
            raise failure

    def _message(self, line: bytes) -> Message:
        message = cast("Message", json.loads(line))
        if "error" in message:
            error = cast("Message", message["error"])
            refusal = EtcdRefusal(number(error, "grpc_code"), str(error.get("message", error)))
            if verdict(refusal) is Verdict.LOGIN:
                self._token = ""
            raise refusal
        return cast("Message", message["result"])


def _answer(response: httpx.Response) -> Message:
    """The message of an answer. Raises EtcdRefusal, Lost."""
    try:
        message = cast("Message", json.loads(response.content))
    except ValueError as error:
        raise Lost(
            f"no answer of an etcd: {response.status_code} {response.text[:80]!r}"
        ) from error
    if response.status_code != httpx.codes.OK:
        raise EtcdRefusal(
            number(message, "code"), str(message.get("message", response.status_code))
        )
    return message


def _text(error: httpx.TransportError) -> str:
    """What went wrong; what TLS has to say is found at the end of the chain."""
    texts = [type(error).__name__]
    cause: BaseException | None = error
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return ": ".join(dict.fromkeys(text for text in texts if text))


@asynccontextmanager
async def open_gateway(address: EtcdAddress, timing: EtcdTiming) -> AsyncIterator[Gateway]:
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
