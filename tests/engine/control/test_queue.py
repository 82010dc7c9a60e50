"""The queue with its waiting: no wake-up is lost, no key is held twice, no key is overtaken."""

from __future__ import annotations

import itertools

import pytest
import trio
from control_world import key, running

from engine import (
    ControllerQueue,
    Key,
    RateLimits,
    Simulation,
    WorkQueue,
    acting,
    run_simulation,
)
from store import Origin

CAUSED = Origin(actor="test", causes=(7,))


def queue_of(simulation: Simulation, limits: RateLimits | None = None) -> ControllerQueue:
    return ControllerQueue(simulation.clock, "test", WorkQueue(limits or RateLimits()))


class Traffic:
    """Producers that add keys in every way, workers that hold them for a while, and what each of them saw."""

    def __init__(self, simulation: Simulation) -> None:
        self.queue = queue_of(simulation)
        self.draws = simulation.draws
        self.ticks = itertools.count()
        self.added: dict[Key, int] = {}
        """When each key was added last, and below when it was taken last, in ticks."""
        self.taken: dict[Key, int] = {}
        self.held: dict[Key, None] = {}

    async def work(self) -> None:
        while True:
            found, _ = await self.queue.get()
            assert found not in self.held
            self.held[found] = None
            tick = self.taken[found] = next(self.ticks)
            for _ in range(self.draws.integer("work", tick, 4)):
                await trio.lowlevel.checkpoint()
            if self.draws.chance("sleep", tick, 0.2):
                await trio.sleep(0.1)
            del self.held[found]
            self.queue.done(found)

    async def produce(self, producer: int) -> None:
        for step in range(40):
            name = key(str(self.draws.integer(f"key/{producer}", step, 6)))
            match self.draws.integer(f"how/{producer}", step, 4):
                case 0:
                    self.queue.add_after(name, self.draws.integer("delay", step, 3) / 10)
                case 1:
                    self.queue.add_rate_limited(name)
                case _:
                    self.queue.add(name)
            self.added[name] = next(self.ticks)
            if self.draws.chance(f"yield/{producer}", step, 0.5):
                await trio.lowlevel.checkpoint()
            if self.draws.chance(f"wait/{producer}", step, 0.1):
                await trio.sleep(0.15)


@pytest.mark.parametrize("seed", range(20))
def test_every_key_is_worked_on_and_by_one_worker_at_a_time(seed: int) -> None:
    """Producers, delays and five workers in any interleaving: after each key's last add a worker takes it, and never two at once."""

    async def main(simulation: Simulation) -> None:
        traffic = Traffic(simulation)
        queue = traffic.queue
        async with running(queue.run_timers, *[traffic.work] * 5):
            async with trio.open_nursery() as producers:
                for producer in range(3):
                    producers.start_soon(traffic.produce, producer)
            await trio.sleep(300)
            queue.core.check()

            assert queue.core.idle()
            assert queue.core.statistics().delayed == 0
            for name, added in traffic.added.items():
                assert traffic.taken[name] > added

    run_simulation(main, seed=seed)


def test_a_backlog_does_not_keep_a_worker_from_yielding() -> None:
    """`get` is always a checkpoint: beside a worker that never waits itself, other tasks go on."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation)
        worked = 0

        async def work() -> None:
            nonlocal worked
            while True:
                found, _ = await queue.get()
                worked += 1
                queue.add(found)  # for ever
                queue.done(found)

        async with running(work):
            queue.add(key("a"))
            for _ in range(10):
                await trio.lowlevel.checkpoint()

            assert 1 <= worked <= 11

    run_simulation(main, seed=0)


def test_busy_keys_do_not_starve_a_quiet_one() -> None:
    """First in, first out: keys that are added again and again take turns with the others."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation)
        order: list[str] = []

        async def work() -> None:
            while True:
                found, _ = await queue.get()
                order.append(found.name)
                if found.name != "quiet":
                    queue.add(found)
                queue.done(found)

        for name in ("busy-1", "busy-2", "quiet"):
            queue.add(key(name))
        async with running(work):
            for _ in range(20):
                await trio.lowlevel.checkpoint()

            assert ["busy-1", "busy-2", "quiet", "busy-1", "busy-2", "busy-1"] == order[:6]

    run_simulation(main, seed=0)


def test_cancelled_in_get_it_has_taken_nothing() -> None:
    """A worker cut off while it waits for a key leaves the key to the others."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation)
        with trio.CancelScope() as scope:
            queue.add(key("a"))
            scope.cancel()
            await queue.get()
        assert scope.cancelled_caught
        assert (key("a"), ("user",)) == await queue.get()

    run_simulation(main, seed=0)


def test_a_shorter_delay_wakes_the_timer() -> None:
    """The timer sleeps for 100 s; an add for 5 s later comes after 5 s, one for 1 s after 1 s."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation)
        async with running(queue.run_timers):
            queue.add_after(key("far"), 100)
            await trio.sleep(1)
            queue.add_after(key("near"), 5)
            queue.add_after(key("nearest"), 1)
            arrived = []
            for _ in range(3):
                found, _causes = await queue.get()
                arrived.append((found.name, round(trio.current_time(), 3)))

            assert [("nearest", 2.0), ("near", 6.0), ("far", 100.0)] == arrived

    run_simulation(main, seed=0)


def test_a_delay_below_the_clocks_grain_ends() -> None:
    """The clock counts microseconds: a delay of nanoseconds neither blocks nor spins."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation)
        await trio.sleep(1 / 3)
        async with running(queue.run_timers):
            for delay in (1e-12, 3e-7, 1.0000004):
                queue.add_after(key(str(delay)), delay)
                found, _ = await queue.get()
                assert found.name == str(delay)

    run_simulation(main, seed=0)


def test_limits_without_a_delay_make_the_key_available_at_once() -> None:
    """With no back-off there is no timer: a parked worker gets the key."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation, RateLimits(base_delay=0, max_delay=0))
        async with running() as nursery:
            nursery.start_soon(queue.get)
            await trio.sleep(1)
            queue.add_rate_limited(key("a"))
            await trio.sleep(1)
            assert 1 == queue.core.statistics().processing

    run_simulation(main, seed=0)


def test_causes_travel_with_the_key() -> None:
    """An add takes the causes in force, a delayed one the timer as well; all that one pass answers are handed over."""

    async def main(simulation: Simulation) -> None:
        queue = queue_of(simulation)
        async with running(queue.run_timers):
            with acting(CAUSED):
                queue.add(key("a"))
                queue.add_after(key("b"), 1)
            queue.add(key("a"))

            assert (key("a"), (7, "user")) == await queue.get()
            assert (key("b"), (7, "timer:test")) == await queue.get()

    run_simulation(main, seed=0)
