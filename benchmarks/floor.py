"""What one event costs at the very least, here and now: the yardstick for everything else.

An event must be packed, checksummed and written; a timer must wake a task. This measures exactly that, with nothing around it: msgpack packs the
plain data of a typical Pod, crc-32 sums the bytes, one write hands them to the operating system; one task of trio
sleeps again and again in virtual time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from zlib import crc32

import msgpack
import trio
import trio.testing

from benchmarks.manifests import running_pod
from benchmarks.model import Benchmark, Case, Figures, Meter, number, without_gc
from engine import default_scheme

BEST_OF = 5


def event_seconds(count: int) -> tuple[float, int]:
    """CPU seconds of one event and its bytes: pack, checksum, buffered write."""
    data = default_scheme().to_dict(running_pod())
    pack = msgpack.Packer(use_bin_type=True).pack
    with tempfile.TemporaryFile(buffering=0) as file:

        def write() -> None:
            for _ in range(count):
                packed = pack(data)
                file.write(packed + crc32(packed).to_bytes(4, "little"))

        return _best(write) / count, len(pack(data))


def timer_seconds(count: int) -> float:
    """CPU seconds of one timer: set, wait in virtual time, wake."""

    async def tick() -> None:
        for _ in range(count):
            await trio.sleep(1)

    return _best(lambda: trio.run(tick, clock=trio.testing.MockClock(autojump_threshold=0))) / count


def _best(work: Callable[[], object]) -> float:
    best = float("inf")
    with without_gc():
        for _ in range(BEST_OF):
            start = time.process_time()
            work()
            best = min(best, time.process_time() - start)
    return best


def event_floor_us(count: int = 5_000) -> float:
    """The floor of one event in microseconds of CPU time."""
    return event_seconds(count)[0] * 1e6


def measure(case: Case, meter: Meter) -> Figures:
    """The floor itself."""
    count = number(case, "count")
    with meter.measured():
        event, size = event_seconds(count)
        meter.tell(0.5, "timers")
        timer = timer_seconds(count)
    return {
        "us_per_event": round(event * 1e6, 2),
        "bytes_per_event": size,
        "us_per_timer": round(timer * 1e6, 2),
    }


BENCHMARK = Benchmark(
    name="floor",
    about="one event's unavoidable cost: pack a Pod, checksum, buffered write; one timer wake-up",
    cases={"tiny": ({"count": 200},), "small": ({"count": 5_000},), "full": ({"count": 20_000},)},
    measure=measure,
)
