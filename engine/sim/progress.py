"""What makes a simulation stop making progress, found and named: a task that never yields, a livelock, a deadlock.

Theory of operation. No thread may run beside a simulation, so nothing can look at it from outside. Two things can from inside:

- the scheduler hook, called once per round of runnable tasks (`determinism.py`), counts rounds. Too many of them at one virtual instant
  are a **livelock**: the tasks that ran most in the last rounds are named. Rounds with nothing to run and no timer to wait for are a
  **deadlock**: trio would spin there for ever, waiting for the outside world that a simulation does not have.
- the operating system's interval timer interrupts a task that **never yields** (`while True: pass`, a blocking call). Its signal handler
  compares (round, task) with the last tick: the same pair is the same step. A step is ended after `Limits.ticks` such ticks, not after a
  time, so that a machine that was asleep for an hour counts as one tick.

A healthy run is not touched by any of this: counting is not observable, and the handler only looks. An ending run unwinds its tasks
with an exception that `except Exception` does not catch, so that no controller takes it for a failed reconcile; `run` then raises the error
that names the culprit.

Not found: a task that never yields inside a single C call that looks at no signals (`sum(range(10**12))`); any such task on a platform
without SIGALRM (Windows), outside the main thread, or in a program that uses SIGALRM itself (pytest-timeout).
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import takewhile
from types import FrameType
from typing import Final

import attrs
import trio

process_name: Final[ContextVar[str]] = ContextVar("process_name", default="")
"""The process that a task belongs to, inherited by the tasks it starts; empty outside of all processes."""


@attrs.frozen(kw_only=True)
class Limits:
    """When a simulation counts as stuck."""

    rounds_per_instant: int = 500_000
    """Scheduler rounds at one virtual instant: 3 to 25 s of wall time. A round runs every task that is runnable, so that a large
    cluster has larger rounds, not more of them; a single loop that does 50,000 API calls on links without delay comes near."""
    ticks: int = 10
    """Ticks of the interval timer that one step of a task may see."""
    tick_seconds: float = 1.0
    """Wall time between ticks; 0 switches the interval timer off."""


class SimulationError(Exception):
    """The simulation itself cannot go on; raised by `run`."""


class NeverYields(SimulationError):
    """A task ran on and on without a checkpoint, and with it stood the whole cluster."""

    def __init__(self, task: str, seconds: float, stack: Sequence[str]) -> None:
        super().__init__(
            f"{task} never yields: one step of it ran for {seconds:g} s, at {' < '.join(stack)}; "
            "a loop that may be long awaits trio.lowlevel.checkpoint()"
        )
        self.task: Final = task
        """The process and the task: `controller/mine (reconcile worker 0)`."""
        self.stack: Final = tuple(stack)
        """Where it was interrupted, innermost call first: `mine.py:31 in reconcile`."""


class Livelock(SimulationError):
    """Tasks kept each other busy while virtual time stood still."""

    def __init__(self, seconds: float, rounds: int, busiest: Sequence[tuple[str, int]]) -> None:
        names = ", ".join(f"{name} ({steps})" for name, steps in busiest)
        super().__init__(
            f"livelock at {seconds:g} s: {rounds} scheduler rounds and virtual time stands still; "
            f"steps in the last {_SAMPLE} rounds: {names}"
        )
        self.busiest: Final = tuple(busiest)
        """(task, steps in the sample), the busiest first."""


class Deadlock(SimulationError):
    """Every task waits, and no timer is set: nothing can ever happen again."""

    def __init__(self, seconds: float, waiting: Sequence[str]) -> None:
        super().__init__(
            f"deadlock at {seconds:g} s: every task waits for another, and no timer is set; "
            "threads and real I/O cannot be waited for in a simulation. Waiting: "
            + "; ".join(waiting[:_NAMED])
            + (f"; and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else "")
        )
        self.waiting: Final = tuple(waiting)
        """All tasks and the line each waits in, by name."""


class Unwind(BaseException):
    """Takes a simulation down from within a task that does not yield; `run` turns it into the error it stands for."""


_SAMPLE: Final = 1000
"""Rounds watched to see who is busy in a livelock."""
_NAMED: Final = 5
"""Tasks named in a message: the rest of a stuck cluster waits for these."""
_EMPTY_ROUNDS: Final = 50
"""Empty rounds in a row before looking for a deadlock; one or two come before every jump of the clock."""
_PATIENCE: Final = 200_000
"""Empty rounds in a row that a cancelled simulation may take to end: some seconds, for a thread that nothing can cancel."""


class Monitor:
    """Counts the rounds of one run, and ends it when it is stuck.

    `round(tasks)` is called before each round, with the tasks about to run. `error` is what was found. The first find cancels
    the whole simulation; if it is stuck again on the way out, the error is raised into trio's own loop.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits: Final = limits
        self._scope: Final = trio.CancelScope()
        self.error: SimulationError | None = None
        self.rounds = 0
        self._main: trio.lowlevel.Task | None = None
        self._look_at: int = limits.rounds_per_instant
        self._looked_time = -math.inf
        self._sample: Counter[str] = Counter()
        self._sampled = 0
        self._last_empty = -1
        self._empty_in_row = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around the whole simulation, in its main task."""
        self._main = trio.lowlevel.current_task()
        self._main.name = "main"
        with self._scope:
            yield

    def round(self, tasks: Sequence[trio.lowlevel.Task]) -> None:
        """Count; nearly always that is all."""
        self.rounds += 1
        if not tasks:
            self._empty()
        elif self.rounds >= self._look_at:
            self._look(tasks)

    def _look(self, tasks: Sequence[trio.lowlevel.Task]) -> None:
        """Between two looks at the same time lie `rounds_per_instant` rounds; then come the rounds of the sample."""
        now = trio.current_time()
        if now != self._looked_time:
            self._looked_time = now
            self._look_at = self.rounds + self.limits.rounds_per_instant
            self._sample.clear()
            self._sampled = 0
        elif self._sampled < _SAMPLE:
            self._sampled += 1
            self._sample.update(task_label(task) for task in tasks)
        else:
            busiest = sorted(self._sample.items(), key=lambda each: (-each[1], each[0]))
            self._looked_time = -math.inf
            self._fail(Livelock(now, self.limits.rounds_per_instant, busiest[:_NAMED]))

    def _empty(self) -> None:
        self._empty_in_row = self._empty_in_row + 1 if self._last_empty == self.rounds - 1 else 1
        self._last_empty = self.rounds
        if self._empty_in_row % _EMPTY_ROUNDS != 0:
            return
        if self.error is not None and self._empty_in_row < _PATIENCE:
            return
        if trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf:
            waiting = [_waits(task) for task in _descendants(self._main)]
            self._fail(Deadlock(trio.current_time(), waiting))

    def end(self, error: SimulationError) -> None:
        """Cancel the simulation, for this reason; the first one given stays."""
        if self.error is None:
            self.error = error
            self._scope.cancel()

    def _fail(self, error: SimulationError) -> None:
        if self.error is not None:
            raise self.error  # ends in trio's TrioInternalError, with tasks left lying about: it has had its chance
        self.end(error)


class Watchdog:
    """The interval timer's side: finds the task that never yields. See the module's theory of operation."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor: Final = monitor
        self._step: tuple[int, trio.lowlevel.Task] | None = None
        self._ticks = 0
        self._armed = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Tick while the block runs; does nothing where it cannot (see the module), and leaves the signal as it was."""
        interval = self._monitor.limits.tick_seconds
        if interval <= 0 or not _alarm_is_free():
            yield
            return
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, interval, interval)
        self._armed = True
        try:
            yield
        finally:
            self.disarm()

    def disarm(self) -> None:
        """Tick no more. `run` calls it once again when trio is gone: a tick may have ended the first call."""
        if self._armed:
            self._armed = False  # first: from here on a tick that comes does nothing
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _tick(self, _signum: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        try:
            task = trio.lowlevel.current_task()
        except RuntimeError:  # between two steps
            self._step = None
            return
        step = (self._monitor.rounds, task)
        if step != self._step:
            self._step = step
            self._ticks = 0
            return
        self._ticks += 1
        stack = _stack_in(task, frame)
        limits = self._monitor.limits
        if (
            self._ticks < limits.ticks or not stack
        ):  # no stack: the step is over, trio is putting it away
            return
        self._ticks = 0
        seconds = limits.ticks * limits.tick_seconds
        if self._monitor.error is None:
            self._monitor.error = NeverYields(task_label(task), seconds, stack)
        raise Unwind


def _alarm_is_free() -> bool:
    """Whether SIGALRM exists, nobody uses it, and this is the main thread."""
    if not hasattr(signal, "setitimer"):
        return False
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        return False
    if signal.getitimer(signal.ITIMER_REAL)[0] != 0:
        return False
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    except ValueError:  # another thread: only the main one may set handlers
        return False
    return True


def task_label(task: trio.lowlevel.Task) -> str:
    """The name of a task for people, with its process: `kubelet/node-3 (heartbeat)`."""
    process = task.context.get(process_name) or ""
    if not process or process == task.name:
        return task.name
    return f"{process} ({task.name})"


def _stack_in(task: trio.lowlevel.Task, frame: FrameType | None) -> list[str]:
    """The calls from `frame` out to the task's own function, innermost first, 8 at most; empty when the frame is not in the task."""
    frames = list(_outward(frame))
    outermost = getattr(task.coro, "cr_frame", None)
    if outermost not in frames:
        return []
    inside = [*takewhile(lambda each: each is not outermost, frames), outermost]
    return [_place(each, each.f_lineno) for each in inside[:8] if each is not None]


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType, line: int) -> str:
    name = frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
    return f"{name}:{line} in {frame.f_code.co_name}"


def _descendants(task: trio.lowlevel.Task | None) -> list[trio.lowlevel.Task]:
    """The tasks of the simulation, by label: without trio's own, which wait for the outside."""
    found: list[trio.lowlevel.Task] = []
    unseen = [] if task is None else [task]
    while unseen:
        each = unseen.pop()
        found.append(each)
        for nursery in each.child_nurseries:
            unseen.extend(nursery.child_tasks)
    return sorted(found, key=task_label)


def _waits(task: trio.lowlevel.Task) -> str:
    """Which line of its own a task waits in: the innermost that is not trio's."""
    places = [
        _place(frame, line)
        for frame, line in task.iter_await_frames()
        if not str(frame.f_globals.get("__name__")).startswith("trio.")
    ]
    return f"{task_label(task)} at {places[-1]}" if places else task_label(task)
