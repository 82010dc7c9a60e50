"""Removing a log from the disk."""

from __future__ import annotations

from pathlib import Path

from store.errors import LogError, LogMissing
from store.files import DISK, FileLayer
from store.names import LOCK, list_names, lock_log


def remove_log(path: Path | str, layer: FileLayer = DISK) -> None:
    """Remove a log, and nothing else.

    Raises LogMissing, LogBusy while a process is writing it, and LogError when there is something in the directory that is not the log's.
    """
    directory = Path(path)
    names = list_names(layer, directory)
    foreign = [name for name in names if name != LOCK and not _is_ours(name)]
    if foreign:
        raise LogError(f"{path}: {foreign[0]!r} is not part of a log; nothing was removed")
    if LOCK not in names and not names:
        raise LogMissing(f"{path}: the directory is empty")
    lock = lock_log(layer, directory)
    try:
        for name in names:
            if name != LOCK:
                layer.remove(directory / name)
        layer.remove(directory / LOCK)
    finally:
        lock.close()
    layer.remove_directory(directory)


def _is_ours(name: str) -> bool:
    stem, _, suffix = name.rpartition(".")
    return suffix in {"seg", "snap", "base"} and stem.isdigit()
