"""`wavetank replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def replay(path: Path) -> None:
    """Run again what the log at PATH recorded; exit 0 when every event is the same, 1 at the first that differs."""
    from wavetank.cli.log import describe  # noqa: PLC0415 - `--help` needs none of it
    from wavetank.replaying import replay as execute  # noqa: PLC0415 - likewise

    outcome = execute(path)
    for change in outcome.version_changes:
        print(f"note: {change} since the log was written", file=sys.stderr)
    found = outcome.divergence
    if found is None:
        print(f"ok events={outcome.events} digest={outcome.digest}")
        return
    print(f"diverged at revision {found.revision}")
    print("recorded:")
    print(describe(found.recorded_log, found.recorded))
    print("executed:")
    print(describe(found.executed_log, found.executed))
    raise click.exceptions.Exit(1)
