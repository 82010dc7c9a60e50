"""What all directories of failures have in common: the experiment's files, failure.json, a page, and a test.

A hunt and a perturbation put different things into them (wavetank.hunting.failure, wavetank.perturb.failure).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from engine import Json
from wavetank.hunting.story import causes_of

EXPERIMENT: Final = "experiment"
LOG: Final = "log.wtl"


def begin_directory(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    """Make it, in the place of one that is there, with the experiment's files. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)
    for name, text in texts:
        path = folder / EXPERIMENT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def finish_directory(folder: Path, document: Mapping[str, Json], summary: str, test: str) -> None:
    """Write what says how it went; in the test, {name} becomes the directory's. Raises OSError."""
    text = json.dumps(document, indent=2)
    (folder / "failure.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    (folder / "test_failure.py").write_text(test.format(name=folder.name), encoding="utf-8")


def causes_section(folder: Path, revision: int) -> list[str]:
    """The part of the page that tells why, of the directory's log; nothing for revision 0."""
    causes = causes_of(folder / LOG, revision) if revision else []
    return ["## Causes", "", *(f"    {line}" for line in causes), ""] if causes else []
