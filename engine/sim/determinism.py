"""Deterministic runs: one seed, one interleaving, on every machine and in every process.

Theory of operation. Stock trio shuffles each batch of runnable tasks with a generator of its own, `trio._core._run._r`, and wakes
tasks in the order of sets of objects, which is the order of their addresses. With the private switch `_ALLOW_DETERMINISTIC_SCHEDULING`
on, it first sorts the batch by the age of its tasks and then calls `_r.shuffle(batch)`: the sort removes the addresses, and `shuffle` is
the only scheduling decision left. So a run here

- sets the switch, and puts an object of ours in the place of `_r`: its `shuffle` orders the batch by the seed (`SeededScheduler`), or by
  whatever scheduler is given: those of a `Schedule` (`schedules.py`), or a test's own;
- uses `MockClock(autojump_threshold=0)`: virtual time jumps to the next timer when nothing is runnable, and reads no real clock; of it
  two methods are replaced by cheaper ones of the same meaning (`_virtual_clock`);
- adds sleepers of ours to trio's deadlines (`_Deadlines`, `timers.py`), which wake in the same rounds as trio's and cost a tenth;
- disables the cyclic garbage collector: abandoned async generators would be closed whenever it happens to run. Collected between runs;
- takes trio's wake-up file descriptor away from signals: a signal would otherwise wake a task of trio's own and shift the batches;
- watches for tasks that never yield, livelocks and deadlocks (`progress.py`).

All of it is put back as it was, whatever happens. This is the only module that touches trio's private names; before the first run
in a process it checks that they still mean this, and fails loudly if not (`UnsupportedTrio`).

What it does not cure is banned by ruff, and caught by the gate (`repeat.py`): real time, entropy, iteration over sets, threads, and
side effects in the `abort_fn` of a cancelled wait, which trio calls in the order of a set.
"""

from __future__ import annotations

import gc
import random  # noqa: TID251 - the generator of schedules, seeded
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from typing import Final, Protocol, TypeVar

import trio
from trio._core import _mock_clock  # noqa: TID251 - trio.testing, its public home, takes 100 ms to import
from trio._core import _run as trio_run  # noqa: TID251 - see the theory of operation
from trio._core._instrumentation import Instruments  # noqa: TID251 - likewise

from engine.sim.clock import Clock
from engine.sim.draws import Draws
from engine.sim.process import open_processes
from engine.sim.progress import Limits, Monitor, SimulationError, Unwind, Watchdog
from engine.sim.simulation import Simulation
from engine.sim.timers import Timers

T = TypeVar("T")

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR: Final = "_r"
_DEFAULT_LIMITS: Final = Limits()
_PROBES: Final = 64
"""Tasks in the self-test: sets of this many are certainly not in order of age by chance."""


class UnsupportedTrio(SimulationError):
    """The installed trio does not keep what this module relies on."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"trio {trio.__version__} does not schedule deterministically: {what}; "
            "install a release within the range that pyproject.toml names"
        )


class Scheduler(Protocol):
    """Decides the order of a batch of runnable tasks."""

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Order the batch in place. It comes sorted by age, with two tasks at least, and **the last is run first**.

        Tasks may be taken out and put back on the run queue (`put_back`): they are in the next batch, with whoever was woken.
        A `SimulationError` raised here ends the run; it may be asked again while that unwinds.
        """


class SeededScheduler:
    """A random order that follows from the seed: each seed is another interleaving.

    Fisher and Yates on `random()`, the one method whose values Python promises to keep for a seed.
    """

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random: Final = random.Random(seed).random  # noqa: S311 - no secret

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Order the batch in place."""
        draw = self._random
        for last in range(len(batch) - 1, 0, -1):
            other = int(draw() * (last + 1))
            batch[last], batch[other] = batch[other], batch[last]


def ages(batch: list[trio.lowlevel.Task]) -> list[int]:
    """For each task a number of its own, the same one in every batch of the run; the older, the smaller. Only their order is
    the same in another run.
    """
    return [task._counter for task in batch]  # noqa: SLF001 - what trio sorts by


def put_back(tasks: list[trio.lowlevel.Task]) -> None:
    """For a scheduler: have tasks that it took out of a batch run later, in the next round at the earliest."""
    trio_run.GLOBAL_RUN_CONTEXT.runner.runq.extend(tasks)


class _Hook:
    """What stands in the place of trio's generator: counts the round, then asks the scheduler."""

    __slots__ = ("_monitor", "_order", "_round")

    def __init__(self, scheduler: Scheduler, monitor: Monitor) -> None:
        self._monitor: Final = monitor
        self._order: Final = scheduler.shuffle
        self._round: Final = monitor.round

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        self._round(batch)
        if len(batch) > 1:
            try:
                self._order(batch)
            except SimulationError as verdict:
                self._monitor.end(
                    verdict
                )  # the batch runs as it is: the end of a run needs no schedule


def run(
    main: Callable[[Simulation], Awaitable[T]],
    *,
    seed: int,
    scheduler: Scheduler | None = None,
    limits: Limits = _DEFAULT_LIMITS,
) -> T:
    """Run main in virtual time, deterministically, and return what it returns; its processes are killed then.

    Raises:
        NeverYields, Livelock, Deadlock: the simulation is stuck; the message names the culprits.
        ProcessFailed: a process failed, and nobody supervises it.
        UnsupportedTrio: the installed trio cannot be made deterministic.
        RuntimeError: trio runs in this thread already.
        Exception: what main raised.
    """
    self_test()
    monitor = Monitor(limits)
    watchdog = Watchdog(monitor)

    async def simulation() -> T:
        with watchdog.armed(), monitor.watching():
            async with open_processes() as processes:
                return await main(
                    Simulation(
                        seed=seed,
                        clock=Clock.virtual(_join_timers()),
                        draws=Draws(seed),
                        processes=processes,
                    )
                )
        raise Unwind  # the monitor cancelled its scope

    try:
        return _deterministic(simulation, _Hook(scheduler or SeededScheduler(seed), monitor))
    except BaseException as error:
        if monitor.error is None:
            raise
        raise monitor.error from _unrelated(error)
    finally:
        watchdog.disarm()


def _unrelated(error: BaseException) -> BaseException | None:
    """What went wrong besides, and may be why the simulation got stuck; None for the unwinding alone."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Unwind)[1]
    return None if isinstance(error, Unwind | trio.TrioInternalError) else error


@cache
def self_test() -> None:
    """Check that trio's private names still mean what this module needs; once per process, some milliseconds.

    Raises:
        UnsupportedTrio: they do not.
    """
    if not isinstance(getattr(trio_run, _SWITCH, None), bool):
        raise UnsupportedTrio(f"trio._core._run.{_SWITCH} is not there")
    if not isinstance(getattr(trio_run, _GENERATOR, None), random.Random):
        raise UnsupportedTrio(f"trio._core._run.{_GENERATOR} is not a random.Random")
    if not hasattr(trio_run.Runner, "runq"):
        raise UnsupportedTrio("a run has no queue that tasks can be put back on")
    if not hasattr(trio.lowlevel.Task, "_counter"):
        raise UnsupportedTrio("tasks have no number that they are sorted by")
    probe = _Probe()
    ran, seconds = _deterministic(probe.main, probe)
    if not probe.largest:
        raise UnsupportedTrio("the scheduler hook was not called with all runnable tasks")
    if probe.largest != sorted(probe.largest):
        raise UnsupportedTrio("the scheduler hook's batch is not sorted by age")
    if probe.ages != sorted(probe.ages):
        raise UnsupportedTrio("the numbers of tasks are not their ages")
    if ran != [*probe.largest[1::2], *probe.largest[0::2]]:
        raise UnsupportedTrio("tasks do not run in the order of the scheduler hook")
    if seconds != 3600.0:
        raise UnsupportedTrio("virtual time does not jump to the next timer")


class _Probe:
    """The self-test's program and its scheduler: wakes many tasks at once, and has the odd ones run first, the even ones when put back."""

    def __init__(self) -> None:
        self.largest: list[str] = []
        self.ages: list[int] = []

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        if len(batch) == _PROBES:
            self.largest = [task.name for task in batch]
            self.ages = ages(batch)
            put_back(batch[0::2])
            batch[:] = batch[1::2]
        batch.reverse()

    async def main(self) -> tuple[list[str], float]:
        """The names in the order in which the tasks ran, and the time it took."""
        ran: list[str] = []
        go = trio.Event()
        timers = _join_timers()

        async def wait(name: str) -> None:
            await go.wait()
            ran.append(name)

        async with trio.open_nursery() as nursery:
            for number in range(_PROBES):
                name = f"{number:03d}"
                nursery.start_soon(wait, name, name=name)
            await trio.sleep(1800)
            await timers.sleep(1800)
            self.largest.clear()  # their first steps were a batch too
            go.set()
        return ran, trio.current_time()


class _Generator(Protocol):
    """What trio asks of its generator when the switch is on."""

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None: ...


def _virtual_clock() -> trio.abc.Clock:
    """Trio's clock for tests, jumping to the next timer when all is idle, with its two hot methods replaced in this instance.

    It is read some ten times for each event, and jumps for every timer. As it is, reading it asks for the real time, to multiply it
    by a rate of 0, and jumping counts all tasks and files on the way. (Trio refuses a subclass.)
    """
    clock = _mock_clock.MockClock(autojump_threshold=0)

    def current_time() -> float:
        return clock._virtual_base  # noqa: SLF001 - trio's own

    def autojump() -> None:
        deadlines = trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines
        jump = deadlines.next_deadline() - current_time()
        if 0 < jump < inf:
            clock.jump(jump)
            deadlines.expire(current_time())  # trio itself would, in a round of its own

    clock.current_time = current_time  # type: ignore[method-assign]  # of this instance
    clock._autojump = autojump  # type: ignore[method-assign]  # noqa: SLF001 - likewise
    return clock


class _Deadlines(trio_run.Deadlines):
    """Trio's deadlines and, at each question that its loop asks of them, the sleepers of `Timers`."""

    def __init__(self, timers: Timers) -> None:
        super().__init__()
        self._timers: Final = timers

    def next_deadline(self) -> float:
        return min(super().next_deadline(), self._timers.next_deadline())

    def expire(self, now: float) -> bool:
        # Trio's first: who is cancelled in the moment in which he would wake is cancelled, as he is in `trio.sleep`.
        expired = super().expire(now)
        return self._timers.expire(now) or expired


class _Hooks(dict[str, dict[trio.abc.Instrument, None]]):
    """Trio's instruments, as a plain dictionary: its loop looks for five of them at each step of a task, and as a `UserDict` that is a call each."""

    @property
    def data(self) -> _Hooks:
        """Where the methods of trio's class look."""
        return self

    add_instrument = Instruments.add_instrument
    remove_instrument = Instruments.remove_instrument
    call = Instruments.call


def _join_timers() -> Timers:
    """The timers of the run that goes on, from now on looked at with trio's deadlines; of those there must be none yet."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    assert runner.deadlines.next_deadline() == inf, "too late"
    timers = Timers(runner.clock.current_time)
    runner.deadlines = _Deadlines(timers)
    runner.instruments = _Hooks(runner.instruments.data)  # type: ignore[assignment]  # all that trio asks of them
    return timers


def _deterministic(main: Callable[[], Awaitable[T]], generator: _Generator) -> T:
    """`trio.run` with everything of this module's docstring in place."""

    async def undisturbed() -> T:
        with suppress(ValueError):  # only the main thread has it, and only there do signals disturb
            signal.set_wakeup_fd(-1)  # trio restores what was before the run when it closes
        return await main()

    with _wakeups_kept(), _switched(generator):
        return trio.run(undisturbed, clock=_virtual_clock())


@contextmanager
def _wakeups_kept() -> Iterator[None]:
    """The signal wake-up descriptor as it was before, also when trio itself was broken off and left its own behind:
    the next `trio.run` of the process would take that for another library's.
    """
    try:
        before = signal.set_wakeup_fd(-1)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        with suppress(ValueError):  # closed meanwhile
            signal.set_wakeup_fd(before)


class _Collector:
    """Collects garbage between runs, as the cyclic collector is off while one goes on.

    Each run leaves some garbage that only a look at all objects finds: 1 MiB, if it is a cluster's. That look takes a second in a process of
    several million objects, as a long run of pytest is; so it waits until a quarter as many have been added, as Python's own does.
    """

    def __init__(self) -> None:
        self._added = 0
        """Objects that outlived their run, since all were looked at."""
        self._enough = _FULL_COLLECTION

    def before_run(self) -> None:
        """What runs before still held when they ended."""
        if self._added < self._enough:
            gc.collect(1)
            return
        gc.collect(2)
        self._added, self._enough = 0, max(_FULL_COLLECTION, len(gc.get_objects()) // 4)

    def after_run(self) -> None:
        """The young generation: with the collector off, that is all that this run has made."""
        made, _, _ = gc.get_count()
        self._added += max(0, made - gc.collect(0))


_FULL_COLLECTION: Final = 100_000
"""Fewer objects are not worth a look at all of them."""
_collector: Final = _Collector()


@contextmanager
def _switched(generator: _Generator) -> Iterator[None]:
    """Trio's switch and generator ours, the collector off; all as before when the block ends."""
    before = {name: getattr(trio_run, name) for name in (_SWITCH, _GENERATOR)}
    collecting = gc.isenabled()
    gc.disable()
    _collector.before_run()
    setattr(trio_run, _SWITCH, True)
    setattr(trio_run, _GENERATOR, generator)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(trio_run, name, value)
        _collector.after_run()
        if collecting:
            gc.enable()
