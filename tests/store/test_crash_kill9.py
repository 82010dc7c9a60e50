"""A real process, really killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """200 processes killed at random moments, the parent knowing what each was told: all of it is there afterwards."""
    command = [sys.executable, "-m", "benchmarks.kill9", "--kills", "200", "--folder", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own module

    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.splitlines()[-1] == "200 kills, 0 lost"
