"""The names in a log's directory, and the lock on it.

00000001.seg    a segment (store.segments)
00000005.snap   the snapshot of what is before segment 5 (store.snapshots)
00000005.base   the mark that says that the log begins with segment 5 (store.snapshots)
lock            what the writing process locks
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from store.errors import LogBusy, LogMissing
from store.files import AppendFile, FileLayer

LOCK: Final = "lock"
"""The file that a writing process locks."""

SUFFIX: Final = ".seg"
SNAPSHOT_SUFFIX: Final = ".snap"
BASE_SUFFIX: Final = ".base"


def segment_name(number: int) -> str:
    """The name of a segment, in the order of numbers."""
    return f"{number:08d}{SUFFIX}"


def snapshot_name(number: int) -> str:
    """The name of the snapshot of what is before a segment."""
    return f"{number:08d}{SNAPSHOT_SUFFIX}"


def base_name(number: int) -> str:
    """The name of the empty file that says that the log begins with this segment."""
    return f"{number:08d}{BASE_SUFFIX}"


def numbered(names: Iterable[str], suffix: str) -> list[int]:
    """The numbers of the files with a suffix, in the order of the names."""
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return [int(stem) for stem in stems if stem.isdigit()]


def snapshot_numbers(layer: FileLayer, path: Path) -> list[int]:
    """The segments that have a snapshot before them, in order."""
    return numbered(list_names(layer, path), SNAPSHOT_SUFFIX)


def list_names(layer: FileLayer, path: Path) -> list[str]:
    """The names in a log's directory. Raises LogMissing."""
    try:
        return layer.names(path)
    except FileNotFoundError as error:
        raise LogMissing(f"{path}: there is no log") from error
    except NotADirectoryError as error:
        raise LogMissing(f"{path}: this is no log; a log is a directory") from error


def lock_log(layer: FileLayer, path: Path) -> AppendFile:
    """Keep other writers out until the file is closed. Raises LogBusy."""
    try:
        return layer.lock(path / LOCK)
    except BlockingIOError as error:
        raise LogBusy(f"{path}: another process is writing this log") from error
