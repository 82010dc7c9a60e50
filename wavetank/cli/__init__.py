"""The command line: `wavetank run`, `wavetank log ...`, `wavetank replay`, `wavetank hunt`, `wavetank schema`.

Exit codes: 0 all is well, 1 a check failed or a log is damaged or differs, 2 the input is wrong (one line on stderr).
"""

from __future__ import annotations

import sys

import click

from wavetank.cli.hunt import hunt, shrink
from wavetank.cli.log import log
from wavetank.cli.perturb import perturb
from wavetank.cli.replay import replay
from wavetank.cli.run import run, schema
from wavetank.errors import BadInput

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wavetank")
def commands() -> None:
    """A Kubernetes cluster in one process: virtual time, one seed, and a log that explains every change."""


for command in (run, log, replay, hunt, perturb, shrink, schema):
    commands.add_command(command)


def main() -> None:
    """The entry point: bad input is one line on stderr and exit code 2, never a traceback."""
    try:
        sys.exit(commands(standalone_mode=False))
    except BadInput as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        print(f"wavetank: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
