"""The file layer: the only way in which the log touches a disk, narrow enough to put faults under it.

All paths are absolute or relative to the working directory, as given. Errors are OSError, as the operating system raises
them; `store.filelog` translates them.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Protocol

import attrs


class AppendFile(Protocol):
    """A file open for appending."""

    def write(self, data: bytes) -> int:
        """Append; returns how many bytes were taken, which may be fewer than given."""
        ...

    def sync(self) -> None:
        """Wait until the disk has all that was written."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file off; what is appended next goes there."""
        ...

    def close(self) -> None:
        """Close; writes nothing."""
        ...


class FileLayer(Protocol):
    """What a log needs of a file system."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it; one that is there is left as it is."""
        ...

    def exists(self, path: Path) -> bool:
        """Whether there is something at the path."""
        ...

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def read(self, path: Path, most: int = -1) -> bytes:
        """The bytes of a file, from its beginning, at most so many (-1: all)."""
        ...

    def append(self, path: Path) -> AppendFile:
        """Open a file for appending, made if it is not there."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Wait until the disk has the names in a directory."""
        ...

    def lock(self, path: Path) -> AppendFile:
        """Make and lock a file until it is closed, or the process ends. Raises BlockingIOError when another has it."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file."""
        ...

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        ...


_sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Contents and length reach the disk, the time of the last change need not; macOS has the one call only."""


@attrs.frozen
class DiskFile:
    """A file of the operating system, unbuffered."""

    descriptor: int

    def write(self, data: bytes) -> int:
        """Append; returns how many bytes were taken."""
        return os.write(self.descriptor, data)

    def sync(self) -> None:
        """Wait for the disk."""
        _sync_data(self.descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file off; it is open for appending, so the next write goes there."""
        os.ftruncate(self.descriptor, size)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


@attrs.frozen
class Disk:
    """The file layer of the operating system."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it."""
        path.mkdir(parents=True, exist_ok=True)

    def exists(self, path: Path) -> bool:
        """Whether there is something at the path."""
        return path.exists()

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(entry.name for entry in path.iterdir())

    def read(self, path: Path, most: int = -1) -> bytes:
        """The bytes of a file, from its beginning."""
        with path.open("rb", buffering=0) as file:
            return file.readall() if most < 0 else file.read(most) or b""

    def append(self, path: Path) -> AppendFile:
        """Open a file for appending."""
        return DiskFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))

    def sync_directory(self, path: Path) -> None:
        """Wait until the disk has the names."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> AppendFile:
        """Make and lock a file."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return DiskFile(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()


DISK: Final = Disk()
"""The disk of this machine."""
