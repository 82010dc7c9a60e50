"""`wavetank replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def replay(path: Path) -> None:
    """Run again what the log at PATH recorded; exit 0 when every event is the same, 1 at the first that differs.

    Of a log whose oldest history was dropped (run --keep), the events that are left are compared, and the digest over all.
    """
    from wavetank.cli.log import describe  # noqa: PLC0415 - `--help` needs none of it
    from wavetank.replaying import replay as execute  # noqa: PLC0415 - likewise

    outcome = execute(path)
    for change in outcome.version_changes:
        print(f"note: {change} since the log was written", file=sys.stderr)
    found, dropped = outcome.divergence, outcome.dropped
    if outcome.same:
        print(f"ok events={outcome.events} digest={outcome.digest}")
    if dropped is not None:
        print(
            f"compared: the events of revisions {dropped.oldest} to {outcome.head}, one by one; those before were not "
            f"kept (--keep {dropped.keep}) and are compared by the digest over all events"
        )
    if outcome.same:
        return
    if found is None:
        assert dropped is not None, "logs that are whole differ in their events"
        print(
            f"diverged before revision {dropped.oldest}, the oldest kept: from there on all events are equal"
        )
        print(f"recorded: digest={dropped.recorded_digest}")
        print(f"executed: digest={outcome.digest}")
        raise click.exceptions.Exit(1)
    print(f"diverged at revision {found.revision}")
    print("recorded:")
    print(describe(found.recorded_log, found.recorded))
    print("executed:")
    print(describe(found.executed_log, found.executed))
    raise click.exceptions.Exit(1)
