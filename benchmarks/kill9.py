"""Kills a writing process at random moments, and looks for what it was told was safe: `python -m benchmarks.kill9 --kills N`.

A child opens the log (made, or continued where the last one was killed) and writes from several tasks; after each acknowledgement it says
so through a pipe: writer, number, revision. The parent kills it with SIGKILL: while it recovers, while it writes, while a segment or a snapshot is
begun or the oldest segments are dropped. Then it reads the log as anybody would, and every write acknowledged since the log was begun must be there at
its revision; the writes of one writer must be in order and without a gap. Every `--per-log` kills a new log is begun. Children are forked, so that
a kill costs milliseconds, not a start of the interpreter. The last line reads `N kills, L lost`.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import attrs
import trio

from store import Event, Keep, Limits, LogError, Origin, Put, Txn, open_store, read_log

WRITERS = 6
LONGEST_SECONDS = 0.03
"""A child lives so long at most once it has begun; half of the children much less."""

ACK = Struct("<HIQ")
"""Writer, its number, revision."""

LIMITS = Limits(segment_bytes=24 * 1024, snapshot_bytes=1)
KEPT = 500
"""Revisions that every other log keeps at least."""
USER = Origin("kill9", "", ("benchmark",))


class TextCodec:
    """Values are text."""

    def encode(self, value: object) -> bytes:
        return str(value).encode()

    def decode(self, data: bytes) -> object:
        return data.decode()


CODEC = TextCodec()


async def write_for_ever(
    path: Path, durability: str, keep: Keep, resume: bool, acknowledgements: int
) -> None:
    """The child: says on the pipe what it was told is durable."""
    async with (
        open_store(
            path, codec=CODEC, durability=durability, resume=resume, keep=keep, limits=LIMITS
        ) as store,
        trio.open_nursery() as nursery,
    ):
        os.write(acknowledgements, ACK.pack(0, 0, store.head))

        async def write(writer: int) -> None:
            found = (await store.range(f"writer/{writer}")).kvs
            number = int(str(found[0].value).split()[0]) if found else 0
            while True:
                number += 1
                value = f"{number} " + "x" * (number * 37 % 1500)
                puts = (Put(f"writer/{writer}", value), Put(f"other/{number % 50}", value))
                result = await store.txn(
                    Txn(success=puts[: 1 + number % 2]), origin=Origin(f"writer/{writer}")
                )
                os.write(acknowledgements, ACK.pack(writer, number, result.revision))

        for writer in range(1, WRITERS + 1):
            nursery.start_soon(write, writer)


@attrs.define(eq=False)
class Log:
    """One log, killed again and again, and all that was acknowledged of it."""

    path: Path
    durability: str
    keep: Keep
    acknowledged: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    """(writer, number) by revision."""
    opened: bool = False
    """Whether a child has ever said that it was open."""

    def kill_one(self) -> None:
        """Start a child and kill it."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                trio.run(
                    write_for_ever,
                    self.path,
                    self.durability,
                    self.keep,
                    self.path.exists(),
                    writing,
                )
            except BaseException as error:  # noqa: BLE001 - a forked child must not return
                sys.stderr.write(f"a child failed: {error!r}\n")
            os._exit(1)
        os.close(writing)
        said = b""
        if random.random() < 0.8:  # noqa: S311 - no secret
            # Else it dies at some moment of its recovery.
            said = os.read(reading, ACK.size)
        limit = random.choice((LONGEST_SECONDS / 8, LONGEST_SECONDS))  # noqa: S311
        said += _read_for(reading, random.uniform(0, limit))  # noqa: S311
        os.kill(child, signal.SIGKILL)
        while part := os.read(reading, 1 << 16):
            said += part
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit("a child ended before it was killed")
        for writer, number, revision in ACK.iter_unpack(said[: len(said) // ACK.size * ACK.size]):
            self.opened = True
            if writer:
                self.acknowledged[revision] = (writer, number)

    def lost(self) -> int:
        """How many acknowledged writes are not there. A log that cannot be read has lost all."""
        try:
            log = read_log(self.path, CODEC, limits=LIMITS)
            log.verify()
            there = dict(_writes(log.events(), self.keep))
        except LogError as error:
            if not self.opened:
                return 0
            sys.stderr.write(f"{self.path}: {error}\n")
            return len(self.acknowledged) or 1
        oldest = min(there, default=0) if self.keep != Keep.all() else 0
        if oldest:
            assert max(there) - oldest >= min(KEPT, max(there)) - WRITERS - 2
        return sum(
            there.get(at) != write for at, write in self.acknowledged.items() if at >= oldest
        )

    def begin_anew_if_unmade(self) -> None:
        """A log killed before its first record was written is no log; it is removed, as its error says."""
        if not self.opened and self.path.exists():
            shutil.rmtree(self.path)


def _read_for(descriptor: int, seconds: float) -> bytes:
    """Read what comes within a time, so that the pipe does not fill."""
    deadline = time.perf_counter() + seconds
    said = b""
    while (rest := deadline - time.perf_counter()) > 0:
        if select.select([descriptor], [], [], rest)[0]:
            part = os.read(descriptor, 1 << 16)
            if not part:
                break
            said += part
    return said


def _writes(events: Iterator[Event], keep: Keep) -> Iterator[tuple[int, tuple[int, int]]]:
    """(revision, (writer, number)) of the writers' own keys, checked to be in order and without a gap."""
    numbers: dict[int, int] = {}
    for event in events:
        if not event.key.startswith("writer/"):
            continue
        writer, number = int(event.key.split("/")[1]), int(str(event.value).split()[0])
        begins = writer not in numbers and keep != Keep.all()
        if not begins and number != numbers.get(writer, 0) + 1:
            raise SystemExit(f"writer {writer}: {number} follows {numbers.get(writer, 0)}")
        numbers[writer] = number
        yield event.revision, (writer, number)


def run(kills: int, per_log: int, folder: Path) -> tuple[int, int]:
    """Kill so many children; returns how many writes were acknowledged, and how many of them lost."""
    acknowledged = lost = 0
    log = Log(folder / "0.wtl", "fsync", Keep.all())
    for kill in range(kills):
        if kill % per_log == 0 and kill:
            acknowledged += len(log.acknowledged)
            shutil.rmtree(log.path, ignore_errors=True)
            turn = kill // per_log
            keep = Keep.revisions(KEPT) if turn // 2 % 2 else Keep.all()
            log = Log(folder / f"{kill}.wtl", ("fsync", "buffered")[turn % 2], keep)
        log.begin_anew_if_unmade()
        log.kill_one()
        lost += log.lost()
    return acknowledged + len(log.acknowledged), lost


def main() -> int:
    """Read the options, kill, and say what was lost; 1 when there was anything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill9", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--per-log", type=int, default=20, help="kills before a new log is begun")
    parser.add_argument("--folder", type=Path, default=None, help="where the logs lie")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the moments; 0 takes another each time"
    )
    options = parser.parse_args()
    seed = options.seed or time.time_ns()
    random.seed(seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        acknowledged, lost = run(options.kills, options.per_log, Path(folder))
    seconds = time.perf_counter() - start
    print(f"seed {seed}: {acknowledged} writes acknowledged in {seconds:.1f} s")
    print(f"{options.kills} kills, {lost} lost")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
