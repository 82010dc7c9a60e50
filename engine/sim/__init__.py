"""The floor that simulations stand on: virtual time, seeds, deterministic scheduling, processes and links.

It knows no objects and no API: whatever runs as a process and talks over a link can be simulated.
"""

from engine.sim.clock import EPOCH_US, Clock
from engine.sim.determinism import Scheduler, SeededScheduler, UnsupportedTrio, run
from engine.sim.draws import SUFFIX_ALPHABET, Draws
from engine.sim.durations import (
    NO_TIME,
    DurationError,
    DurationRange,
    format_duration,
    parse_duration,
)
from engine.sim.holds import Hold
from engine.sim.lifecycle import IllegalTransition, State
from engine.sim.link import PERFECT, Direction, Link, LinkQuality, LinkStatistics
from engine.sim.process import (
    FailureHandler,
    Process,
    Processes,
    ProcessFailed,
    ProcessGone,
    ProcessStatistics,
    open_processes,
)
from engine.sim.progress import (
    Deadlock,
    Limits,
    Livelock,
    NeverYields,
    SimulationError,
    process_name,
)
from engine.sim.simulation import Simulation
from engine.sim.wakeup import Signal, Wakeup

__all__ = [
    "EPOCH_US",
    "NO_TIME",
    "PERFECT",
    "SUFFIX_ALPHABET",
    "Clock",
    "Deadlock",
    "Direction",
    "Draws",
    "DurationError",
    "DurationRange",
    "FailureHandler",
    "Hold",
    "IllegalTransition",
    "Limits",
    "Link",
    "LinkQuality",
    "LinkStatistics",
    "Livelock",
    "NeverYields",
    "Process",
    "ProcessFailed",
    "ProcessGone",
    "ProcessStatistics",
    "Processes",
    "Scheduler",
    "SeededScheduler",
    "Signal",
    "Simulation",
    "SimulationError",
    "State",
    "UnsupportedTrio",
    "Wakeup",
    "format_duration",
    "open_processes",
    "parse_duration",
    "process_name",
    "run",
]
