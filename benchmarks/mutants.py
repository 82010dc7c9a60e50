"""Broken reconcilers (tests/mutants/reconcilers): within how many seeds a hunt finds each, and what is left of the plan after shrinking."""

from __future__ import annotations

from benchmarks.model import Benchmark, Case, Figures, Meter, Results, number, without_gc
from tests.mutants.reconcilers.hunt import QUARRIES, SEEDS, Quarry
from wavetank.hunting.outcome import Outcome
from wavetank.hunting.shrink import Candidate, Shrinker, Shrunk

SHRINKING_RUNS = 100
QUICK = "owner reference lost"
"""Found by the first seed, before any fault."""


def measure(case: Case, meter: Meter) -> Figures:
    """Hunt one mutant from seed 0 on, and shrink what is found."""
    quarry = next(each for each in QUARRIES if each.mutant.name == case["mutant"])
    figures: Figures = {"like": quarry.mutant.like}
    with without_gc(), meter.measured():
        outcome = _hunt(quarry, meter)
        if outcome is None:
            return {**meter.times(), **figures, "seeds": f"not in {SEEDS}"}
        finding = outcome.findings[0]
        figures |= {
            "faults": _struck(outcome),
            "seeds": outcome.trial.seed + 1,
            "finding": f"{finding.verdict.value} {finding.name}".strip(),
            "plan": _told(outcome),
        }
        shrunk = _shrink(quarry, outcome, number(case, "shrinking_runs"), meter)
    return {
        **meter.times(),
        **figures,
        "faults_left": len(shrunk.outcome.trial.plan),
        "shrunk": _told(shrunk.outcome),
        "deviations": shrunk.deviations,
        "shrinking_runs": shrunk.runs,
    }


def _hunt(quarry: Quarry, meter: Meter) -> Outcome | None:
    for seed in range(SEEDS):
        meter.tell(seed / SEEDS, f"seed {seed}")
        outcome = quarry.run(seed)
        if not outcome.passed:
            return outcome
    return None


def _shrink(quarry: Quarry, outcome: Outcome, budget: int, meter: Meter) -> Shrunk:
    hunt = quarry.hunt
    start = Candidate(file=hunt.file, texts=hunt.texts, trial=outcome.trial)

    def tell(runs: int, what: str) -> None:
        meter.tell(runs / budget, f"shrinking: {what}")

    with quarry.mutant.planted():
        return Shrinker(start, hunt.bounds, outcome.signature, budget, tell).shrink()


def _struck(outcome: Outcome) -> str:
    kinds = dict.fromkeys(fault.type for fault in outcome.trial.plan.faults)
    return ", ".join(kinds) or "no faults"


def _told(outcome: Outcome) -> str:
    return "; ".join(str(fault) for fault in outcome.trial.plan.faults) or "no faults"


def _print_markdown(results: Results) -> None:
    """The table of docs/chaos.md."""
    print("| bug | like | hunt with | seeds | finding | plan as drawn | shrunk | deviations |")
    print("| --- | --- | --- | ---: | --- | --- | --- | ---: |")
    for case, figures in results:
        columns = ("like", "faults", "seeds", "finding", "plan", "shrunk", "deviations")
        cells = (case["mutant"], *(figures.get(name, "") for name in columns))
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def _case(name: str, shrinking_runs: int = SHRINKING_RUNS) -> Case:
    return {"mutant": name, "shrinking_runs": shrinking_runs}


_NAMES = [quarry.mutant.name for quarry in QUARRIES]

BENCHMARK = Benchmark(
    name="mutants",
    about="broken reconcilers: seeds until a hunt finds them, and the plan after shrinking",
    cases={
        "tiny": (_case(QUICK, 3),),
        "small": tuple(_case(name, 20) for name in _NAMES[:5]),
        "full": tuple(map(_case, _NAMES)),
    },
    measure=measure,
    summary=_print_markdown,
)
