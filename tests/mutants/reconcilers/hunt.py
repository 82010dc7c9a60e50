"""Hunts for the broken reconcilers: each with an experiment, the faults that it asks for, and the first seed that finds it.

A user who doubts a reconciler strikes that one: the experiments' faults name their targets and leave the time, the length and the choice among several to
the seed. When the code below a mutant changes, another seed may be the first to find it: `python -m benchmarks mutants` looks for it, and says what to write here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.mutants.mutation import Mutant
from tests.mutants.reconcilers import mutants_ours, mutants_shops
from wavetank.experiment.load import load_experiment
from wavetank.hunting.campaign import Hunt
from wavetank.hunting.liveness import Bounds
from wavetank.hunting.outcome import Outcome
from wavetank.hunting.trial import run_trial

EXPERIMENTS = Path(__file__).parent / "experiments"
SEEDS = 200
"""Within so many seeds a mutant must be found (issue 5)."""
BOUNDS = Bounds(recover=900.0, hold=120.0)
LONG = Bounds(recover=900.0, hold=360.0)
"""Past the five minutes that a pod may stay on a node that is not reached."""


def fault(
    name: str, /, target: str = "", at: str = "5s..170s", lasts: str = "", **options: object
) -> str:
    """One entry of `spec.faults`."""
    parts = [f"type: {name}", f"at: {at}"]
    parts += [f"target: {target}"] if target else []
    parts += [f"for: {lasts}"] if lasts else []
    if options:
        values = ", ".join(f"{option}: {value}" for option, value in options.items())
        parts.append(f"parameters: {{{values}}}")
    return "{" + ", ".join(parts) + "}"


def crashes(process: str, *kinds: str, point: str = "after", down: int = 1) -> tuple[str, ...]:
    """The process dies at the next write of an object of each kind, counted from a moment of its own."""
    return tuple(
        fault("process.crash_at_write", process, lasts="60s", kind=kind, point=point, down=down)
        for kind in kinds
    )


@attrs.frozen(kw_only=True)
class Quarry:
    """One mutant and how it is hunted."""

    mutant: Mutant
    experiment: str
    faults: tuple[str, ...]
    seed: int
    """The first that finds it."""
    bounds: Bounds = BOUNDS

    def __str__(self) -> str:
        return self.mutant.name

    @property
    def hunt(self) -> Hunt:
        return hunt_of(self.experiment, self.faults, self.bounds)

    def run(self, seed: int) -> Outcome:
        """One trial with the mutant planted."""
        with self.mutant.planted():
            return trial(self.hunt, seed)


def hunt_of(name: str, faults: Sequence[str], bounds: Bounds = BOUNDS) -> Hunt:
    """The hunt of an experiment, with these among its own faults."""
    experiment = load_experiment(EXPERIMENTS / f"{name}.yaml")
    texts = dict(experiment.files.texts)
    if faults:
        texts[experiment.text_name] += "  faults:\n" + "".join(f"  - {each}\n" for each in faults)
    return Hunt(
        name=experiment.name, file=experiment.text_name, texts=texts, faults=(), bounds=bounds
    )


def trial(hunt: Hunt, seed: int) -> Outcome:
    """One trial of the code as it is."""
    return run_trial(hunt.assembly(), hunt.trial(seed), hunt.bounds)


SHOPS = crashes("controller/shops", "Shop", "Database", "ConfigMap", "Deployment")
REFUSALS = tuple(
    fault("server.error", "apiserver-0", lasts="5s..30s", status=status, chance=0.5, verb=verb)
    for status, verb in ((500, "write"), (503, "any"), (500, "read"))
)
OUTAGES = tuple(fault("node.crash", at=at, lasts="60s..110s") for at in ("0s..30s", "5s..170s"))

_FOUND: dict[str, tuple[str, tuple[str, ...], int]] = {
    # -- a user's operator -----------------------------------------------------------------------
    "child made together with its sibling only": ("shops", SHOPS, 9),
    "create that is not idempotent": ("shops", SHOPS, 0),
    "created, then recorded, never adopted": ("shops", SHOPS, 6),
    "finalizer removed first": ("shops", SHOPS, 17),
    "deletionTimestamp ignored": ("shops", (), 0),
    "conflict is not tried again": (
        "shops",
        (
            fault(
                "process.slow",
                "controller/shops",
                at="100s..155s",
                lasts="60s..120s",
                delay="1s..5s",
            ),
        ),
        1,
    ),
    "error swallowed": ("shops", REFUSALS, 0),
    "believes its own status": ("shops", (), 0),
    "observedGeneration lags": ("shops", (), 0),
    "owner reference lost": ("shops", (), 0),
    "rename in two steps": ("shops", SHOPS, 0),
    "memory trusted after a restart": (
        "shops",
        crashes("controller/shops", "Database", "Database", "Database", "Database", point="before"),
        1,
    ),
    "finalizer added too late": (
        "shops",
        crashes("controller/shops", "Database", "Database", "Database", down=20),
        0,
    ),
    "sweeps by a stale cache": (
        "swept",
        (fault("watch.delayed", "controller/sweeper", lasts="30s..120s", delay="1s..10s"),),
        10,
    ),
    "identity by name": ("shops", (), 0),
    "two owners of one field": ("shops", (), 0),
    "hot loop": ("shops", (), 0),
    "reads its own write too early": ("shops", (), 0),
    "does not watch what it made": ("shops", (), 0),
    # -- ours ------------------------------------------------------------------------------------
    "expectations forgotten": (
        "workloads",
        (
            fault(
                "watch.delayed",
                "controller/replicaset",
                at="0s..60s",
                lasts="120s",
                delay="1s..10s",
            ),
        ),
        0,
    ),
    "adopts what its selector does not match": ("workloads", (), 0),
    "one surge pod too many": ("workloads", (), 0),
    "one available pod too few": ("workloads", (), 0),
    "a name taken for an owner": (
        "workloads",
        (fault("process.crash", "controller/garbagecollector", at="100s..125s", lasts="5s..30s"),),
        0,
    ),
    "recreate waits for an event it ignores": ("workloads", (), 0),
    "garbage collector looks by name": (
        "workloads",
        (fault("process.crash", "controller/garbagecollector", at="100s..125s", lasts="5s..30s"),),
        0,
    ),
    "dependants are not looked at": ("workloads", (), 0),
    "taints never removed": ("workloads", OUTAGES, 0),
    "evicts who tolerates": ("workloads", OUTAGES, 0),
    "eviction is not called off": ("workloads", OUTAGES, 0),
    "ranges forgotten at a restart": (
        "workloads",
        (fault("process.restart", "controller/node-ipam", at="0s..170s"),),
        0,
    ),
    "counts on what terminates": ("crowded", (), 0),
    "an add while working is lost": (
        "workloads",
        (
            fault("process.slow", "controller/deployment", lasts="60s..120s", delay="100ms..1s"),
            fault("process.slow", "controller/replicaset", lasts="60s..120s", delay="100ms..1s"),
        ),
        2,
    ),
    "a relist removes nothing": (
        "workloads",
        tuple(
            fault(
                "watch.gone", "controller/replicaset", lasts="20s..60s", times=3, break_now="true"
            )
            for _ in range(3)
        ),
        0,
    ),
    "namespace goes before its content": (
        "workloads",
        (
            fault(
                "server.error",
                "apiserver-0",
                at="98s..106s",
                lasts="5s..20s",
                status=500,
                chance=0.5,
                verb="any",
            ),
        ),
        3,
    ),
    "lease taken early": (
        "replicas",
        tuple(
            fault("process.crash", f"kube-controller-manager-{replica}", lasts="20s..60s")
            for replica in (0, 1)
        ),
        0,
    ),
    "account is made once": ("workloads", (), 0),
    "deletion seen in the update only": (
        "workloads",
        (
            *(
                fault(
                    "watch.gone",
                    "controller/replicaset",
                    lasts="20s..60s",
                    times=3,
                    break_now="true",
                )
                for _ in range(3)
            ),
            fault("node.drain", lasts="20s..60s"),
        ),
        0,
    ),
    "status write gives up": (
        "workloads",
        tuple(
            fault(
                "server.error",
                "apiserver-0",
                at="15s..130s",
                lasts="30s..90s",
                status=500,
                chance=0.5,
                verb="write",
            )
            for _ in range(3)
        ),
        0,
    ),
}
"""By the mutant's name: its experiment, what the hunt strikes with, and the first seed that finds it."""

_LONG = {"eviction is not called off": None}


def _quarry(mutant: Mutant) -> Quarry:
    experiment, faults, seed = _FOUND[mutant.name]
    bounds = LONG if mutant.name in _LONG else BOUNDS
    return Quarry(mutant=mutant, experiment=experiment, faults=faults, seed=seed, bounds=bounds)


QUARRIES: tuple[Quarry, ...] = tuple(
    _quarry(mutant) for mutant in (*mutants_shops.MUTANTS, *mutants_ours.MUTANTS)
)
