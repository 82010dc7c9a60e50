"""What writing costs: the store in every durability, the floor below it, and a real etcd on the same disk. Part of `benchmarks.store`."""

from __future__ import annotations

import base64
import gc
import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import attrs
import msgpack
import trio

from store import Durability, Limits, Origin, Put, Store, Txn, open_store
from store.core import Core
from store.filelog import FileJournal
from store.files import DISK
from tests.store.etcd.process import EtcdProcess, etcd_binary

VALUE = b"v" * 1024
KEYS = 1000
WRITERS = 64
USER = Origin("benchmark", "", ("benchmark",))


class BytesCodec:
    """Values are bytes already: what an encoder costs is not the store's."""

    def encode(self, value: object) -> bytes:
        assert isinstance(value, bytes)
        return value

    def decode(self, data: bytes) -> object:
        return data


CODEC = BytesCodec()


@attrs.frozen
class Rate:
    """Writes per second of wall time, and the share of one processor that this process took meanwhile."""

    per_second: float
    processor: float

    @property
    def microseconds(self) -> float:
        """Wall time of one."""
        return 1e6 / self.per_second


def timed(work: Callable[[], int], rounds: int = 5) -> Rate:
    """The best of a few rounds; `work` returns how many writes it did. Without collections, as a simulation runs (engine.sim)."""
    best = Rate(0.0, 0.0)
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        start, busy = time.perf_counter(), time.process_time()
        count = work()
        seconds = time.perf_counter() - start
        gc.enable()
        best = max(
            best,
            Rate(count / seconds, (time.process_time() - busy) / seconds),
            key=lambda rate: rate.per_second,
        )
    return best


def floor(folder: Path, count: int, *, gather: int = 1, sync: bool = False) -> Rate:
    """Pack, checksum and write in a bare loop; one write, and one sync, for each `gather` records."""
    pack = msgpack.Packer(autoreset=True).pack
    path = folder / "floor"

    def work() -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
        gathered: list[bytes] = []
        for number in range(count):
            data = pack((0, f"key/{number % KEYS}", VALUE, number, 1, 1, 1, 0, 0, "a", "", ("b",)))
            gathered += (crc32(data).to_bytes(4, "little"), data)
            if number % gather == gather - 1:
                os.write(descriptor, b"".join(gathered))
                gathered.clear()
                if sync:
                    os.fsync(descriptor)
        os.close(descriptor)
        path.unlink()
        return count

    return timed(work)


def log_append(folder: Path, count: int, durability: Durability) -> Rate:
    """The store without its scheduler: transaction, history, log, in one step each."""
    numbers = iter(range(100))

    def work() -> int:
        path = folder / f"core-{durability.value}-{next(numbers)}.wtl"
        journal = FileJournal(path, CODEC, durability, Limits(), DISK)
        journal.create({})
        core = Core(journal, CODEC, Limits())
        for number in range(count):
            core.commit(Txn(success=(Put(f"key/{number % KEYS}", VALUE),)), USER, number)
        journal.close()
        return count

    return timed(work)


def store_put(folder: Path, count: int, durability: str, writers: int, batch: int = 1) -> Rate:
    """Whole puts: called, committed, settled and answered; `batch` puts in each transaction."""
    numbers = iter(range(100))

    async def write(store: Store, writer: int, each: int) -> None:
        for number in range(each):
            puts = tuple(
                Put(f"key/{(writer + number + part * 7) % KEYS}", VALUE) for part in range(batch)
            )
            await store.txn(Txn(success=puts), origin=USER)

    async def main() -> int:
        path = folder / f"{durability}-{writers}-{batch}-{next(numbers)}.wtl"
        each = count // writers // batch
        async with (
            open_store(path, codec=CODEC, durability=durability) as store,
            trio.open_nursery() as nursery,
        ):
            for writer in range(writers):
                nursery.start_soon(write, store, writer, each)
        return each * writers * batch

    return timed(partial(trio.run, main))


# -- etcd ----------------------------------------------------------------------------------------


def etcd_put(folder: Path, count: int, clients: int) -> Rate | None:
    """Puts to a real etcd, with its fsyncs, over so many connections of its JSON gateway; None without a binary.

    The client is this process: raw sockets and requests made beforehand; its share of a processor is in the rate.
    """
    if etcd_binary() is None:
        return None
    etcd = EtcdProcess(data=folder / f"etcd-{clients}", arguments=())
    etcd.start()
    try:
        return timed(partial(_put_over, etcd.client_port, count, clients), rounds=2)
    finally:
        etcd.kill()


def _put_over(port: int, count: int, clients: int) -> int:
    requests = [_request(number) for number in range(KEYS)]
    sent = answered = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(requests[sent % KEYS])
            selector.register(connection, selectors.EVENT_READ)
            sent += 1
        while answered < count:
            for key, _ in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                answer = connection.recv(65536)
                # A put's answer is one small segment.
                assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
                answered += 1
                if sent < count:
                    connection.sendall(requests[sent % KEYS])
                    sent += 1
        for entry in list(selector.get_map().values()):
            entry.fileobj.close()  # type: ignore[union-attr]
    return count


def _request(number: int) -> bytes:
    body = json.dumps(
        {
            "key": base64.b64encode(b"key/%d" % number).decode(),
            "value": base64.b64encode(VALUE).decode(),
        }
    ).encode()
    head = f"POST /v3/kv/put HTTP/1.1\r\nHost: e\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
