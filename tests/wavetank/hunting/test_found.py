"""What hunts of our own reconcilers and kubelets have found, each with the plan it was shrunk to: none of it may come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wavetank.hunting.hunted import SHOP, write_shop
from wavetank.experiment.assembly import assemble
from wavetank.experiment.load import load_experiment
from wavetank.faults.plan import plan_from_json
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import TrialInput
from wavetank.hunting.trial import run_trial

DEPLOYMENT = "Deployment/default/web"

FOUND = {
    "a pod was deleted for good before its last status was written": (
        184,
        [
            {"id": "a", "type": "workload.surge", "target": DEPLOYMENT, "at": 150, "seconds": 25},
            {"id": "b", "type": "store.slow", "at": 140, "parameters": {"delay": "1s..3s"}},
        ],
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_does_not_come_back(name: str, tmp_path: Path) -> None:
    """No invariant is broken, and the cluster converges."""
    seed, plan = FOUND[name]
    path = write_shop(tmp_path)
    nodes = (
        "      - {prefix: a, count: 2, zone: zone-a}\n      - {prefix: b, count: 1, zone: zone-b}\n"
    )
    path.write_text(SHOP.replace(nodes, "      - {prefix: node, count: 1}\n"))
    web = tmp_path / "web.yaml"
    web.write_text(web.read_text().replace("replicas: 3", "replicas: 1"))
    trial = TrialInput(seed=seed, plan=plan_from_json(plan))
    assert run_trial(assemble(load_experiment(path)), trial, Bounds()).findings == ()
