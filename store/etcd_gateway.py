"""etcd's JSON gateway over httpx on trio: requests that find an endpoint that answers, and streams. The only module that knows httpx.

All requests go to one endpoint until one of them fails there. What happened to it decides what comes next:

    not sent, or not to its end              the next endpoint, round after round, until time is up: StoreUnavailable
    sent, and the answer was lost            one that only reads is sent again; one that changes something raises OutcomeUnknown
    refused for good                         EtcdRefusal
    refused for now (starting, no leader)    as if not sent
    refused without a verdict (time-out)     as if the answer was lost
    refused for its token                    a new token, then again
    not allowed by HTTP                      InvalidRequest: it is a mistake of ours, and would be one again

A request acts when etcd has all of its JSON: so one whose last byte was not handed to the system did not happen, whatever else did.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, cast

import attrs
import httpx
import trio

from store.errors import InvalidRequest, OutcomeUnknown, StoreUnavailable
from store.etcd_address import EtcdAddress, EtcdTiming
from store.etcd_errors import EtcdRefusal, Verdict, verdict
from store.etcd_wire import Message

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
    """No request has reached etcd whole."""


class Lost(Exception):
    """The request was sent, and there is no answer; or a stream has ended."""


class Silent(Lost):
    """A stream has told nothing for so long that its endpoint must be asked whether it is still there."""


class _Body(httpx.AsyncByteStream):
    """The body of a request in one piece. httpx's own is a generator, which is not closed when the sending fails."""

    def __init__(self, message: Message) -> None:
        self.octets = json.dumps(message, separators=(",", ":")).encode()
        self._left = [self.octets]
        self.sent = False
        """Whether the system has taken all of it: only then does whoever sends it ask for more."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            self.sent = True
            raise StopAsyncIteration
        return self._left.pop()


@attrs.define(eq=False, repr=False)
class Gateway:
    """A client of one etcd cluster; `open_gateway` makes one."""

    address: EtcdAddress
    timing: EtcdTiming
    _http: httpx.AsyncClient
    _preferred: int = attrs.field(default=0, init=False)
    _token: str = attrs.field(default="", init=False)
    _login: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def __repr__(self) -> str:
        return f"<Gateway {self.endpoint} of {len(self.address.endpoints)}>"

    @property
    def endpoint(self) -> str:
        """Where the next request goes."""
        return self.address.endpoints[self._preferred]

    def leave(self, endpoint: str) -> None:
        """Try the next endpoint from now on, if this one is next: of many who failed there only the first moves on."""
        if self.endpoint == endpoint:
            self._preferred = (self._preferred + 1) % len(self.address.endpoints)

    # -- requests ------------------------------------------------------------------------------

    async def call(self, path: str, message: Message, *, changes: bool) -> Message:
        """One request and its answer. Raises EtcdRefusal, InvalidRequest, StoreUnavailable; and OutcomeUnknown if it `changes` something."""
        deadline = trio.current_time() + self.timing.request_seconds
        wait = self.timing.retry_first_seconds
        while True:
            reason = ""
            for _ in self.address.endpoints:
                endpoint = self.endpoint
                try:
                    return await self._admitted(endpoint, path, message)
                except NotSent as error:
                    reason = str(error)
                except (Lost, EtcdRefusal) as error:
                    reason = self._judge(error, endpoint, path, changes=changes)
                self.leave(endpoint)
            if trio.current_time() + wait > deadline:
                raise StoreUnavailable(
                    f"no endpoint of etcd answers ({', '.join(self.address.endpoints)}): {reason}"
                )
            await trio.sleep(wait)
            wait = min(2 * wait, self.timing.retry_most_seconds)

    def _judge(self, error: Lost | EtcdRefusal, endpoint: str, path: str, *, changes: bool) -> str:
        """Why to try again; raises when that must not be done."""
        if isinstance(error, EtcdRefusal):
            meaning = verdict(error)
            if meaning is Verdict.FINAL or (meaning is Verdict.LOGIN and not self.address.user):
                raise error
            if meaning in (Verdict.LATER, Verdict.LOGIN):
                return str(error)
        if changes:
            self.leave(endpoint)
            message = (
                f"{path} at {endpoint}: {error}; it may have happened: read before trying again"
            )
            raise OutcomeUnknown(message) from error
        return str(error)

    async def _once(self, endpoint: str, path: str, message: Message, token: str) -> Message:
        """Raises NotSent, Lost, EtcdRefusal, InvalidRequest."""
        body = _Body(message)
        request = _request(endpoint + path, body, token, self.timing, self.timing.request_seconds)
        with _translated(body), trio.fail_after(self.timing.request_seconds):
            response = await self._http.send(request)
        return _answer(response)

    # -- being let in --------------------------------------------------------------------------

    async def _admitted(self, endpoint: str, path: str, message: Message) -> Message:
        """A request with a token, and with another if that one is not taken any more."""
        token = await self._let_in(endpoint)
        try:
            return await self._once(endpoint, path, message, token)
        except EtcdRefusal as refusal:
            if not token or verdict(refusal) is not Verdict.LOGIN:
                raise
        self.forget_token(token)
        return await self._once(endpoint, path, message, await self._let_in(endpoint))

    def forget_token(self, token: str = "") -> None:
        """Log in before the next request; of a `token` only if it is still the one in use."""
        if not token or token == self._token:
            self._token = ""

    async def _let_in(self, endpoint: str) -> str:
        """The token to go with a request; empty without a user. Raises NotSent, EtcdRefusal."""
        if not self.address.user or self._token:
            return self._token
        async with self._login:  # one login for all who wait: etcd makes them slow on purpose
            if not self._token:
                login: Message = {"name": self.address.user, "password": self.address.password}
                try:
                    answer = await self._once(endpoint, "/v3/auth/authenticate", login, "")
                except (Lost, EtcdRefusal) as error:
                    if isinstance(error, EtcdRefusal) and verdict(error) is Verdict.FINAL:
                        raise
                    # What the login was for has not been sent.
                    raise NotSent(f"login: {error}") from error
                self._token = str(answer.get("token", ""))
            return self._token

    # -- streams -------------------------------------------------------------------------------

    async def follow(self, endpoint: str, path: str, message: Message, take: Take) -> None:
        """Give `take` what a stream brings, until it ends. Raises NotSent, Lost, Silent, EtcdRefusal, InvalidRequest and what `take` raises.

        A member of etcd that has no leader, as when it is cut off from the others, ends the stream.
        """
        token = await self._let_in(endpoint)
        body = _Body(message)
        request = _request(endpoint + path, body, token, self.timing, self.timing.silence_seconds)
        request.headers["Grpc-Metadata-hasleader"] = "true"  # rpctypes.MetadataRequireLeaderKey
        try:
            with _translated(body, silence=Silent):
                response = await self._http.send(request, stream=True)
                try:
                    if response.status_code != httpx.codes.OK:
                        await response.aread()
                        _answer(response)
                    await _read(response, take)
                finally:
                    await response.aclose()
        except EtcdRefusal as refusal:
            if verdict(refusal) is Verdict.LOGIN:
                self.forget_token(token)
            raise
        raise Lost("the stream has ended")


async def _read(response: httpx.Response, take: Take) -> None:
    """Read to the end. What `take` raises ends the reading by cancellation: a generator of httpx that is left early is not closed."""
    begun: list[bytes] = []
    failure: Exception | None = None
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_bytes():
            whole, newline, rest = chunk.rpartition(b"\n")
            if not newline or failure is not None:
                begun.append(chunk)
                continue
            lines = b"".join((*begun, whole)).split(b"\n")
            begun = [rest]
            try:
                for line in filter(None, lines):
                    take(_told(line))
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
                scope.cancel()
    if failure is not None:
        raise failure
    if line := b"".join(begun):
        take(_told(line))  # why the stream ends stands in a line without an end


def _request(
    url: str, body: _Body, token: str, timing: EtcdTiming, silence_seconds: float
) -> httpx.Request:
    """A request as it is sent; httpx adds no header to one whose body is a stream. Raises InvalidRequest."""
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body.octets))}
    if token:
        headers["Authorization"] = token
    timeout = httpx.Timeout(
        connect=timing.connect_seconds,
        write=timing.request_seconds,
        read=silence_seconds,
        pool=None,
    )
    extensions = {"timeout": timeout.as_dict()}
    request = httpx.Request("POST", url, headers=headers, stream=body, extensions=extensions)
    request.headers["Host"] = request.url.netloc.decode("ascii")
    return request


@contextmanager
def _translated(body: _Body, silence: type[Lost] = Lost) -> Iterator[None]:
    """What sending `body` and reading the answer can meet, as what that means. Raises NotSent, Lost, `silence`, InvalidRequest."""
    try:
        yield
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol) as error:
        raise InvalidRequest(f"a request that HTTP does not allow: {_text(error)}") from error
    except httpx.ReadTimeout as error:
        raise silence(_text(error)) from error
    except (httpx.HTTPError, trio.TooSlowError) as error:
        raise (Lost if body.sent else NotSent)(_text(error)) from error


def _told(line: bytes) -> Message:
    """The message in a line of a stream. Raises EtcdRefusal, Lost."""
    message = _message(line)
    if message is None or not isinstance(message.get("result", message.get("error")), dict):
        raise Lost(f"no message of an etcd: {line[:80]!r}")
    if "error" in message:
        raise _refusal(message, 0)
    return cast("Message", message["result"])


def _answer(response: httpx.Response) -> Message:
    """The message of an answer. Raises EtcdRefusal, Lost."""
    message = _message(response.content)
    refused = response.status_code != httpx.codes.OK or (message and "error" in message)
    if message is None or not (refused or "header" in message or "result" in message):
        raise Lost(f"no answer of an etcd: {response.status_code} {response.text[:80]!r}")
    if refused:
        raise _refusal(message, response.status_code)
    return message


def _message(octets: bytes) -> Message | None:
    """A message of its JSON; None for anything else."""
    try:
        message = json.loads(octets)
    except ValueError:
        return None
    return cast("Message", message) if isinstance(message, dict) else None


def _refusal(message: Message, status: int) -> EtcdRefusal:
    """What an answer that is none says: at its top, or, of a request that is a stream to etcd, within `error`."""
    nested = message.get("error")
    fields = nested if isinstance(nested, dict) else message
    code = fields.get("grpc_code", fields.get("code"))
    text = fields.get("message") or nested or f"status {status}"
    return EtcdRefusal(code if isinstance(code, int) else 0, str(text))


def _text(error: Exception) -> str:
    """What went wrong; what TLS has to say is found at the end of the chain."""
    texts = [type(error).__name__]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # trio tries all addresses of a host
            texts += [str(each) for each in cause.exceptions]
            break
        texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return ": ".join(dict.fromkeys(text for text in texts if text))


@asynccontextmanager
async def open_gateway(address: EtcdAddress, timing: EtcdTiming) -> AsyncIterator[Gateway]:
    """A client with its connections, which end with the block. Raises InvalidRequest for files of TLS that are none."""
    transport = httpx.AsyncHTTPTransport(
        verify=_tls(address) if address.endpoints[0].startswith("https") else False,
        trust_env=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        socket_options=_KEEPALIVE,
    )
    async with httpx.AsyncClient(transport=transport) as http:
        yield Gateway(address, timing, http)


def _tls(address: EtcdAddress) -> ssl.SSLContext:
    """Whom to believe, and who we are. Raises InvalidRequest."""
    named = address.ca
    try:
        context = ssl.create_default_context(cafile=named or None)
        if address.cert:
            named = f"{address.cert}, {address.key}"
            # Of a key that is locked the system would ask whoever sits at the terminal.
            context.load_cert_chain(address.cert, address.key, password=str)
    except OSError as error:  # so are the errors of ssl
        raise InvalidRequest(f"{named}: {error.strerror or error}") from error
    return context
