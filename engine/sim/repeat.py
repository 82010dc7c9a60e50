"""The determinism gate: does a program do the same thing again, and if not, where does it part?

A program is a function from a seed to the events of one run, as text: what the whole cluster writes to its log, or what a small test
appends to a list. `repeat` runs it in fresh processes, each with another hash seed, another heap and other garbage collector thresholds,
and several times in each; it compares the event lists and names **the first event that differs**, which is where to look: whatever leaked
in (time, entropy, addresses, the order of a set) did so between the event before and that one.

    verdict, = repeat(["tests/programs.py:node_failure"], seed=7)
    assert verdict.divergence is None, verdict.divergence

Runs in the same process catch what fresh processes cannot: counters that outlive a run. The program is named, not passed, since the
processes start from nothing: `package.module:function` or `path/file.py:function`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

Program = Callable[[int], Iterable[str]]
"""From a seed to the events of one run, in order."""


class RepeatError(Exception):
    """A program could not be run at all; the message ends with what it wrote to stderr."""


@attrs.frozen(kw_only=True)
class Run:
    """One run of one program."""

    label: str
    """`process 2 (PYTHONHASHSEED=71), run 1`."""
    events: Sequence[str]


@attrs.frozen(kw_only=True)
class Divergence:
    """The first event at which a run parts from the first run."""

    index: int
    """Events before it, all equal."""
    expected: str | None
    """The event of the first run; None when that had ended."""
    found: str | None
    expected_in: str
    found_in: str

    def __str__(self) -> str:
        return (
            f"event {self.index} differs:\n"
            f"  {_shown(self.expected)}  in {self.expected_in}\n"
            f"  {_shown(self.found)}  in {self.found_in}"
        )


@attrs.frozen(kw_only=True)
class Verdict:
    """What repeating one program showed."""

    program: str
    runs: tuple[Run, ...]
    divergence: Divergence | None
    """None: every run had the same events."""


def compare(runs: Sequence[Run]) -> Divergence | None:
    """The divergence with the fewest equal events before it, of any run from the first one."""
    first = runs[0]
    earliest: Divergence | None = None
    for run in runs[1:]:
        index = _first_difference(first.events, run.events)
        if index is not None and (earliest is None or index < earliest.index):
            earliest = Divergence(
                index=index,
                expected=_event(first.events, index),
                found=_event(run.events, index),
                expected_in=first.label,
                found_in=run.label,
            )
    return earliest


def repeat(
    programs: Sequence[str],
    *,
    seed: int,
    processes: int = 3,
    runs_per_process: int = 2,
    timeout_seconds: float = 300.0,
) -> tuple[Verdict, ...]:
    """Run each program `processes * runs_per_process` times and compare; one verdict for each, in their order.

    The processes run side by side and take all programs in turn, so that a suite of small ones costs little more than one.

    Raises:
        RepeatError: a program is not there, raised, or took longer than the time-out.
    """
    command = [sys.executable, "-m", "engine.sim.repeat", str(seed), str(runs_per_process)]
    started = []
    for _ in range(processes):
        hash_seed = str(int.from_bytes(os.urandom(4), "big"))  # noqa: TID251 - noise on purpose
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
            [*command, *programs],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append((hash_seed, child))
    collected: list[list[Run]] = [[] for _ in programs]
    try:
        for number, (hash_seed, child) in enumerate(started, start=1):
            runs_of_programs = _result(child, timeout_seconds)
            for runs, event_lists in zip(collected, runs_of_programs, strict=True):
                runs.extend(
                    Run(
                        label=f"process {number} (PYTHONHASHSEED={hash_seed}), run {turn}",
                        events=events,
                    )
                    for turn, events in enumerate(event_lists, start=1)
                )
    finally:
        for _, child in started:
            child.kill()
            child.communicate()
    return tuple(
        Verdict(program=program, runs=tuple(runs), divergence=compare(runs))
        for program, runs in zip(programs, collected, strict=True)
    )


def _result(child: subprocess.Popen[str], timeout_seconds: float) -> list[list[list[str]]]:
    """The events a child reports: by program, by run."""
    try:
        out, err = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise RepeatError(f"a process took longer than {timeout_seconds:g} s") from error
    if child.returncode != 0:
        raise RepeatError(f"a process ended with status {child.returncode}:\n{err[-4000:]}")
    result: list[list[list[str]]] = json.loads(out)
    return result


def _first_difference(left: Sequence[str], right: Sequence[str]) -> int | None:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return None if len(left) == len(right) else min(len(left), len(right))


def _event(events: Sequence[str], index: int) -> str | None:
    return events[index] if index < len(events) else None


def _shown(event: str | None) -> str:
    return "(no more events)" if event is None else event


# What runs in the processes.


def load(program: str) -> Program:
    """The function that `package.module:function` or `path/file.py:function` names.

    Raises:
        RepeatError: there is none.
    """
    place, _, name = program.rpartition(":")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # attrs and typing look up the module of a class
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[spec.name]  # as an import that fails does; raised again
                raise
        else:
            module = importlib.import_module(place)
        function: Program = getattr(module, name)
    except (ImportError, OSError, ValueError, AttributeError) as error:
        raise RepeatError(
            f"no program {program!r}: {error}; allowed are module:function and path/file.py:function"
        ) from error
    return function


def _noise() -> Iterator[object]:
    """Objects to keep alive, of random sizes with random gaps between them: no two heaps alike."""
    sizes = os.urandom(3000)  # noqa: TID251 - noise on purpose
    blocks: list[object] = [bytearray(16 * size + 1) for size in sizes]
    objects: list[object] = [[size] for size in sizes[: sizes[0] * 8]]
    yield blocks[:: 2 + sizes[1] % 5]
    yield objects[:: 2 + sizes[2] % 3]
    gc.set_threshold(200 + 8 * sizes[3], 5 + sizes[4] % 10, 5 + sizes[5] % 10)


_USAGE: Final = "usage: python -m engine.sim.repeat SEED RUNS PROGRAM..."


def main(arguments: Sequence[str]) -> None:
    """Run the programs, with noise before each run, and write the events to stdout as JSON."""
    if len(arguments) < 3:
        raise SystemExit(_USAGE)
    seed, turns = int(arguments[0]), int(arguments[1])
    kept: list[object] = []
    report: list[list[list[str]]] = []
    with contextlib.redirect_stdout(sys.stderr):  # what programs print is no event
        for program in arguments[2:]:
            kept.extend(_noise())
            function = load(program)
            runs = []
            for _ in range(turns):
                kept.extend(_noise())
                runs.append([str(event) for event in function(seed)])
            report.append(runs)
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
