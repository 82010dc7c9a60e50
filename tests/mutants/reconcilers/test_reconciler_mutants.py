"""Every broken reconciler is found by the hunt, and the sound ones are not."""

from __future__ import annotations

import pytest

from tests.mutants.reconcilers.hunt import QUARRIES, SEEDS, Quarry, trial

SOUND = {(quarry.experiment, quarry.faults, quarry.seed): quarry for quarry in QUARRIES}
"""The trials that find the mutants, each once."""


@pytest.mark.parametrize("quarry", QUARRIES, ids=str)
def test_a_broken_reconciler_is_found(quarry: Quarry) -> None:
    """The trial of the known seed has a finding with the mutant planted."""
    outcome = quarry.run(quarry.seed)

    assert outcome.findings, f"not found: {quarry.mutant.about}"


@pytest.mark.parametrize(
    "quarry",
    SOUND.values(),
    ids=lambda quarry: "-".join(map(str, (quarry.experiment, *quarry.faults, quarry.seed))),
)
def test_the_sound_reconcilers_raise_no_alarm(quarry: Quarry) -> None:
    """The same trials, unmutated, find nothing."""
    outcome = trial(quarry.hunt, quarry.seed)

    assert outcome.findings == ()


def test_there_are_enough_of_them() -> None:
    """The issue asks for 25, each found within 200 seeds, and each has a name of its own."""
    assert len({str(quarry) for quarry in QUARRIES}) == len(QUARRIES) >= 25
    assert all(quarry.seed < SEEDS for quarry in QUARRIES)
