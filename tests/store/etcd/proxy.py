"""An HTTP proxy in front of a real etcd that answers some requests itself, and badly: what a network and an etcd in trouble do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import attrs
import h11
import httpx
import trio

Rule: TypeAlias = Callable[[str, bytes], "bytes | None"]
"""Takes the path and the body of a request, and gives what to send in place of etcd's answer; None passes the request on."""

SILENCE: Final = b"(says nothing, and stays)"
HANG_UP: Final = b"(hangs up)"
DRIBBLE: Final = b"(one byte now and then, for ever)"


def answer(status: int, body: str) -> bytes:
    """An answer that is whole."""
    octets = body.encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(octets), octets)


def stream(*lines: str) -> bytes:
    """A stream of lines, which ends with them."""
    octets = "".join(f"{line}\n" for line in lines).encode()
    return b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(octets),
        octets,
    )


@attrs.define(eq=False)
class Proxy:
    """Between a store and its etcd; `opened_proxy` makes one."""

    etcd: str
    rule: Rule
    port: int = 0
    paths: list[str] = attrs.field(factory=list)
    """Of all requests, in order."""
    connections: int = 0
    held: bool = False
    """Nothing that etcd says on a stream is passed on any more."""

    def count(self, path: str) -> int:
        """How many requests there were."""
        return self.paths.count(path)

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection."""
        self.connections += 1
        async with client:
            try:
                while await self._request(client):
                    pass
            except (trio.BrokenResourceError, h11.RemoteProtocolError, httpx.HTTPError):
                pass

    async def _request(self, client: trio.SocketStream) -> bool:
        http = h11.Connection(h11.SERVER)
        path, body = "", b""
        while True:
            event = http.next_event()
            if isinstance(event, h11.Request):
                path = event.target.decode()
                headers = [(k, v) for k, v in event.headers if k != b"host"]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return False
            else:
                http.receive_data(await client.receive_some())
        self.paths.append(path)
        said = self.rule(path, body)
        if said is None:
            return await self._forward(client, path, headers, body)
        return await _say(client, said)

    async def _forward(
        self, client: trio.SocketStream, path: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> bool:
        timeout = httpx.Timeout(10, read=None)
        async with httpx.AsyncClient(trust_env=False, timeout=timeout) as http:
            request = http.build_request("POST", self.etcd + path, headers=headers, content=body)
            async with _sent(http, request) as response:
                await client.send_all(
                    b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % response.status_code
                )
                gone = False
                # A generator of httpx that is left early is not closed: so the reading is ended by cancellation.
                with trio.CancelScope() as scope:
                    async for chunk in response.aiter_bytes():
                        if self.held and path == "/v3/watch":
                            scope.cancel()
                        elif chunk and not gone:
                            try:
                                await client.send_all(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                            except trio.BrokenResourceError:
                                gone = True
                                scope.cancel()
                if gone:
                    return False
                if scope.cancelled_caught:
                    await trio.sleep_forever()
                await client.send_all(b"0\r\n\r\n")
        return True


@asynccontextmanager
async def _sent(http: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    response = await http.send(request, stream=True)
    try:
        yield response
    finally:
        await response.aclose()


async def _say(client: trio.SocketStream, said: bytes) -> bool:
    if said == SILENCE:
        await trio.sleep_forever()
    if said == DRIBBLE:
        await client.send_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await client.send_all(b" ")
            await trio.sleep(0.05)
    if said == HANG_UP:
        return False
    await client.send_all(said)
    return True


@asynccontextmanager
async def opened_proxy(etcd: str, rule: Rule) -> AsyncIterator[Proxy]:
    """A proxy in front of the etcd of that URL."""
    proxy = Proxy(etcd, rule)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy.port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener], name="proxy")
        yield proxy
        nursery.cancel_scope.cancel()
