"""Each filter plugin: which nodes it refuses, in which words, and whether preemption could help."""

from __future__ import annotations

import attrs
import pytest

from engine import (
    Affinity,
    Container,
    LabelSelector,
    Node,
    NodeSelectorTerm,
    Pod,
    PodAffinity,
    Quantity,
    ResourceRequirements,
    Settings,
    Taint,
)
from reconcilers.scheduler.node_info import NodeInfo
from reconcilers.scheduler.pod_info import pod_info, request_of, shape_of
from reconcilers.scheduler.tables import LocalPlugins
from tests.reconcilers.scheduler.making import (
    HOSTNAME,
    ZONE,
    amounts,
    far,
    make_core,
    make_node,
    make_pod,
    near,
    node_term,
    on_nodes,
    spread,
    terminating,
    tolerating,
)

DEDICATED = Taint(key="dedicated", value="batch", effect="NoSchedule")


def refusal(pod: Pod, node: Node, *present: Pod, compat: str = "1.35") -> tuple[str, ...]:
    info = NodeInfo(node.metadata.name)
    info.set_node(node)
    for other in present:
        info.add_pod(pod_info(other))
    refused = LocalPlugins.of(Settings(compat=compat)).filter(pod_info(pod).shape, info)
    if refused is None:
        return ()
    return (refused.plugin, "R" if refused.unresolvable else "U", *refused.reasons)


def test_cordoned_node() -> None:
    """A cordoned node is refused for good, unless the pod tolerates the cordon."""
    node = make_node("n", unschedulable=True)
    taint = "node.kubernetes.io/unschedulable"

    assert refusal(make_pod("p"), node) == ("NodeUnschedulable", "R", "node(s) were unschedulable")
    assert refusal(make_pod("p", tolerations=(tolerating(taint),)), node) == ()


@pytest.mark.parametrize(
    ("compat", "text"),
    [
        ("1.20", "node(s) had taint {dedicated: batch}, that the pod didn't tolerate"),
        ("1.30", "node(s) had untolerated taint {dedicated: batch}"),
        ("1.35", "node(s) had untolerated taint(s)"),
    ],
)
def test_taint_texts(compat: str, text: str) -> None:
    """The words about a taint are the version's."""
    refused = refusal(make_pod("p"), make_node("n", taints=(DEDICATED,)), compat=compat)

    assert refused == ("TaintToleration", "R", text)


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        (tolerating("dedicated"), True),
        (tolerating("", "Exists"), True),
        (tolerating("dedicated", "Equal", "batch"), True),
        (tolerating("dedicated", "", "batch", "NoSchedule"), True),
        (tolerating("dedicated", "Equal", "web"), False),
        (tolerating("dedicated", effect="NoExecute"), False),
        (tolerating("other"), False),
        (tolerating("", "Equal", "batch"), False),
    ],
)
def test_tolerations(toleration: object, fits: bool) -> None:
    """A toleration covers a taint by key, operator, value and effect; empty ones cover all."""
    pod = make_pod("p", tolerations=(toleration,))

    assert (refusal(pod, make_node("n", taints=(DEDICATED,))) == ()) is fits


def test_soft_taints_never_refuse() -> None:
    """PreferNoSchedule only scores."""
    soft = attrs.evolve(DEDICATED, effect="PreferNoSchedule")

    assert refusal(make_pod("p"), make_node("n", taints=(soft,))) == ()


@pytest.mark.parametrize(
    ("affinity", "fits"),
    [
        (on_nodes(node_term("disk", "In", "ssd", "nvme")), True),
        (on_nodes(node_term("disk", "In", "hdd")), False),
        (on_nodes(node_term("disk", "NotIn", "hdd")), True),
        (on_nodes(node_term("absent", "NotIn", "x")), True),
        (on_nodes(node_term("absent", "DoesNotExist")), True),
        (on_nodes(node_term("disk", "Exists")), True),
        (on_nodes(node_term("cores", "Gt", "3")), True),
        (on_nodes(node_term("cores", "Gt", "4")), False),
        (on_nodes(node_term("cores", "Lt", "5")), True),
        (on_nodes(node_term("disk", "Gt", "1")), False),
        (on_nodes(node_term("disk", "In", "hdd"), node_term("cores", "Exists")), True),
        (on_nodes(NodeSelectorTerm()), False),
        (on_nodes(), False),
    ],
)
def test_node_affinity(affinity: Affinity, fits: bool) -> None:
    """Terms are or-ed, requirements and-ed; an empty term matches nothing; Gt and Lt compare integers."""
    node = make_node("n", labels={"disk": "ssd", "cores": "4"})
    expected = (
        () if fits else ("NodeAffinity", "R", "node(s) didn't match Pod's node affinity/selector")
    )

    assert refusal(make_pod("p", affinity=affinity), node) == expected


def test_node_selector() -> None:
    """A node selector must match exactly; the words of 1.20 did not name it."""
    pod = make_pod("p", node_selector={"disk": "ssd"})

    assert refusal(pod, make_node("n", labels={"disk": "ssd"})) == ()
    assert refusal(pod, make_node("n"), compat="1.20") == (
        "NodeAffinity",
        "R",
        "node(s) didn't match Pod's node affinity",
    )


def test_node_fields() -> None:
    """A term may name the node itself, as DaemonSets do."""
    term = attrs.evolve(
        NodeSelectorTerm(), match_fields=node_term("metadata.name", "In", "n").match_expressions
    )
    pod = make_pod("p", affinity=on_nodes(term))

    assert refusal(pod, make_node("n")) == ()
    assert refusal(pod, make_node("m"))[0] == "NodeAffinity"


def test_host_ports() -> None:
    """A host port taken on any address, or on the same one, refuses; preemption may free it."""
    present = make_pod("a", host_port=80)

    assert refusal(make_pod("p", host_port=80), make_node("n"), present) == (
        "NodePorts",
        "U",
        "node(s) didn't have free ports for the requested pod ports",
    )
    assert refusal(make_pod("p", host_port=81), make_node("n"), present) == ()


def test_resources_that_are_short() -> None:
    """Every resource that is short is named."""
    node = make_node("n", cpu="2", memory="1Gi", pods="1")
    pod = make_pod("p", cpu="1500m", memory="600Mi")

    assert refusal(pod, node, make_pod("a", cpu="1", memory="512Mi")) == (
        "NodeResourcesFit",
        "U",
        "Too many pods",
        "Insufficient cpu",
        "Insufficient memory",
    )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"cpu": "1500m", "memory": "1Gi", "ephemeral-storage": "10Gi", "x/y": "3"}, None),
        ({"cpu": "1501m"}, "Insufficient cpu"),
        ({"memory": "1073741825"}, "Insufficient memory"),
        ({"ephemeral-storage": "10737418241"}, "Insufficient ephemeral-storage"),
        ({"x/y": "4"}, "Insufficient x/y"),
    ],
)
def test_exact_fit(request_: dict[str, str], reason: str | None) -> None:
    """What is left may be taken whole, and not one unit more."""
    node = make_node("n", cpu="2", memory="2Gi", pods="2", ephemeral_storage="20Gi", **{"x/y": "5"})
    taken = {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "10Gi", "x/y": "2"}
    refused = refusal(make_pod("p", requests=request_), node, make_pod("a", requests=taken))

    assert refused == (() if reason is None else ("NodeResourcesFit", "U", reason))


@pytest.mark.parametrize(("compat", "kind"), [("1.20", "U"), ("1.35", "R")])
def test_pod_larger_than_the_node(compat: str, kind: str) -> None:
    """Newer versions know that preemption cannot help a pod larger than the node."""
    refused = refusal(make_pod("p", cpu="5"), make_node("n", cpu="4"), compat=compat)

    assert refused == ("NodeResourcesFit", kind, "Insufficient cpu")


def test_extended_resources() -> None:
    """A resource the node does not have is short by its own name."""
    pod = make_pod("p", requests={"example.com/gpu": "1"})

    assert refusal(pod, make_node("n"))[2:] == ("Insufficient example.com/gpu",)
    assert refusal(pod, make_node("n", **{"example.com/gpu": "1"})) == ()


def test_pod_without_requests_fits_a_full_node() -> None:
    """A pod that requests nothing is only counted."""
    assert refusal(make_pod("p"), make_node("n", cpu="1"), make_pod("a", cpu="1")) == ()


def test_requests_of_init_containers_and_sidecars() -> None:
    """Overhead + max(app + sidecars, each init container + the sidecars started before it)."""

    def container(cpu: str, *, sidecar: bool = False) -> Container:
        policy = "Always" if sidecar else None
        resources = ResourceRequirements(requests=amounts(cpu=cpu))
        return Container(name="x", resources=resources, restart_policy=policy)

    spec = attrs.evolve(
        make_pod("p").spec,
        containers=(container("1"), container("1")),
        init_containers=(
            container("200m", sidecar=True),
            container("3"),
            container("100m", sidecar=True),
        ),
        overhead=amounts(cpu="50m"),
    )

    assert shape_of(spec).request.cpu == 3250
    spec = attrs.evolve(spec, containers=(container("3"), container("1")))
    assert shape_of(spec).request.cpu == 4350


def test_units() -> None:
    """Cpu counts in thousandths, all else in whole units, rounded up."""
    request = request_of(
        {"cpu": Quantity.parse("0.1"), "memory": Quantity.parse("1.5"), "x/y": Quantity.parse("2")}
    )

    assert (request.cpu, request.memory, request.scalars) == (100, 2, (("x/y", 2),))


ZONES = (
    make_node("a1", zone="a"),
    make_node("b1", zone="b"),
    make_node("c1", zone="c"),
    make_node("no-zone"),
)


def refusals(
    pod: Pod, *present: Pod, nodes: tuple[Node, ...] = ZONES, compat: str = "1.35"
) -> dict[str, str]:
    """What each node is refused for, by all filters; nodes that fit are left out."""
    core = make_core(*nodes, pods=present, compat=compat)
    found = {}
    for node in core.cache.order:
        refused = core.placement.fits(pod_info(pod), node)
        if refused is not None:
            found[node.name] = (
                f"{'R' if refused.unresolvable else 'U'} {', '.join(refused.reasons)}"
            )
    return found


MISMATCH = "U node(s) didn't match pod topology spread constraints"
MISSING = "R node(s) didn't match pod topology spread constraints (missing required label)"


def test_spread_limits_the_skew() -> None:
    """A domain is refused once it is more than maxSkew above the emptiest one."""
    pod = make_pod("p", labels={"app": "x"}, topology_spread_constraints=(spread(ZONE, app="x"),))
    present = [make_pod(f"x{i}", labels={"app": "x"}, node=n) for i, n in enumerate(("a1", "b1"))]

    assert refusals(pod, *present) == {"a1": MISMATCH, "b1": MISMATCH, "no-zone": MISSING}


def test_spread_counts_living_pods_of_the_namespace() -> None:
    """Terminating pods and other namespaces do not count."""
    pod = make_pod("p", labels={"app": "x"}, topology_spread_constraints=(spread(ZONE, app="x"),))
    leaving = terminating(make_pod("x0", labels={"app": "x"}, node="a1"))
    foreign = make_pod("x1", labels={"app": "x"}, node="b1", namespace="other")

    assert refusals(pod, leaving, foreign) == {"no-zone": MISSING}


def test_spread_pod_outside_its_own_selector() -> None:
    """A pod that its own constraint does not select adds nothing to the skew."""
    pod = make_pod("p", topology_spread_constraints=(spread(ZONE, app="x"),))
    present = make_pod("x0", labels={"app": "x"}, node="a1")

    assert refusals(pod, present) == {"no-zone": MISSING}


def test_spread_ignores_nodes_outside_the_affinity() -> None:
    """The emptiest domain is looked for among nodes the pod could go to."""
    nodes = (
        make_node("a1", zone="a", labels={"disk": "ssd"}),
        make_node("b1", zone="b", labels={"disk": "ssd"}),
        make_node("c1", zone="c"),
    )
    present = [
        make_pod(f"x{i}", labels={"app": "x"}, node=node) for i, node in enumerate(("a1", "b1"))
    ]
    constraint = (spread(ZONE, app="x"),)
    picky = make_pod(
        "p",
        labels={"app": "x"},
        topology_spread_constraints=constraint,
        node_selector={"disk": "ssd"},
    )
    free = make_pod("q", labels={"app": "x"}, topology_spread_constraints=constraint)

    assert sorted(refusals(picky, *present, nodes=nodes)) == ["c1"]
    assert sorted(refusals(free, *present, nodes=nodes)) == ["a1", "b1"]


def test_spread_min_domains() -> None:
    """With fewer domains than minDomains the emptiest counts as 0."""
    constraint = (spread(ZONE, app="x", min_domains=4),)
    pod = make_pod("p", labels={"app": "x"}, topology_spread_constraints=constraint)
    present = [make_pod(f"x{n}", labels={"app": "x"}, node=n) for n in ("a1", "b1", "c1")]

    assert {MISMATCH} == {v for k, v in refusals(pod, *present).items() if k != "no-zone"}


def test_spread_match_label_keys() -> None:
    """MatchLabelKeys narrows the count to pods of the same revision."""
    constraint = attrs.evolve(spread(ZONE, app="x"), extra={"matchLabelKeys": ["rev"]})
    pod = make_pod("p", labels={"app": "x", "rev": "2"}, topology_spread_constraints=(constraint,))
    old = make_pod("x0", labels={"app": "x", "rev": "1"}, node="a1")
    new = make_pod("x1", labels={"app": "x", "rev": "2"}, node="b1")

    assert refusals(pod, old, new) == {"b1": MISMATCH, "no-zone": MISSING}


AFFINITY = "R node(s) didn't match pod affinity rules"
ANTI = "U node(s) didn't match pod anti-affinity rules"
EXISTING = "U node(s) didn't satisfy existing pods anti-affinity rules"


def test_affinity_wants_company() -> None:
    """Required affinity admits just the domains with a matching pod."""
    pod = make_pod("p", affinity=near(ZONE, app="db"))
    present = make_pod("db", labels={"app": "db"}, node="b1")

    assert refusals(pod, present) == {"a1": AFFINITY, "c1": AFFINITY, "no-zone": AFFINITY}


def test_affinity_first_of_its_kind() -> None:
    """With nobody to join, a pod that matches its own affinity may begin, where the key exists."""
    alone = make_pod("p", labels={"app": "db"}, affinity=near(ZONE, app="db"))
    stranger = make_pod("q", affinity=near(ZONE, app="db"))

    assert refusals(alone) == {"no-zone": AFFINITY}
    assert set(refusals(stranger)) == {"a1", "b1", "c1", "no-zone"}


def test_anti_affinity_both_ways() -> None:
    """A pod keeps away from those it names, and those that name it keep it away."""
    shy = make_pod("p", affinity=far(HOSTNAME, app="noisy"))
    noisy = make_pod("noisy", labels={"app": "noisy"}, node="a1")

    assert refusals(shy, noisy) == {"a1": ANTI}
    present = attrs.evolve(shy, spec=attrs.evolve(shy.spec, node_name="b1"))
    newcomer = make_pod("n2", labels={"app": "noisy"})
    assert refusals(newcomer, present) == {"b1": EXISTING}


def test_affinity_words_of_1_20() -> None:
    """The old version put a general reason before the particular one."""
    pod = make_pod("p", affinity=near(ZONE, app="db"))

    assert refusals(pod, compat="1.20")["a1"] == (
        "R node(s) didn't match pod affinity/anti-affinity, node(s) didn't match pod affinity rules"
    )


def test_terms_mean_their_own_namespace() -> None:
    """Without namespaces a term is about the pod's own; a namespace selector looks at labels."""
    shy = make_pod("p", affinity=far(HOSTNAME, app="noisy"))
    foreign = make_pod("noisy", labels={"app": "noisy"}, node="a1", namespace="other")

    assert refusals(shy, foreign) == {}


def test_namespace_selector() -> None:
    """A term may select namespaces by label, and follows their changes."""
    affinity = far(HOSTNAME, app="noisy")
    assert affinity.pod_anti_affinity is not None
    (term,) = affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
    term = attrs.evolve(term, namespace_selector=LabelSelector(match_labels={"team": "x"}))
    pod = make_pod(
        "p",
        affinity=Affinity(
            pod_anti_affinity=PodAffinity(
                required_during_scheduling_ignored_during_execution=(term,)
            )
        ),
    )
    foreign = make_pod("noisy", labels={"app": "noisy"}, node="a1", namespace="other")
    core = make_core(*ZONES, pods=(foreign,))
    node = core.cache.node("a1")
    assert node is not None

    assert core.placement.fits(pod_info(pod), node) is None
    core.cache.index.set_namespace("other", {"team": "x"})
    assert core.placement.fits(pod_info(pod), node) is not None
    core.check()
    core.cache.index.set_namespace("other", None)
    assert core.placement.fits(pod_info(pod), node) is None
    core.check()
