"""Re-execution: run again what a log recorded, and compare event by event.

The log's header holds the experiment with all its files, or the program's module and function, and the seed. Everything runs
again; the first event that differs is a divergence.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import attrs

from engine import Json
from store import Event
from wavetank.errors import BadInput
from wavetank.logs import Log, open_log
from wavetank.result import Result
from wavetank.running import versions


@attrs.frozen
class Divergence:
    """The first event that is not the same: as recorded, and as executed now; None where one log has ended."""

    revision: int
    recorded: Event | None
    executed: Event | None
    recorded_log: Log
    executed_log: Log


@attrs.frozen
class Replay:
    """The outcome of a re-execution."""

    digest: str
    events: int
    divergence: Divergence | None
    version_changes: tuple[str, ...]
    """Software whose version is not the one recorded, as "trio 0.31 -> 0.35"."""


def replay(path: Path | str) -> Replay:
    """Run again what the log at `path` recorded. Raises BadInput when the log cannot be read or run again."""
    recorded = open_log(path)
    with tempfile.TemporaryDirectory(prefix="wavetank-replay-") as folder:
        again = Path(folder) / "replay.wtl"
        result = _execute(recorded, again)
        executed = open_log(again)
        divergence = compare(recorded, executed)
        events = sum(1 for _ in executed.events())
    return Replay(result.digest, events, divergence, _version_changes(recorded.header))


def _execute(recorded: Log, log: Path) -> Result[object]:
    from wavetank.experiment.load import restore_experiment  # noqa: PLC0415 - imports this package
    from wavetank.experiment.run import run_experiment  # noqa: PLC0415 - likewise

    header = recorded.header
    seed = cast("int", header.get("seed", 0))
    experiment = header.get("experiment")
    if isinstance(experiment, dict):
        files = cast("dict[str, str]", experiment["files"])
        restored = restore_experiment(str(experiment["file"]), files, seed)
        return cast("Result[object]", run_experiment(restored, log=log))
    program = header.get("program")
    if isinstance(program, dict):
        raise BadInput(
            f"{recorded.path}: recorded by the program {program.get('module')}:{program.get('function')} "
            f"in {program.get('file')}, not by an experiment; run that program again with the same seed ({seed})"
        )
    raise BadInput(f"{recorded.path}: its header names no experiment")


def compare(recorded: Log, executed: Log) -> Divergence | None:
    """The first event that is not the same in both logs, or None."""
    pairs = itertools.zip_longest(recorded.events(), executed.events())
    for before, now in pairs:
        if before is None or now is None or not _same(recorded, executed, before, now):
            revision = (before or now).revision if (before or now) else 0
            return Divergence(revision, before, now, recorded, executed)
    return None


def _same(recorded: Log, executed: Log, before: Event, now: Event) -> bool:
    if before == now:
        return True
    return recorded.event_json(before) == executed.event_json(now)


def _version_changes(header: Mapping[str, Json]) -> tuple[str, ...]:
    then = header.get("versions")
    if not isinstance(then, dict):
        return ()
    return tuple(
        f"{name} {then.get(name)} -> {now}"
        for name, now in versions().items()
        if then.get(name) != now
    )
