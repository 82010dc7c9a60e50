"""A disk that fails: the file layer under the crash tests.

It keeps for each file what the disk surely has (`durable`) and the operations since the last sync (`pending`). A crash is met at a chosen call,
and `after_crash` says what the next process finds. What was not synced may be

    kept       all of it: the process was killed, the operating system lives on
    lost       none of it
    prefix     the first operations, the last of them cut at any byte
    subset     any of the 512-byte sectors written, the others as they were (holes read as zeros); a sector that was written several times is as it
               was after any of them, and never without an earlier one: it is written back from one page, whole

and a file or the removal of a file may be lost too when its directory was not synced. A sync that fails leaves the pages clean, whatever of them the disk
has (determinism-and-chaos.md 4.3), so that a second sync would succeed and mean nothing.
"""

from __future__ import annotations

import errno
import os
from enum import Enum
from pathlib import Path
from random import Random

import attrs

from store import AppendFile

SECTOR = 512


class Crash(BaseException):
    """The machine stops here; nothing below catches it."""


class Survival(Enum):
    """What of the unsynced operations the next process finds."""

    KEPT = "kept"
    LOST = "lost"
    PREFIX = "prefix"
    SUBSET = "subset"


@attrs.frozen
class Write:
    """Bytes at an offset."""

    offset: int
    data: bytes


@attrs.frozen
class Truncate:
    """The file was cut."""

    size: int


@attrs.define(eq=False)
class Content:
    """One file."""

    durable: bytes = b""
    pending: list[Write | Truncate] = attrs.field(factory=list)
    named: bool = False
    """Whether the directory that names it was synced since."""

    def now(self) -> bytes:
        """As the operating system shows it."""
        return apply(self.durable, self.pending)

    def found(self, survival: Survival, random: Random) -> bytes:
        """As the next process finds it."""
        match survival:
            case Survival.KEPT:
                return self.now()
            case Survival.LOST:
                return self.durable
            case Survival.PREFIX:
                kept = self.pending[: random.randint(0, len(self.pending))]
                if kept and isinstance(last := kept[-1], Write):
                    cut = random.randint(0, len(last.data))
                    kept[-1] = Write(last.offset, last.data[:cut])
                return apply(self.durable, kept)
            case Survival.SUBSET:
                return apply(self.durable, self._written_back(random))

    def _written_back(self, random: Random) -> list[Write | Truncate]:
        """What of the unsynced operations reached the disk, sector by sector."""
        kept: list[Write | Truncate] = []
        stale: dict[int, None] = {}
        for piece in (piece for operation in self.pending for piece in sectors(operation)):
            lost = random.random() >= 0.7
            if isinstance(piece, Write):
                sector = piece.offset // SECTOR
                if lost:
                    stale[sector] = None
                lost = sector in stale
            if not lost:
                kept.append(piece)
        return kept


def sectors(operation: Write | Truncate) -> list[Write | Truncate]:
    """An operation in pieces that a disk does wholly or not at all."""
    if isinstance(operation, Truncate):
        return [operation]
    pieces: list[Write | Truncate] = []
    position, end = operation.offset, operation.offset + len(operation.data)
    while position < end:
        stop = min(end, position - position % SECTOR + SECTOR)
        pieces.append(
            Write(position, operation.data[position - operation.offset : stop - operation.offset])
        )
        position = stop
    return pieces


def apply(image: bytes, operations: list[Write | Truncate]) -> bytes:
    """A file after operations; what was never written reads as zeros."""
    data = bytearray(image)
    for operation in operations:
        if isinstance(operation, Truncate):
            del data[operation.size :]
            continue
        data.extend(bytes(max(0, operation.offset - len(data))))
        data[operation.offset : operation.offset + len(operation.data)] = operation.data
    return bytes(data)


@attrs.define(eq=False)
class FaultyFile:
    """An open file of a FaultyLayer."""

    layer: FaultyLayer
    path: Path
    locks: bool = False
    size: int = 0

    @property
    def content(self) -> Content:
        return self.layer.files[self.path]

    def write(self, data: bytes) -> int:
        taken = len(data)
        fault = self.layer.step(lambda: self._take(data))
        if fault:
            raise OSError(fault, os.strerror(fault))
        taken = min(taken, self.layer.most_at_once)
        self._take(data[:taken])
        return taken

    def _take(self, data: bytes) -> None:
        self.content.pending.append(Write(self.size, data))
        self.size += len(data)

    def sync(self) -> None:
        fault = self.layer.step()
        content = self.content
        if fault:
            self.layer.sync_failed = True
            content.durable = content.found(Survival.SUBSET, self.layer.random)
            content.pending.clear()
            raise OSError(fault, os.strerror(fault))
        content.durable = content.now()
        content.pending.clear()

    def truncate(self, size: int) -> None:
        self.layer.step()
        self.content.pending.append(Truncate(size))
        self.size = size

    def close(self) -> None:
        if self.locks:
            self.layer.locks.pop(self.path, None)


def dice(seed: int) -> Random:
    """What a crash does, repeatably."""
    return Random(seed)  # noqa: S311 - no secret


@attrs.define(eq=False)
class FaultyLayer:
    """Directories are whatever paths lie in. Every call that changes something is one step, counted from 0."""

    files: dict[Path, Content] = attrs.field(factory=dict)
    directories: dict[Path, None] = attrs.field(factory=dict)
    removed: dict[Path, Content] = attrs.field(factory=dict)
    """Removed, but the directory was not synced since."""
    locks: dict[Path, None] = attrs.field(factory=dict)
    crash_at: int = -1
    """The step at which the machine stops (-1: never)."""
    faults: dict[int, int] = attrs.field(factory=dict)
    """The error number of a step that fails; only steps that can fail so do."""
    most_at_once: int = 1 << 30
    """A write takes so many bytes at most."""
    sync_failed: bool = False
    random: Random = attrs.field(factory=lambda: dice(0))
    steps: int = 0

    @property
    def writes_short(self) -> bool:
        """Whether a write may take less than it was given, and be followed by another."""
        return self.most_at_once < 1 << 30

    def step(self, half_done: object = None) -> int:
        """Count a step; returns its error number. Raises Crash, after half the work."""
        number, self.steps = self.steps, self.steps + 1
        if number == self.crash_at:
            if callable(half_done):
                half_done()
            raise Crash
        return self.faults.get(number, 0)

    def after_crash(self, survival: Survival, random: Random) -> FaultyLayer:
        """The disk that the next process finds."""
        files: dict[Path, Content] = {}
        for path, content in {**self.removed, **self.files}.items():
            unsure = survival is not Survival.KEPT and not content.named
            gone_for_sure = survival is Survival.KEPT and path not in self.files
            if gone_for_sure or (unsure and (survival is Survival.LOST or random.random() < 0.5)):
                continue
            if path not in self.files and random.random() < 0.5:
                continue
            files[path] = Content(content.found(survival, random), [], named=True)
            if survival is Survival.KEPT:
                # Nothing was lost, and nothing is safer than before.
                kept = Content(content.durable, list(content.pending), named=content.named)
                files[path] = kept
        return FaultyLayer(files=files, directories=dict(self.directories), random=random)

    def make_directory(self, path: Path) -> None:
        self.directories[path] = None

    def exists(self, path: Path) -> bool:
        return path in self.directories or path in self.files

    def names(self, path: Path) -> list[str]:
        if path not in self.directories:
            raise FileNotFoundError(errno.ENOENT, str(path))
        return sorted(file.name for file in self.files if file.parent == path)

    def read(self, path: Path, most: int = -1) -> bytes:
        data = self.files[path].now()
        return data if most < 0 else data[:most]

    def append(self, path: Path) -> AppendFile:
        fault = self.step()
        if fault == errno.ENOSPC:
            raise OSError(fault, os.strerror(fault))
        content = self.files.setdefault(path, Content())
        return FaultyFile(self, path, size=len(content.now()))

    def sync_directory(self, path: Path) -> None:
        fault = self.step()
        if fault:
            raise OSError(fault, os.strerror(fault))
        for file, content in self.files.items():
            if file.parent == path:
                content.named = True
        self.removed = {file: old for file, old in self.removed.items() if file.parent != path}

    def lock(self, path: Path) -> AppendFile:
        if path in self.locks:
            raise BlockingIOError(errno.EAGAIN, str(path))
        self.locks[path] = None
        self.files.setdefault(path, Content(named=True))
        return FaultyFile(self, path, locks=True)

    def remove(self, path: Path) -> None:
        self.step()
        self.removed[path] = self.files.pop(path)

    def remove_directory(self, path: Path) -> None:
        self.directories.pop(path, None)
