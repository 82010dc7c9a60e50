"""Which pods stand where, by what they are asked for: the index behind topology spread and inter-pod affinity.

The plugins ask "how many pods that match S are in each domain of key K?". Counting over all pods for each pending pod would
cost the size of the cluster each time, so the answers are kept:

* a `Selection` is one S in use, with its pods per node and, for each K asked for, per domain (`DomainCounts`);
* a `LabelClass` is one set of labels that pods have, with the selections it matches. Pods of a workload share it, so
  a pod that comes or goes touches just the few selections that mean it;
* `Carriers` count, per domain, the pods that *have* a certain term: what existing pods demand of a newcomer.

An `Eligibility` says which nodes count at all (for topology spread: those that the pod could go to and that have all keys).
`check` compares everything with a recount.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from engine import EMPTY, NOTHING
from reconcilers.scheduler.counts import (
    Carriers,
    DomainCounts,
    Eligibility,
    EligibilityKey,
    Kind,
    LabelClass,
    Labels,
    Selection,
    SelectionKey,
)
from reconcilers.scheduler.node_info import NodeInfo, change
from reconcilers.scheduler.pod_info import PodInfo
from reconcilers.scheduler.terms import Conjunct, Term

MAX_SELECTIONS: Final = 8192
"""Selections kept that no pod carries; beyond it the one unused for longest is dropped and counted anew when needed."""


@attrs.define(eq=False)
class PodIndex:
    """See the module's text. Attaching and detaching a pod cost what matches it, not what there is."""

    _namespaces: dict[str, Mapping[str, str]] = attrs.field(factory=dict, init=False)
    _nodes: dict[NodeInfo, None] = attrs.field(factory=dict, init=False)
    _classes: dict[tuple[str, Labels], LabelClass] = attrs.field(factory=dict, init=False)
    _classes_by_pair: dict[tuple[str, str], dict[LabelClass, None]] = attrs.field(
        factory=dict, init=False
    )
    _selections: dict[SelectionKey, Selection] = attrs.field(factory=dict, init=False)
    _by_pair: dict[tuple[str, str] | None, dict[Selection, None]] = attrs.field(
        factory=dict, init=False
    )
    _eligibilities: dict[EligibilityKey, Eligibility] = attrs.field(factory=dict, init=False)

    # -- what the plugins ask ----------------------------------------------------------------------

    def selection(self, key: SelectionKey) -> Selection:
        """The selection, counted if it is new."""
        found = self._selections.pop(key, None)
        if found is None:
            found = self._create(key)
        self._selections[key] = found  # the newest used stands last
        return found

    def counts(
        self, key: SelectionKey, topology_key: str, eligible: EligibilityKey
    ) -> DomainCounts:
        """Pods of a selection per domain."""
        selection = self.selection(key)
        known = selection.domains.get((topology_key, eligible))
        if known is None:
            eligibility = self._eligibility(eligible)
            eligibility.users += 1
            known = DomainCounts(topology_key, eligibility)
            for node, count in selection.by_node.items():
                known.add(node, count)
            selection.domains[topology_key, eligible] = known
        return known

    def carriers_meaning(self, pod: PodInfo) -> Iterator[Carriers]:
        """The terms of existing pods that mean `pod`."""
        for selection in self.matching(pod):
            yield from selection.carriers.values()

    def matching(self, pod: PodInfo) -> Iterable[Selection]:
        """The selections that mean `pod`, wherever it is."""
        known = self._classes.get((pod.namespace, pod.label_items))
        if known is not None:
            return known.matching
        return self._find_matching(pod.namespace, pod.label_items)

    def means(self, conjuncts: Iterable[Conjunct], pod: PodInfo) -> bool:
        """Whether the pod matches all conjuncts."""
        return self._matches(tuple(conjuncts), pod.namespace, dict(pod.label_items))

    # -- what the cache tells ----------------------------------------------------------------------

    def add_node(self, node: NodeInfo) -> None:
        """Count the node in; its pods are attached afterwards."""
        self._nodes[node] = None
        for eligibility in self._eligibilities.values():
            eligibility.add(node)

    def remove_node(self, node: NodeInfo) -> None:
        """Count the node out, with the labels it was added with; its pods are detached before."""
        del self._nodes[node]
        for eligibility in self._eligibilities.values():
            eligibility.remove(node)

    def attach(self, pod: PodInfo, node: NodeInfo) -> None:
        """The pod is on the node."""
        key = (pod.namespace, pod.label_items)
        known = self._classes.get(key)
        if known is None:
            known = self._create_class(key)
        known.pods[pod] = node
        self._count(pod, node, known, 1)

    def detach(self, pod: PodInfo, node: NodeInfo) -> None:
        """The pod is no longer on the node. Raises KeyError when it was not."""
        key = (pod.namespace, pod.label_items)
        known = self._classes[key]
        del known.pods[pod]
        self._count(pod, node, known, -1)
        if not known.pods:
            del self._classes[key]
            for selection in known.matching:
                del selection.classes[known]
            for item in known.items:
                self._classes_by_pair[item].pop(known)
                if not self._classes_by_pair[item]:
                    del self._classes_by_pair[item]

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Labels of a namespace, for terms that select namespaces; None when it is gone."""
        if (labels or EMPTY) == self._namespaces.get(name, EMPTY):
            return
        if labels:
            self._namespaces[name] = labels
        else:
            del self._namespaces[name]
        selections = [s for s in self._selections.values() if _selects_namespaces(s.key)]
        for known in self._classes.values() if selections else ():
            if known.namespace == name:
                for selection in selections:
                    self._rematch(selection, known)

    # -- how it is kept ----------------------------------------------------------------------------

    def _count(self, pod: PodInfo, node: NodeInfo, known: LabelClass, by: int) -> None:
        for selection in known.matching:
            if not (selection.key.live and pod.terminating):
                selection.add(node, by)
        if pod.terms:
            for kind, terms in (
                (Kind.ANTI_AFFINITY, pod.terms.anti_affinity),
                (Kind.AFFINITY, pod.terms.affinity),
                (Kind.PREFERRED, pod.terms.preferred),
            ):
                for term in terms:
                    self._carry(kind, term, node, by)

    def _carry(self, kind: Kind, term: Term, node: NodeInfo, by: int) -> None:
        selection = self.selection(SelectionKey((term.conjunct,), live=False))
        key = (kind, term.topology_key, term.weight)
        carriers = selection.carriers.get(key)
        if carriers is None:
            carriers = selection.carriers[key] = Carriers(kind, term)
        carriers.add(node, by)
        if not carriers.counts:
            del selection.carriers[key]

    def _matches(
        self, conjuncts: tuple[Conjunct, ...], namespace: str, labels: Mapping[str, str]
    ) -> bool:
        for namespaces, namespace_selector, selector in conjuncts:
            if namespace not in namespaces and not (
                namespace_selector is not NOTHING
                and namespace_selector.matches(self._namespaces.get(namespace, EMPTY))
            ):
                return False
            if not selector.matches(labels):
                return False
        return True

    def _find_matching(self, namespace: str, items: Labels) -> list[Selection]:
        labels = dict(items)
        candidates = [*self._by_pair.get(None, ())]
        for item in items:
            candidates.extend(self._by_pair.get(item, ()))
        return [s for s in candidates if self._matches(s.key.conjuncts, namespace, labels)]

    def _create_class(self, key: tuple[str, Labels]) -> LabelClass:
        namespace, items = key
        created = self._classes[key] = LabelClass(namespace, items)
        for selection in self._find_matching(namespace, items):
            created.matching[selection] = None
            selection.classes[created] = None
        for item in items:
            self._classes_by_pair.setdefault(item, {})[created] = None
        return created

    def _create(self, key: SelectionKey) -> Selection:
        if len(self._selections) >= MAX_SELECTIONS:
            self._evict()
        selection = Selection(key)
        exact = [
            pair for conjunct in key.conjuncts for pair in conjunct.selector.exact_labels.items()
        ]
        if exact:
            selection.pair = min(exact, key=lambda pair: len(self._classes_by_pair.get(pair, ())))
            classes: Iterable[LabelClass] = self._classes_by_pair.get(selection.pair, ())
        else:
            classes = self._classes.values()
        self._by_pair.setdefault(selection.pair, {})[selection] = None
        for known in classes:
            self._rematch(selection, known)
        return selection

    def _rematch(self, selection: Selection, known: LabelClass) -> None:
        """Find out anew whether a class matches, and count its pods in or out."""
        matches = self._matches(selection.key.conjuncts, known.namespace, dict(known.items))
        if matches == (known in selection.classes):
            return
        if matches:
            selection.classes[known] = None
            known.matching[selection] = None
        else:
            del selection.classes[known]
            del known.matching[selection]
        for pod, node in known.pods.items():
            if not (selection.key.live and pod.terminating):
                selection.add(node, 1 if matches else -1)

    def _evict(self) -> None:
        for selection in self._selections.values():
            if not selection.carriers:
                break
        else:
            return
        del self._selections[selection.key]
        bucket = self._by_pair[selection.pair]
        del bucket[selection]
        if not bucket:
            del self._by_pair[selection.pair]
        for known in selection.classes:
            del known.matching[selection]
        for counts in selection.domains.values():
            counts.eligibility.users -= 1
            if not counts.eligibility.users:
                del self._eligibilities[counts.eligibility.key]

    def _eligibility(self, key: EligibilityKey) -> Eligibility:
        known = self._eligibilities.get(key)
        if known is None:
            known = self._eligibilities[key] = Eligibility(key)
            for node in self._nodes:
                known.add(node)
        return known

    def check(self) -> None:
        """Assert that every count equals a recount over all pods."""
        placed = [
            (pod, node) for known in self._classes.values() for pod, node in known.pods.items()
        ]
        for eligibility in self._eligibilities.values():
            admitted = [node for node in self._nodes if eligibility.admits(node)]
            assert len(admitted) == len(eligibility.nodes)
            assert all(node in eligibility.nodes for node in admitted)
        for selection in self._selections.values():
            by_node: dict[NodeInfo, int] = {}
            for pod, node in placed:
                if self.means(selection.key.conjuncts, pod) and not (
                    selection.key.live and pod.terminating
                ):
                    change(by_node, node, 1)
            assert selection.by_node == by_node, f"{selection.key}: by node"
            for counts in selection.domains.values():
                recount = DomainCounts(counts.topology_key, counts.eligibility)
                for node, count in by_node.items():
                    recount.add(node, count)
                assert counts.counts == recount.counts, f"{selection.key}: per domain"
        self._check_carriers(placed)

    def _check_carriers(self, placed: list[tuple[PodInfo, NodeInfo]]) -> None:
        recount = PodIndex()
        recount._namespaces = self._namespaces
        for pod, node in placed:
            recount.attach(pod, node)
        for selection in self._selections.values():
            other = recount._selections.get(selection.key)
            expected = {k: c.counts for k, c in other.carriers.items()} if other else {}
            assert {k: c.counts for k, c in selection.carriers.items()} == expected
        for key in recount._selections:
            assert key in self._selections, f"{key}: carried and not indexed"


def _selects_namespaces(key: SelectionKey) -> bool:
    return any(conjunct.namespace_selector is not NOTHING for conjunct in key.conjuncts)
