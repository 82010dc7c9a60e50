"""What a user waits for: importing, the demo, and one small experiment after another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.model import Benchmark, Case, Figures, Meter, number
from wavetank.experiment.load import load_experiment
from wavetank.experiment.run import run_experiment

DEMO = ROOT / "examples" / "node-failure.yaml"
SMALL = Path(__file__).parent / "experiments" / "three-nodes.yaml"

_IMPORT = "import time; t = time.process_time(); import wavetank; print(time.process_time() - t)"


def measure(case: Case, meter: Meter) -> Figures:
    """All three, one after another."""
    runs = number(case, "runs")
    imports = min(_import_seconds() for _ in range(runs))
    run_experiment(load_experiment(SMALL))  # the first one also writes the codecs of its types
    demo = _timed(DEMO, Meter())
    with meter.measured():
        for done in range(runs):
            meter.tell(done / runs, "three nodes, 20 virtual minutes")
            assert run_experiment(load_experiment(SMALL, seed=done)).passed, "it did not pass"
    return {
        "import_cpu_s": round(imports, 3),
        "demo_wall_s": round(demo.wall_seconds, 3),
        "demo_cpu_s": round(demo.cpu_seconds, 3),
        "experiments": runs,
        **meter.times(),
        "experiments_per_s": round(runs / meter.wall_seconds, 2),
        "experiments_per_cpu_s": round(runs / meter.cpu_seconds, 2),
    }


def _timed(path: Path, meter: Meter) -> Meter:
    with meter.measured():
        result = run_experiment(load_experiment(path))
    assert result.passed, f"{path.name} did not pass"
    return meter


def _import_seconds() -> float:
    """CPU seconds that `import wavetank` takes in a fresh interpreter."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", _IMPORT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


BENCHMARK = Benchmark(
    name="demo",
    about="import time, the demo's wall time, and experiments of 3 nodes per second",
    cases={"tiny": ({"runs": 1},), "small": ({"runs": 5},), "full": ({"runs": 20},)},
    measure=measure,
)
