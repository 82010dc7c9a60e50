from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wavetank.cli import commands
from wavetank.errors import BadInput

Call = Callable[..., "Outcome"]


class Outcome:
    """What a command printed and with which code it ended; nothing escaped it but an exit."""

    def __init__(self, result: Result) -> None:
        error = result.exception
        self.out = result.stdout
        self.err = result.stderr
        self.code = result.exit_code
        if isinstance(error, BadInput):  # what `main` turns into one line and exit code 2
            self.code, self.err = 2, self.err + str(error)
        elif error is not None and not isinstance(error, SystemExit):
            raise error


@pytest.fixture
def wavetank_command() -> Call:
    """Call the command line in this process: `wavetank_command("run", path)`."""

    def call(*arguments: str | Path) -> Outcome:
        return Outcome(CliRunner().invoke(commands, [str(each) for each in arguments]))

    return call
