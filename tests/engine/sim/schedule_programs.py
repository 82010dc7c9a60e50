"""Programs for the determinism gate under schedules: the events of a run, and the tape of its decisions."""

from __future__ import annotations

from typing import Final

import trio

from engine.sim import Recording, Simulation, parse_schedule, run
from tests.engine.sim.programs import three_schedules

SCHEDULES: Final = (
    "random",
    "canonical",
    "keyed",
    "keyed:5:3..9,20..",
    "pct:3",
    "pct:4/3000:11",
    "priorities:20=1,31@2=-1",
)


async def busy(simulation: Simulation) -> list[str]:
    """300 tasks woken together by an event, by timers and by cancellation; then 300 that wake each second, take one step more, and start
    a task each fifth time.
    """
    events = await three_schedules(simulation)

    async def beats(number: int) -> None:
        for beat in range(1, 11):
            await simulation.clock.sleep(1)
            events.append(f"{number} beats {beat}")
            await trio.lowlevel.checkpoint()
            if beat % 5 == 0:
                nursery.start_soon(says, f"{number} reports {beat}")

    async def says(what: str) -> None:
        events.append(what)

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(beats, number)
    return events


def recorded(schedule: str, seed: int) -> tuple[list[str], Recording]:
    """The busy program under this schedule."""
    recording = Recording(parse_schedule(schedule).scheduler(seed))
    return run(busy, seed=seed, scheduler=recording), recording


def under_all_schedules(seed: int) -> list[str]:
    """Events and tapes, one after the other."""
    lines: list[str] = []
    for schedule in SCHEDULES:
        events, recording = recorded(schedule, seed)
        lines += [schedule, *events, f"{recording.decisions} decisions", str(recording.tape())]
    return lines
