"""Seeds a second: a hunt of a Deployment of three pods, with the faults of nodes, on several processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.model import Benchmark, Case, Figures, Meter, number
from wavetank.experiment.load import load_experiment
from wavetank.faults.drawing import types_of
from wavetank.hunting.campaign import Campaign, Hunt, run_seeds
from wavetank.hunting.executors import open_executor
from wavetank.hunting.outcome import Outcome

_EXPERIMENT = """\
apiVersion: wavetank/v1
kind: Experiment
metadata: {{name: hunted}}
spec:
  cluster:
    nodes:
      - {{prefix: node, count: {nodes}, zone: zone-a}}
  manifests: [web.yaml]
  steadyState:
    - deploymentAvailable: {{name: web}}
"""
_WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: "registry.example/web:1", resources: {requests: {cpu: 100m, memory: 64Mi}}}
"""


def measure(case: Case, meter: Meter) -> Figures:
    """All seeds of the case; the processes have started and loaded the experiment before."""
    seeds, jobs = number(case, "seeds"), number(case, "jobs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hunt = _hunt(folder, number(case, "nodes"), str(case["faults"]))
        campaign = Campaign(hunt, folder / "report")
        campaign.open()
        done: list[Outcome] = []

        def tell(outcome: Outcome) -> None:
            done.append(outcome)
            meter.tell(len(done) / seeds, f"{len(done)} of {seeds} seeds")

        with open_executor(jobs) as (workers, parallel):
            for future in [workers.submit(run_seeds, hunt, [seed]) for seed in range(jobs)]:
                future.result()
            with meter.measured():
                failures = campaign.run(range(seeds), workers, parallel=parallel, tell=tell)
    assert not failures, [str(each.findings[0]) for each in failures]
    rate = seeds / meter.wall_seconds
    return {
        "wall_s": round(meter.wall_seconds, 2),
        "seeds_per_s": round(rate, 1),
        "seeds_per_s_per_core": round(rate / jobs, 1),
        "events_per_seed": round(sum(each.events for each in done) / seeds, 1),
        "virtual_s_per_seed": round(sum(each.virtual_seconds for each in done) / seeds, 1),
    }


def _hunt(folder: Path, nodes: int, faults: str) -> Hunt:
    (folder / "hunted.yaml").write_text(_EXPERIMENT.format(nodes=nodes), encoding="utf-8")
    (folder / "web.yaml").write_text(_WEB, encoding="utf-8")
    names = [] if faults == "all" else faults.split(",")
    types = tuple(kind.name for kind in types_of(names))
    return Hunt.of(load_experiment(folder / "hunted.yaml"), faults=types)


BENCHMARK = Benchmark(
    name="hunt",
    about="seeds of a hunt, each a trial in two phases with up to four faults",
    cases={
        "tiny": ({"nodes": 1, "seeds": 2, "jobs": 1, "faults": "node.crash"},),
        "small": ({"nodes": 3, "seeds": 200, "jobs": 2, "faults": "node.crash"},),
        "full": (
            {"nodes": 3, "seeds": 1_000, "jobs": 2, "faults": "node.crash"},
            {"nodes": 5, "seeds": 1_000, "jobs": 2, "faults": "node.crash"},
            {"nodes": 5, "seeds": 1_000, "jobs": 2, "faults": "all"},
        ),
    },
    measure=measure,
)
