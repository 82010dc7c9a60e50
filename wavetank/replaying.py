"""Re-execution: run again what a log recorded, and compare event by event.

The log's header holds the experiment with all its files, or the program's module and function, the seed, and how much history was to be kept.
Everything runs again; the first event that differs is a divergence. Of a log whose oldest history was dropped, the events are compared that
are left; that the others were the same is what equal digests say, for those are over all events ever written.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs

from engine import Json, Schedule, ScheduleError, schedule_from_json
from store import EMPTY_REVISION, Event
from wavetank.errors import BadInput
from wavetank.faults.plan import Plan, plan_from_json
from wavetank.logs import Log, open_log
from wavetank.running import versions

if TYPE_CHECKING:
    from wavetank.experiment.model import Experiment


@attrs.frozen
class Divergence:
    """The first event that is not the same: as recorded, and as executed now; None where one log has ended."""

    revision: int
    recorded: Event | None
    executed: Event | None
    recorded_log: Log
    executed_log: Log


@attrs.frozen
class Dropped:
    """What could not be compared event by event."""

    oldest: int
    """The first revision of which the events were compared."""
    keep: str
    """The policy by which what is before was dropped."""
    recorded_digest: str
    same_digest: bool
    """Whether the digests, which cover what was dropped too, are equal."""


@attrs.frozen
class Replay:
    """The outcome of a re-execution."""

    digest: str
    events: int
    divergence: Divergence | None
    version_changes: tuple[str, ...]
    """Software whose version is not the one recorded, as "trio 0.31 -> 0.35"."""
    head: int
    dropped: Dropped | None = None
    """None when the log is whole."""

    @property
    def same(self) -> bool:
        """Whether the run was the same as the recorded one, as far as the log can tell."""
        return self.divergence is None and (self.dropped is None or self.dropped.same_digest)


def replay(path: Path | str) -> Replay:
    """Run again what the log at `path` recorded. Raises BadInput when the log cannot be read or run again."""
    recorded = open_log(path)
    with tempfile.TemporaryDirectory(prefix="wavetank-replay-") as folder:
        again = Path(folder) / "replay.wtl"
        result = _execute(recorded, again)
        executed = open_log(again)
        # The same policy keeps the same, but for the length of the header in the first segment.
        oldest = max(recorded.oldest, executed.oldest)
        divergence = compare(recorded, executed, oldest)
        dropped = None
        if oldest > EMPTY_REVISION:
            digest = recorded.digest()
            dropped = Dropped(oldest, str(recorded.keep), digest, digest == result.digest)
    return Replay(
        digest=result.digest,
        events=result.events,
        divergence=divergence,
        version_changes=_version_changes(recorded.header),
        head=result.head,
        dropped=dropped,
    )


@attrs.frozen
class _Again:
    """What the re-execution came to."""

    digest: str
    events: int
    head: int


def _execute(recorded: Log, log: Path) -> _Again:
    from wavetank.experiment.load import restore_experiment  # noqa: PLC0415 - imports this package
    from wavetank.experiment.run import run_experiment  # noqa: PLC0415 - likewise

    header = recorded.header
    seed = cast("int", header.get("seed", 0))
    experiment = header.get("experiment")
    if isinstance(experiment, dict):
        files = cast("dict[str, str]", experiment["files"])
        restored = restore_experiment(str(experiment["file"]), files, seed)
        plan = plan_from_json(header.get("plan", []), f"{recorded.path}: plan")
        if "trial" in header:
            return _try(recorded, restored, plan, log)
        result = run_experiment(
            restored, log=log, keep=recorded.keep, plan=plan, schedule=_schedule(recorded)
        )
        return _Again(result.digest, result.events, result.head)
    program = header.get("program")
    if isinstance(program, dict):
        raise BadInput(
            f"{recorded.path}: recorded by the program {program.get('module')}:{program.get('function')} "
            f"in {program.get('file')}, not by an experiment; run that program again with the same seed ({seed})"
        )
    raise BadInput(f"{recorded.path}: its header names no experiment")


def _try(recorded: Log, experiment: Experiment, plan: Plan, log: Path) -> _Again:
    """A trial of a hunt again."""
    from wavetank.experiment.assembly import assemble  # noqa: PLC0415 - likewise
    from wavetank.hunting.liveness import Bounds  # noqa: PLC0415 - likewise
    from wavetank.hunting.outcome import TrialInput  # noqa: PLC0415 - likewise
    from wavetank.hunting.trial import run_trial  # noqa: PLC0415 - likewise

    bounds = Bounds(**cast("dict[str, float]", recorded.header["trial"]))
    trial = TrialInput(seed=experiment.seed, plan=plan, schedule=_schedule(recorded))
    outcome = run_trial(assemble(experiment), trial, bounds, log=log)
    return _Again(outcome.digest, outcome.events, outcome.head)


def _schedule(recorded: Log) -> Schedule | None:
    found = recorded.header.get("schedule")
    if found is None:
        return None
    try:
        return schedule_from_json(found)
    except ScheduleError as error:
        raise BadInput(f"{recorded.path}: schedule: {error}") from None


def compare(recorded: Log, executed: Log, first: int = 0) -> Divergence | None:
    """The first event that is not the same in both logs, or None; from revision `first` on, or (0) of all."""
    pairs = itertools.zip_longest(_events(recorded, first), _events(executed, first))
    for before, now in pairs:
        if before is None or now is None or not _same(recorded, executed, before, now):
            revision = (before or now).revision if (before or now) else 0
            return Divergence(revision, before, now, recorded, executed)
    return None


def _events(log: Log, first: int) -> Iterator[Event]:
    """The events from a revision on; of a log that ends before it, none."""
    for event in log.events():
        if event.revision >= first:
            yield event


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
