"""A long log: opening it to read and to go on with at its head, and the state of the cluster at revisions drawn at random."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import attrs
import trio

from benchmarks.machine import peak_rss_mib
from benchmarks.manifests import running_pod
from benchmarks.model import Benchmark, Case, Figures, Meter, number, percentile, without_gc
from engine import Condition, ObjectCodec, Pod, default_scheme
from store import Durability, Origin, Put, Txn, open_store, read_log

PODS = 10_000
"""Keys of the log; each is written again and again."""
MOMENTS = 10
ORIGIN = Origin(actor="benchmark", causes=("benchmark",))


def measure(case: Case, meter: Meter) -> Figures:
    """Write the log (not measured), then read it."""
    events = number(case, "events")
    with tempfile.TemporaryDirectory() as directory, without_gc():
        path = Path(directory) / "log"
        trio.run(_write, path, events, meter)
        size = sum(file.stat().st_size for file in path.iterdir())
        codec = ObjectCodec(default_scheme())
        figures: Figures = {"events": events, "log_mib": round(size / 2**20, 1)}
        with meter.measured():
            figures |= _resume_and_read(path, codec, events, meter)
    return {**meter.times(), **figures, "peak_rss_mib": peak_rss_mib()}


async def _write(path: Path, events: int, meter: Meter) -> None:
    pods = [running_pod(f"pod-{n}") for n in range(min(PODS, events))]
    async with open_store(
        path,
        codec=ObjectCodec(default_scheme()),
        clock=lambda: 0,
        durability=Durability.NONE,
        header={},
    ) as store:
        for n in range(events):
            pod = _changed(pods[n % len(pods)], n)
            key = f"/registry/pods/default/{pod.metadata.name}"
            await store.txn(Txn(success=(Put(key, pod),)), origin=ORIGIN)
            if n % 10_000 == 0:
                meter.tell(n / events / 2, f"writing event {n} of {events}")


def _changed(pod: Pod, n: int) -> Pod:
    said = Condition(type="benchmarks/Round", status="True", message=str(n))
    status = attrs.evolve(pod.status, conditions=(*pod.status.conditions, said))
    return attrs.evolve(pod, status=status)


def _resume_and_read(path: Path, codec: ObjectCodec, events: int, meter: Meter) -> Figures:
    start = time.perf_counter()
    reader = read_log(path, codec)
    opened = time.perf_counter()
    verified = reader.verify()
    assert verified.events == events, f"{verified.events} events in a log of {events}"
    checked = time.perf_counter()
    draw = random.Random(1)  # noqa: S311 - no secret
    took: list[float] = []
    one: list[float] = []
    for done in range(MOMENTS):
        meter.tell(0.5 + done / MOMENTS / 2, f"state {done + 1} of {MOMENTS}")
        revision = draw.randint(2, events + 1)
        began = time.perf_counter()
        state = reader.state(revision)
        took.append(time.perf_counter() - began)
        assert state, "an empty state"
        key = next(iter(state))
        began = time.perf_counter()
        assert state[key] == reader.state(revision, prefix=key)[key]
        one.append(time.perf_counter() - began)
    began = time.perf_counter()
    resumed = trio.run(_resume, path, codec)
    assert resumed == verified.head, f"went on at {resumed}, and not at {verified.head}"
    return {
        "open_s": round(opened - start, 4),
        "verify_s": round(checked - opened, 3),
        "state_p50_ms": round(percentile(took, 0.5) * 1e3, 1),
        "state_max_ms": round(max(took) * 1e3, 1),
        "object_p50_ms": round(percentile(one, 0.5) * 1e3, 1),
        "resume_s": round(time.perf_counter() - began, 3),
    }


async def _resume(path: Path, codec: ObjectCodec) -> int:
    """Open the log to go on with it, as a store does; returns its head."""
    async with open_store(path, codec=codec, clock=lambda: 0, resume=True) as store:
        return store.head


BENCHMARK = Benchmark(
    name="replay",
    about="open a log, the state at 10 random revisions and one object of it, and go on at its head",
    cases={
        "tiny": ({"events": 50},),
        "small": ({"events": 50_000},),
        "full": ({"events": 1_000_000},),
    },
    measure=measure,
    curve=("events", ("verify_s", "state_p50_ms")),
)
