"""Programs for the determinism gate: the schedules that stock trio gets wrong, and twelve planted leaks.

Each returns the events of one run. The leaks share one shape: two events that are the same in every run, then the leak, named.
"""

from __future__ import annotations

import gc
import itertools
import json
import math
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import trio
import trio.testing

from engine.sim import Simulation, run

TASKS: Final = 300
"""Below some hundred tasks, sets of them happen to be in the order of their making."""

Append = Callable[[str], None]
Leak = Callable[[Simulation, Append], Awaitable[None]]


def schedule(seed: int) -> list[str]:
    """What 300 tasks do when an event wakes them all, when their timers are due at once, and when they are cancelled together."""
    return run(three_schedules, seed=seed)


def unseeded(seed: int) -> list[str]:
    """The same under stock trio: nothing in it depends on the seed."""

    async def main() -> list[str]:
        return await three_schedules(None)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def three_schedules(_: Simulation | None) -> list[str]:
    events: list[str] = []
    go = trio.Event()

    async def waits(number: int) -> None:
        await go.wait()
        events.append(f"woken {number}")

    async def sleeps(number: int) -> None:
        await trio.sleep(1)
        events.append(f"due {number} at {trio.current_time()}")

    async def cancelled(number: int) -> None:
        try:
            with trio.CancelScope():
                await trio.sleep_forever()
        finally:
            events.append(f"cancelled {number}")

    for task in (waits, sleeps, cancelled):
        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(task, number)
            if task is not sleeps:
                await trio.testing.wait_all_tasks_blocked()
            if task is waits:
                go.set()
            elif task is cancelled:
                nursery.cancel_scope.cancel()
    return events


def _program(leak: Leak) -> Callable[[int], list[str]]:
    """A program that does two harmless things and then leaks."""

    def program(seed: int) -> list[str]:
        events: list[str] = []

        async def main(simulation: Simulation) -> None:
            await trio.sleep(1)
            events.append(f"clean {simulation.clock.now_ns()}")
            events.append(f"clean {simulation.draws.uid('pod', 0)}")
            await leak(simulation, lambda text: events.append(f"{leak.__name__[1:]} {text}"))

        run(main, seed=seed)
        return events

    return program


async def _wall_time(_: Simulation, append: Append) -> None:
    append(str(time.time_ns()))


async def _uuid4(_: Simulation, append: Append) -> None:
    append(str(uuid.uuid4()))


async def _urandom(_: Simulation, append: Append) -> None:
    append(os.urandom(8).hex())


async def _set_of_strings(_: Simulation, append: Append) -> None:
    for name in {f"web-{number}" for number in range(20)}:
        append(name)


class _Node:
    """Hashed by its address, as attrs classes with `eq=False` and functions are."""

    def __init__(self, name: str) -> None:
        self.name = name


async def _set_of_identities(_: Simulation, append: Append) -> None:
    for node in {_Node(f"node-{number}") for number in range(TASKS)}:
        append(node.name)


async def _hash_of_none(_: Simulation, append: Append) -> None:
    append(str(hash((None, 1))))  # an address up to CPython 3.11, a constant from 3.12 on


async def _abort_order(_: Simulation, append: Append) -> None:
    async def waits(number: int) -> None:
        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            append(str(number))
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async with trio.open_nursery() as nursery:
        for number in range(TASKS):
            nursery.start_soon(waits, number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def _abandoned_generator(simulation: Simulation, append: Append) -> None:
    gc.enable()  # undoes what `run` does against just this
    await _collected_generator(simulation, append)


async def _collected_generator(_: Simulation, append: Append) -> None:
    ticks = itertools.count()

    async def numbers() -> AsyncIterator[list[object]]:
        itself: list[object] = []
        try:
            yield itself
        finally:
            append(f"closed at tick {next(ticks)}")

    async def work() -> None:
        for _ in range(3000):
            next(ticks)
            waste: list[object] = []
            waste.append(waste)
            await trio.lowlevel.checkpoint()

    await work()
    generator = numbers()
    (await anext(generator)).append(generator)  # a cycle: only the collector finds it
    del generator
    await work()


async def _thread(simulation: Simulation, append: Append) -> None:
    async def tick() -> None:
        for _ in range(10**9):
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await trio.to_thread.run_sync(math.factorial, 20_000)
        nursery.cancel_scope.cancel()
    append(f"done at {simulation.clock.now_ns()}")


_serial = itertools.count()


async def _process_counter(_: Simulation, append: Append) -> None:
    append(f"watch {next(_serial)}")


async def _set_in_encoding(_: Simulation, append: Append) -> None:
    append(json.dumps({"finalizers": list({f"example.com/{number}" for number in range(20)})}))


async def _repr_with_address(_: Simulation, append: Append) -> None:
    append(repr(trio.Event()))


wall_time = _program(_wall_time)
uuid4 = _program(_uuid4)
urandom = _program(_urandom)
set_of_strings = _program(_set_of_strings)
set_of_identities = _program(_set_of_identities)
hash_of_none = _program(_hash_of_none)
abort_order = _program(_abort_order)
abandoned_generator = _program(_abandoned_generator)
collected_generator = _program(_collected_generator)
thread = _program(_thread)
process_counter = _program(_process_counter)
set_in_encoding = _program(_set_in_encoding)
repr_with_address = _program(_repr_with_address)
