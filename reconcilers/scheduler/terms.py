"""Whom a pod wants near and whom not: the terms of inter-pod affinity, in a form that can be compared and indexed.

A `Conjunct` says which pods are meant (namespaces and labels), a `Term` adds the topology key and, where it is a preference,
the weight. Existing pods' terms matter to incoming pods as much as the other way round.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs

from engine import (
    NOTHING,
    LabelSelector,
    LabelSelectorRequirement,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    Selector,
    selector_of,
)

HARD_AFFINITY_WEIGHT: Final = 1
"""What an existing pod's required affinity counts for in the score (InterPodAffinityArgs.hardPodAffinityWeight)."""


class Conjunct(NamedTuple):
    """Pods in one of `namespaces` (or in one whose labels match) with matching labels."""

    namespaces: tuple[str, ...]
    namespace_selector: Selector
    selector: Selector


class Term(NamedTuple):
    """Pods that `conjunct` means, in the same domain of `topology_key`; `weight` is negative for anti-affinity."""

    conjunct: Conjunct
    topology_key: str
    weight: int = 0


@attrs.frozen
class AffinityTerms:
    """The inter-pod terms of one pod."""

    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.affinity or self.anti_affinity or self.preferred)


NO_TERMS: Final = AffinityTerms()


def affinity_terms(pod: Pod) -> AffinityTerms:
    """The terms of a pod; `NO_TERMS` for most."""
    affinity = pod.spec.affinity
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return NO_TERMS
    near = affinity.pod_affinity or PodAffinity()
    far = affinity.pod_anti_affinity or PodAffinity()
    preferred = [
        _term(pod, weighted.pod_affinity_term, sign * weighted.weight)
        for side, sign in ((near, 1), (far, -1))
        for weighted in side.preferred_during_scheduling_ignored_during_execution
    ]
    return AffinityTerms(
        tuple(_term(pod, t) for t in near.required_during_scheduling_ignored_during_execution),
        tuple(_term(pod, t) for t in far.required_during_scheduling_ignored_during_execution),
        tuple(preferred),
    )


def _term(pod: Pod, term: PodAffinityTerm, weight: int = 0) -> Term:
    namespaces = tuple(sorted(term.namespaces))
    if not namespaces and term.namespace_selector is None:
        namespaces = (pod.metadata.namespace,)
    selector = with_label_keys(
        term.label_selector,
        pod,
        same=texts(term.extra.get("matchLabelKeys")),
        differing=texts(term.extra.get("mismatchLabelKeys")),
    )
    conjunct = Conjunct(namespaces, selector_of(term.namespace_selector), selector)
    return Term(conjunct, term.topology_key, weight)


def with_label_keys(
    selector: LabelSelector | None,
    pod: Pod,
    *,
    same: tuple[str, ...] = (),
    differing: tuple[str, ...] = (),
) -> Selector:
    """`selector`, narrowed to pods that agree with `pod` on the labels `same` and disagree on `differing`."""
    if selector is None:
        return NOTHING
    labels = pod.metadata.labels
    requirements = selector_of(selector).requirements or ()
    for keys, operator in ((same, "In"), (differing, "NotIn")):
        for key in keys:
            if key in labels:
                added = LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
                narrowed = selector_of(LabelSelector(match_expressions=(added,)))
                requirements += narrowed.requirements or ()
    return Selector(requirements)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts from a field that no type models."""
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else ()
