"""Life cycle hooks: how long a container's postStart or preStop takes.

Nothing is executed here. What tells its duration is understood: the `sleep` action, and the `sleep N` commands that manifests
use to the same end. Any other hook takes no time and succeeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from engine import Container, Json

_SLEEP: Final = re.compile(r"(?:^|[\s;&/])sleep\s+([0-9]+(?:\.[0-9]+)?)\b")


def hook_seconds(container: Container, hook: Literal["postStart", "preStop"]) -> float:
    """Seconds the hook takes; 0 when there is none."""
    lifecycle = container.extra.get("lifecycle")
    handler = lifecycle.get(hook) if isinstance(lifecycle, Mapping) else None
    if not isinstance(handler, Mapping):
        return 0.0
    sleep = handler.get("sleep")
    if isinstance(sleep, Mapping):
        return _number(sleep.get("seconds"))
    command = handler.get("exec")
    if isinstance(command, Mapping):
        words = command.get("command")
        if isinstance(words, list | tuple):
            return sum(float(each) for each in _SLEEP.findall(" ".join(map(str, words))))
    return 0.0


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
