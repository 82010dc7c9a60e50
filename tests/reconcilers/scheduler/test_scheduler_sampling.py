"""The fast way to the sample of feasible nodes finds what the slow way finds, and bounded memories forget without harm."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reconcilers.scheduler import index, tables
from reconcilers.scheduler.placement import nodes_to_find
from reconcilers.scheduler.pod_info import pod_info
from tests.reconcilers.scheduler.making import (
    HOSTNAME,
    ZONE,
    decide,
    far,
    make_core,
    make_node,
    make_pod,
    near,
    place,
    rather_near,
    spread,
)

PODS = [
    make_pod("plain", cpu="1"),
    make_pod("spread", labels={"app": "x"}, topology_spread_constraints=(spread(ZONE, app="x"),)),
    make_pod("hosts", topology_spread_constraints=(spread(HOSTNAME, app="x"),)),
    make_pod("far", affinity=far(HOSTNAME, app="x")),
    make_pod("near", affinity=near(ZONE, app="x")),
]


@given(
    full=st.sets(st.integers(0, 259)),
    crowded=st.sets(st.integers(0, 259), max_size=40),
    start=st.integers(0, 259),
    pod=st.sampled_from(PODS),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_sample_is_the_first_that_pass_in_rotation(
    full: set[int], crowded: set[int], start: int, pod: object
) -> None:
    """Whatever the filters: the first so many from the start on, and the next pod begins behind the last of them."""
    nodes = [make_node(f"n{i:03}", cpu="1", zone=f"z{i % 3}") for i in range(260)]
    present = [make_pod(f"f{i}", cpu="1", node=f"n{i:03}") for i in sorted(full)]
    present += [make_pod(f"x{i}", labels={"app": "x"}, node=f"n{i:03}") for i in sorted(crowded)]
    core = make_core(*nodes, pods=tuple(present))
    placement = core.placement
    placement.settings = attrs.evolve(core.settings, percentage_of_nodes_to_score=40)
    placement.start = start
    info = pod_info(pod)  # type: ignore[arg-type]  # hypothesis gives pods
    order = core.cache.order
    rotation = [(start + i) % 260 for i in range(260)]
    passing = [p for p in rotation if placement.fits(info, order[p]) is None]
    wanted = nodes_to_find(260, 40)
    assert wanted == 104

    found, looked_at = placement._find(
        info, placement.tables.of(info.shape), placement.checks(info), {}, wanted
    )
    assert passing[:wanted] == list(found)
    if len(passing) > wanted:
        assert looked_at == rotation.index(passing[wanted - 1]) + 1
    elif len(passing) < wanted:
        assert looked_at == 260


def test_forgotten_selections_are_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """More selections than are kept: the old ones are dropped, and right when they are needed again."""
    monkeypatch.setattr(index, "MAX_SELECTIONS", 3)
    core = make_core(*(make_node(n, zone=n) for n in "abc"))
    for i in range(12):
        constraint = (spread(ZONE, app=f"x{i % 6}"),)
        pod = make_pod(f"p{i}", labels={"app": f"x{i % 6}"}, topology_spread_constraints=constraint)
        place(core, pod)
        core.check()
    affine = make_pod("q", affinity=rather_near(ZONE, 5, app="x1"), labels={"app": "x2"})
    place(core, affine)
    core.check()

    for i in range(6):
        zones = {core.cache._placed[f"uid-p{j}"].node.name for j in (i, i + 6)}
        assert len(zones) == 2, "maxSkew 1 over three zones"


def test_forgotten_shapes_are_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """More shapes than are remembered."""
    monkeypatch.setattr(tables, "MAX_TABLES", 2)
    core = make_core(make_node("a", cpu="10"), make_node("b", cpu="10"))
    for i in range(9):
        place(core, make_pod(f"p{i}", cpu=f"{100 * (i % 4 + 1)}m"))
        core.check()

    assert len(core.placement.tables._tables) == 2


def test_no_feasible_node_at_all() -> None:
    """Every node has been looked at and has its reason."""
    core = make_core(*(make_node(f"n{i:03}", cpu="1") for i in range(150)))
    decision = decide(core, make_pod("p", cpu="2"))

    assert "0/150 nodes are available: 150 Insufficient cpu." in str(decision)
