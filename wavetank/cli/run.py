"""`wavetank run` and `wavetank schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavetank.errors import BadInput

if TYPE_CHECKING:
    from store import Keep

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("experiment", type=PATH)
@click.option("--seed", type=click.IntRange(min=0), help="In place of the file's seed.")
@click.option("--log", "log_path", type=PATH, help="Write the log to this path.")
@click.option("--store", default="", metavar="URL", help="Keep the state in this etcd: real time.")
@click.option(
    "--keep",
    default="all",
    metavar="HISTORY",
    help="What the log keeps at least: all, the last N revisions, or the last 30m, 2h, 7d of cluster time.",
)
@click.option("--overwrite", is_flag=True, help="Replace a log that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
@click.option("--quiet", is_flag=True, help="No timeline, only the result.")
def run(  # noqa: PLR0913, PLR0917 - one argument per option
    experiment: Path,
    seed: int | None,
    log_path: Path | None,
    store: str,
    keep: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the EXPERIMENT file: exit 0 when all checks and invariants held, 1 when one did not."""
    from wavetank.experiment.load import load_experiment  # noqa: PLC0415 - `--help` needs none of it
    from wavetank.experiment.run import run_experiment  # noqa: PLC0415 - likewise

    kept = _check_options(store, log_path, keep)
    loaded = load_experiment(experiment, seed=seed)
    if log_path is not None:
        prepare_log(log_path, overwrite=overwrite)
    if as_json:
        result = run_experiment(loaded, log=log_path, store=store, keep=kept)
        json.dump(result.to_json(), sys.stdout)
        sys.stdout.write("\n")
    else:
        from rich.console import Console  # noqa: PLC0415 - likewise

        from wavetank.cli.render import TimelinePrinter, print_result  # noqa: PLC0415 - likewise

        console = Console(highlight=False)
        printer = TimelinePrinter(console)
        tell = None if quiet else printer.tell
        result = run_experiment(loaded, log=log_path, store=store, keep=kept, tell=tell)
        print_result(console, result, store or str(log_path or ""))
    raise click.exceptions.Exit(0 if result.passed else 1)


def _check_options(store: str, log_path: Path | None, keep: str) -> Keep:
    """What the log is to keep. Raises BadInput for options that do not go together."""
    from store import Keep  # noqa: PLC0415 - likewise
    from wavetank.logs import as_keep  # noqa: PLC0415 - likewise

    if store and log_path is not None:
        raise BadInput("--store keeps the log in etcd: leave --log out")
    try:
        kept = as_keep(keep)
    except BadInput as error:
        raise BadInput(f"--{error}") from None
    if kept != Keep.all() and store:
        raise BadInput(
            "--keep is for a log on disk; what etcd keeps is its own --auto-compaction-retention: leave --keep out"
        )
    if kept != Keep.all() and log_path is None:
        raise BadInput("--keep says how much of the log stays: give --log PATH as well")
    return kept


def prepare_log(path: Path, *, overwrite: bool) -> None:
    """Make way for a new log. Raises BadInput when one is there and may not be replaced."""
    from store import StoreError, remove_log  # noqa: PLC0415 - likewise

    if path.exists():
        if not overwrite:
            raise BadInput(f"{path}: a log is there already; give another path, or --overwrite")
        try:
            remove_log(path)
        except StoreError as error:
            raise BadInput(str(error)) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path.parent}: {error.strerror}") from None


@click.command()
def schema() -> None:
    """Print the JSON Schema of an experiment file."""
    from wavetank.experiment.schema import SCHEMA  # noqa: PLC0415 - likewise

    json.dump(SCHEMA, sys.stdout, indent=2)
    sys.stdout.write("\n")
