"""The floor that simulations stand on: virtual time, seeds, deterministic scheduling, processes and links.

It knows no objects and no API: whatever runs as a process and talks over a link can be simulated.
"""

from engine.sim.clock import EPOCH_US, Clock
from engine.sim.ddmin import minimise
from engine.sim.determinism import Scheduler, SeededScheduler, UnsupportedTrio, run
from engine.sim.draws import SUFFIX_ALPHABET, Draws
from engine.sim.durations import (
    NO_TIME,
    DurationError,
    DurationRange,
    format_duration,
    parse_duration,
)
from engine.sim.entries import Entries, Entry
from engine.sim.holds import Hold
from engine.sim.lifecycle import IllegalTransition, State
from engine.sim.link import PERFECT, Direction, Impairment, Link, LinkQuality, LinkStatistics
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
from engine.sim.recording import NotRecordable, Recording
from engine.sim.schedule_reading import parse_schedule, schedule_from_json
from engine.sim.schedules import (
    CanonicalSchedule,
    DecisionRange,
    Deviation,
    KeyedSchedule,
    PctSchedule,
    PriorityRule,
    PrioritySchedule,
    RandomSchedule,
    Schedule,
    ScheduleError,
    TapeSchedule,
)
from engine.sim.shrinking import shrink_schedule
from engine.sim.simulation import Simulation
from engine.sim.wakeup import Signal

__all__ = [
    "EPOCH_US",
    "NO_TIME",
    "PERFECT",
    "SUFFIX_ALPHABET",
    "CanonicalSchedule",
    "Clock",
    "Deadlock",
    "DecisionRange",
    "Deviation",
    "Direction",
    "Draws",
    "DurationError",
    "DurationRange",
    "Entries",
    "Entry",
    "FailureHandler",
    "Hold",
    "IllegalTransition",
    "Impairment",
    "KeyedSchedule",
    "Limits",
    "Link",
    "LinkQuality",
    "LinkStatistics",
    "Livelock",
    "NeverYields",
    "NotRecordable",
    "PctSchedule",
    "PriorityRule",
    "PrioritySchedule",
    "Process",
    "ProcessFailed",
    "ProcessGone",
    "ProcessStatistics",
    "Processes",
    "RandomSchedule",
    "Recording",
    "Schedule",
    "ScheduleError",
    "Scheduler",
    "SeededScheduler",
    "Signal",
    "Simulation",
    "SimulationError",
    "State",
    "TapeSchedule",
    "UnsupportedTrio",
    "format_duration",
    "minimise",
    "open_processes",
    "parse_duration",
    "parse_schedule",
    "process_name",
    "run",
    "schedule_from_json",
    "shrink_schedule",
]
