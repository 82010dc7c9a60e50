"""Whole-cluster programs for the determinism gate: from a seed to the events of the log, as text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from engine import ObjectCodec
from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment
from wavetank.logs import open_log

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


def node_failure(seed: int) -> Iterator[str]:
    """The example that the README shows: shop, crash of the busiest node, its return."""
    return experiment_events(EXAMPLES / "node-failure.yaml", seed)


def experiment_events(path: Path, seed: int) -> Iterator[str]:
    """One line for each event, with all of it in it; then the log's own digest."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run.wtl"
        result = run_experiment(load_experiment(path, seed=seed), log=place)
        log = open_log(place)
        encode = ObjectCodec(log.scheme).encode
        for event in log.events():
            value = (
                ""
                if event.value is None
                else blake2b(encode(event.value), digest_size=8).hexdigest()
            )
            yield (
                f"r{event.revision} {event.time_ns} {event.type.name} {event.key} {event.origin.actor} "
                f"{event.origin.reconcile} {event.origin.causes} {value}"
            )
        yield f"digest {result.digest}"
