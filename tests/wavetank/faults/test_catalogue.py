"""The catalogue and the documentation of it."""

from __future__ import annotations

from pathlib import Path

from wavetank.faults.catalogue import CATALOGUE, FAMILIES
from wavetank.invariants import INVARIANTS

DOCS = (Path(__file__).parents[3] / "docs" / "chaos.md").read_text(encoding="utf-8")


def test_every_fault_is_documented() -> None:
    """Each has a row with its name, and each of its parameters is named there; there is no row for one that is not."""
    rows = [
        line for line in DOCS.splitlines() if line.startswith("| `") and "." in line.split("`")[1]
    ]
    documented = {row.split("`")[1]: row for row in rows}
    assert sorted(documented) == sorted(CATALOGUE)
    for name, kind in CATALOGUE.items():
        for parameter in kind.parameters:
            assert f"`{parameter}`" in documented[name], f"{name}: {parameter}"


def test_names_say_the_family() -> None:
    """A name is FAMILY.NAME; nobody breaks an invariant that there is not."""
    assert FAMILIES == (
        "node",
        "kubelet",
        "workload",
        "process",
        "store",
        "link",
        "server",
        "watch",
    )
    for name, kind in CATALOGUE.items():
        assert name == kind.name
        assert set(kind.breaks) <= set(INVARIANTS)
        assert kind.about.endswith(".")


def test_every_invariant_is_documented() -> None:
    """By the name that experiments use."""
    for name in INVARIANTS:
        assert f"| `{name}` |" in DOCS
