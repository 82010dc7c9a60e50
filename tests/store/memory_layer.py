"""A file layer in memory: what the tests put under a log to look at its bytes and to damage them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import attrs

from store import AppendFile


@attrs.define(eq=False)
class MemoryFile:
    """A file of a MemoryLayer."""

    layer: MemoryLayer
    path: Path
    locked: bool = False

    def write(self, data: bytes) -> int:
        self.layer.calls.append("write")
        if self.layer.write_errno:
            taken = min(self.layer.short_write, len(data))
            self.layer.files[self.path] += data[:taken]
            if taken:
                self.layer.short_write -= taken
                return taken
            raise OSError(self.layer.write_errno, os.strerror(self.layer.write_errno))
        taken = min(len(data), self.layer.most_at_once)
        self.layer.files[self.path] += data[:taken]
        return taken

    def sync(self) -> None:
        self.layer.calls.append("sync")
        if self.layer.sync_errno:
            raise OSError(self.layer.sync_errno, os.strerror(self.layer.sync_errno))
        self.layer.synced[self.path] = bytes(self.layer.files[self.path])

    def truncate(self, size: int) -> None:
        self.layer.calls.append("truncate")
        del self.layer.files[self.path][size:]

    def close(self) -> None:
        if self.locked:
            self.layer.locks.pop(self.path)


@attrs.define(eq=False)
class MemoryLayer:
    """Directories are whatever paths lie in; faults are switched on by the fields."""

    files: dict[Path, bytearray] = attrs.field(factory=dict)
    synced: dict[Path, bytes] = attrs.field(factory=dict)
    locks: dict[Path, None] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    directories: dict[Path, None] = attrs.field(factory=dict)
    write_errno: int = 0
    short_write: int = 0
    """How many bytes are still taken before `write_errno`."""
    sync_errno: int = 0
    most_at_once: int = 1 << 30

    def make_directory(self, path: Path) -> None:
        self.directories[path] = None

    def exists(self, path: Path) -> bool:
        return path in self.directories or path in self.files

    def names(self, path: Path) -> list[str]:
        if path not in self.directories:
            raise FileNotFoundError(errno.ENOENT, str(path))
        return sorted(file.name for file in self.files if file.parent == path)

    def read(self, path: Path, most: int = -1) -> bytes:
        data = bytes(self.files[path])
        return data if most < 0 else data[:most]

    def append(self, path: Path) -> AppendFile:
        self.files.setdefault(path, bytearray())
        return MemoryFile(self, path)

    def sync_directory(self, path: Path) -> None:
        self.calls.append("sync directory")

    def lock(self, path: Path) -> AppendFile:
        if path in self.locks:
            raise BlockingIOError(errno.EAGAIN, str(path))
        self.locks[path] = None
        self.files.setdefault(path, bytearray())
        return MemoryFile(self, path, locked=True)

    def remove(self, path: Path) -> None:
        del self.files[path]

    def remove_directory(self, path: Path) -> None:
        del self.directories[path]

    def crashed(self) -> MemoryLayer:
        """The same files, as a new process finds them: nobody holds a lock."""
        files = {path: bytearray(data) for path, data in self.files.items()}
        return MemoryLayer(files=files, directories=dict(self.directories))
