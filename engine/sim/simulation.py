"""What a simulation hands to the function it runs."""

from __future__ import annotations

import attrs

from engine.sim.clock import Clock
from engine.sim.draws import Draws
from engine.sim.process import Processes


@attrs.frozen(kw_only=True)
class Simulation:
    """One run: its seed, and what derives from it. Handed to main by `run`."""

    seed: int
    clock: Clock
    draws: Draws
    processes: Processes
    """Killed, last started first, when main returns."""
