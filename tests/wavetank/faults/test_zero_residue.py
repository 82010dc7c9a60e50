"""Zero residue: after the heal of a fault of machines, kubelets and workloads nothing of it is left, whatever happened meanwhile."""

from __future__ import annotations

import pytest

from tests.wavetank.faults.residue import check_residue
from wavetank.faults.catalogue import CATALOGUE

FAMILIES = ("node", "kubelet", "workload")


@pytest.mark.parametrize(
    "fault",
    [kind.name for kind in CATALOGUE.values() if kind.family in FAMILIES and kind.hunted],
)
def test_nothing_is_left(fault: str) -> None:
    """Over seeds with crashed, restarted and deleted targets, and overlapping faults."""
    check_residue(fault)
