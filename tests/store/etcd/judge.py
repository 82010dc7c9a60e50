"""Real etcd as the judge: its JSON gateway by plain blocking calls, with answers as records of the store."""

from __future__ import annotations

import json
import socket
import ssl
import time
from typing import Final, cast

import attrs
import h11
import httpx

from store.errors import StoreError
from store.etcd_errors import REFUSALS
from store.etcd_wire import (
    Message,
    Wire,
    encoded,
    flag,
    head_of,
    key_of,
    key_range,
    number,
    part,
    parts,
)
from store.records import EventType, Get, KeyValue, LeaseStatus, Revision, Txn, TxnResult

PATIENCE_SECONDS: Final = 10.0
"""What has not come by then is missing."""


class Refused(Exception):
    """etcd refused, in a way that the store has an error for."""

    def __init__(self, kind: type[StoreError], text: str) -> None:
        super().__init__(f"{kind.__name__}: {text}")
        self.kind = kind


class WatchEnded(Exception):
    """etcd cancelled the watch: the revision that is compacted."""

    def __init__(self, compacted: int) -> None:
        super().__init__(f"compacted at {compacted}")
        self.compacted = compacted


@attrs.frozen(kw_only=True)
class Seen:
    """One event as a watch shows it."""

    type: EventType
    key: str
    value: object
    revision: int
    create_revision: int
    version: int
    lease: int
    previous: KeyValue | None = None


@attrs.define(eq=False)
class JudgeWatch:
    """A watch of real etcd: one connection, read without losing anything when nothing comes."""

    wire: Wire
    _socket: socket.socket
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT), init=False)
    _text: bytes = attrs.field(default=b"", init=False)
    progress: int = attrs.field(default=0, init=False)
    """The newest revision that a response without events told."""
    notifications: int = attrs.field(default=0, init=False)
    last: int = attrs.field(default=0, init=False)
    """The revision of the last event."""
    refused: str = attrs.field(default="", init=False)
    """Why etcd ended the watch at once."""

    @classmethod
    def open(cls, wire: Wire, port: int, request: Message) -> JudgeWatch:
        """Open it, and wait until etcd says that it is."""
        watch = cls(wire, socket.create_connection(("127.0.0.1", port)))
        body = json.dumps({"create_request": request}).encode()
        headers = [("Host", f"127.0.0.1:{port}"), ("Content-Length", str(len(body)))]
        head = h11.Request(method="POST", target="/v3/watch", headers=headers)
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            watch._socket.sendall(watch._http.send(event) or b"")
        created = watch._response(PATIENCE_SECONDS)
        assert created is not None, "no answer to a watch"
        assert flag(created, "created"), f"a watch that is not created: {created}"
        watch.refused = str(created.get("cancel_reason", ""))
        return watch

    def _response(self, seconds: float) -> Message | None:
        """The next response, if one comes in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                self._text += bytes(event.data)
            elif event is h11.NEED_DATA:
                self._socket.settimeout(max(0.0005, deadline - time.monotonic()))
                try:
                    octets = self._socket.recv(65536)
                except (TimeoutError, BlockingIOError):
                    return None
                self._http.receive_data(octets)
            else:
                assert isinstance(event, h11.Response), f"a watch ended: {event}"
        line, _, self._text = self._text.partition(b"\n")
        message = cast("Message", json.loads(line))
        assert "result" in message, f"a watch failed: {message}"
        return part(message, "result")

    def receive(self, seconds: float) -> list[Seen] | None:
        """The events of the next response; None when none comes. Raises WatchEnded."""
        response = self._response(seconds)
        if response is None:
            return None
        if flag(response, "canceled"):
            raise WatchEnded(number(response, "compact_revision"))
        events = [self._seen(each) for each in parts(response, "events")]
        self._check(events, head_of(response))
        return [event for event in events if event is not None]

    def _check(self, events: list[Seen | None], head: int) -> None:
        """The validators of etcd's own robustness suite: ordered, unique, atomic, bookmarkable."""
        if not events:
            assert head >= max(self.progress, self.last), "progress went back"
            self.progress = head
            self.notifications += 1
        revisions = [event.revision for event in events if event is not None]
        if revisions:
            assert revisions == sorted(revisions), "out of order"
            assert revisions[0] > self.last, "a revision came in two parts, or twice"
            assert revisions[0] > self.progress, "progress was told before its events"
            self.last = revisions[-1]

    def _seen(self, message: Message) -> Seen | None:
        kv = part(message, "kv")
        key = key_of(kv)
        if key is None:
            return None
        deleted = message.get("type") == "DELETE"
        state = self.wire.key_value(kv, keys_only=deleted)
        assert state is not None
        previous = part(message, "prev_kv")
        return Seen(
            type=EventType.DELETE if deleted else EventType.PUT,
            key=key,
            value=state.value,
            revision=state.mod_revision,
            create_revision=state.create_revision,
            version=state.version,
            lease=state.lease,
            previous=self.wire.key_value(previous) if previous else None,
        )

    def close(self) -> None:
        """Give the connection up."""
        self._socket.close()


@attrs.define(eq=False)
class Judge:
    """A client of a real etcd on loopback."""

    wire: Wire
    port: int
    tls: ssl.SSLContext | None = None
    _http: httpx.Client = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._http = httpx.Client(
            base_url=f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}",
            verify=self.tls or False,
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )

    def close(self) -> None:
        """Give the connections up."""
        self._http.close()

    def call(self, path: str, message: Message) -> Message:
        """One request. Raises Refused."""
        response = self._http.post(path, json=message)
        answer = cast("Message", json.loads(response.text))
        if response.status_code != httpx.codes.OK:
            text = str(answer.get("error"))
            raise Refused(REFUSALS[text], text)
        return answer

    # -- keys ----------------------------------------------------------------------------------

    def txn(self, txn: Txn) -> TxnResult:
        r"""Run a transaction.

        Its ranges without an end are given one above all text: etcd 3.5.1 does not know the end "\0" when it looks for keys changed twice, so that it does both,
        or panics (server/etcdserver/api/v3rpc/key.go, checkIntervals). docs/store.md lists it.
        """
        message = Wire(self.wire.codec).txn(txn)
        return self.wire.txn_result(txn, self.call("/v3/kv/txn", message))

    def compact(self, revision: int, *, physical: bool) -> None:
        """Compact; physically means that the answer waits until it is done on disk."""
        self.call("/v3/kv/compaction", {"revision": str(revision), "physical": physical})

    def head(self) -> Revision:
        """The newest revision."""
        return head_of(self.call("/v3/kv/range", self.wire.range(Get("a", count_only=True))))

    def clear(self) -> Revision:
        """Delete all keys, end all leases, and return a revision of its own with nothing in it that is text."""
        for lease in self.leases():
            self.revoke(lease)
        self.call("/v3/kv/deleterange", key_range("\0", "\0", above_text=True))
        self.call("/v3/kv/put", {"key": encoded(b"\xff")})
        return head_of(self.call("/v3/kv/deleterange", {"key": encoded(b"\xff")}))

    # -- leases --------------------------------------------------------------------------------

    def grant(self, ttl_seconds: int, lease: int) -> LeaseStatus:
        """Grant a lease."""
        answer = self.call("/v3/lease/grant", {"TTL": str(ttl_seconds), "ID": str(lease)})
        ttl = number(answer, "TTL")
        return LeaseStatus(id=number(answer, "ID"), granted_seconds=ttl, remaining_seconds=ttl)

    def keep_alive(self, lease: int) -> int:
        """Prolong a lease; returns its time in seconds, 0 for none."""
        return number(part(self.call("/v3/lease/keepalive", {"ID": str(lease)}), "result"), "TTL")

    def revoke(self, lease: int) -> Revision:
        """End a lease."""
        return head_of(self.call("/v3/lease/revoke", {"ID": str(lease)}))

    def time_to_live(self, lease: int) -> LeaseStatus | None:
        """The status of a lease; None for none."""
        answer = self.call("/v3/lease/timetolive", {"ID": str(lease), "keys": True})
        if number(answer, "TTL") < 0:
            return None
        keys = cast("list[str]", answer.get("keys", []))
        return LeaseStatus(
            id=number(answer, "ID"),
            granted_seconds=number(answer, "grantedTTL"),
            remaining_seconds=number(answer, "TTL"),
            keys=tuple(sorted(str(key_of({"key": key})) for key in keys)),
        )

    def leases(self) -> tuple[int, ...]:
        """The ids of all leases, in order."""
        answer = self.call("/v3/lease/leases", {})
        return tuple(sorted(number(each, "ID") for each in parts(answer, "leases")))

    # -- watches -------------------------------------------------------------------------------

    def watch(self, request: Message) -> JudgeWatch:
        """Open a watch on a connection of its own."""
        return JudgeWatch.open(self.wire, self.port, request)
