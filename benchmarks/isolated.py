"""Runs a case in a fresh process: its peak memory, its caches and its collector are its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from benchmarks.machine import ROOT
from benchmarks.model import Case, Figures

Tell: TypeAlias = Callable[[float, str], None]
"""Told how far a case is (0 to 1), and what it does."""

PROFILE_LINES = 40


class Failed(Exception):
    """A benchmark ended without figures; its standard error says why."""


def run_case(name: str, case: Case, *, tell: Tell, profile: Path | None = None) -> Figures:
    """Run one case and return its figures; `profile` is written with cProfile. Raises Failed."""
    command = [sys.executable, "-m", "benchmarks.child", name, json.dumps(dict(case))]
    if profile is not None:
        command.append(str(profile))
    figures: Figures | None = None
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                message = json.loads(line)
                if "figures" in message:
                    figures = message["figures"]
                else:
                    tell(message["share"], message["what"])
        if figures is None or process.returncode:
            errors.seek(0)
            raise Failed(f"{name} {dict(case)} failed:\n{errors.read()}")
    return figures
