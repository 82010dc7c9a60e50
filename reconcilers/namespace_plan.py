"""The end of a namespace: what remains in it, what its conditions say, and how long to wait.

Pure. The shell (`namespace.py`) deletes what there is, kind by kind, and counts what then remains;
from these counts follow the conditions and the next step (controllers.md 5.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from engine import Condition, KubeObject, Namespace, Pod, Resource, Time, condition_of

FINALIZER: Final = "kubernetes"
"""The entry of `spec.finalizers` that this controller takes out when the namespace is empty."""

FINALIZER_ESTIMATE: Final = 15
"""Seconds that finalizers are expected to take (finalizerEstimateSeconds)."""

_US: Final = 1_000_000

_OK: Final[Mapping[str, tuple[str, str]]] = {
    "NamespaceDeletionDiscoveryFailure": (
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}
"""The condition types in order, each with its reason and message when nothing is wrong."""


@attrs.frozen(kw_only=True)
class Remaining:
    """What is left of one kind after its deletion."""

    resource: Resource
    objects: tuple[KubeObject, ...]


@attrs.frozen(kw_only=True)
class Observed:
    """A namespace that is being deleted, after one round of deletion."""

    namespace: Namespace
    remaining: tuple[Remaining, ...] = ()
    errors: tuple[str, ...] = ()
    """Messages of the deletions that failed."""
    now_us: int


@attrs.frozen
class UpdateStatus:
    """Write the status."""

    namespace: Namespace


@attrs.frozen
class Finalize:
    """Take this controller's finalizer out of the spec: the namespace may go."""

    namespace: Namespace


@attrs.frozen
class Wait:
    """Look again after that many seconds: content is still going."""

    seconds: float


@attrs.frozen
class Retry:
    """Some deletion failed: try again, later each time."""


Action: TypeAlias = UpdateStatus | Finalize | Wait | Retry


def plan(observed: Observed) -> tuple[Action, ...]:
    """The status if it changed, and then one of: finalize, wait, retry."""
    actions: list[Action] = []
    namespace = observed.namespace
    errors = (*observed.errors, *_overdue(observed))
    conditions = _conditions(observed, errors)
    if conditions != namespace.status.conditions:
        status = attrs.evolve(namespace.status, conditions=conditions)
        namespace = attrs.evolve(namespace, status=status)
        actions.append(UpdateStatus(namespace))
    if errors:
        return (*actions, Retry())
    estimate = max((_estimate(observed, left) for left in observed.remaining), default=0)
    if estimate > 0:
        return (*actions, Wait(estimate / 2 + 1))
    if FINALIZER in namespace.spec.finalizers:
        finalizers = tuple(name for name in namespace.spec.finalizers if name != FINALIZER)
        spec = attrs.evolve(namespace.spec, finalizers=finalizers)
        actions.append(Finalize(attrs.evolve(namespace, spec=spec)))
    return tuple(actions)


def _estimate(observed: Observed, left: Remaining) -> int:
    """How many seconds the rest of one kind will take: the longest grace of a pod, as long as that
    can still be the reason; else 15 s where there are finalizers; else 0.
    """
    grace = max((_grace(obj) for obj in left.objects), default=0)
    since = observed.namespace.metadata.deletion_timestamp
    if since is not None and observed.now_us - since < grace * _US:
        return grace
    return FINALIZER_ESTIMATE if any(obj.metadata.finalizers for obj in left.objects) else 0


def _grace(obj: KubeObject) -> int:
    if not isinstance(obj, Pod) or obj.status.phase in {"Succeeded", "Failed"}:
        return 0
    return obj.spec.termination_grace_period_seconds or 0


def _overdue(observed: Observed) -> list[str]:
    """What remains though nothing can keep it: reported, and tried again."""
    return [
        f"unexpected items still remain in namespace: {observed.namespace.metadata.name} "
        f"for gvr: {left.resource.group}/{left.resource.version}, Resource={left.resource.plural}"
        for left in observed.remaining
        if left.objects and _estimate(observed, left) == 0
    ]


def mark_terminating(namespace: Namespace) -> Namespace:
    """The namespace with the phase that its deletion gives it."""
    status = attrs.evolve(namespace.status, phase="Terminating")
    return attrs.evolve(namespace, status=status)


def deletion_order(resources: Iterable[Resource], *, pods_first: bool) -> list[Resource]:
    """The kinds whose objects live in namespaces. From 1.33 on pods go first and the rest waits for
    them (OrderedNamespaceDeletion), so that nothing a pod relies on vanishes under it.
    """
    namespaced = [resource for resource in resources if resource.namespaced]
    if pods_first:
        namespaced.sort(key=lambda resource: resource.group_resource != "pods")
    return namespaced


def _conditions(observed: Observed, errors: Sequence[str]) -> tuple[Condition, ...]:
    problems = _problems(observed, errors)
    now = Time.of(observed.now_us)
    conditions = list(observed.namespace.status.conditions)
    for type_, fine in _OK.items():
        status = "True" if type_ in problems else "False"
        reason, message = problems.get(type_, fine)
        present = condition_of(tuple(conditions), type_)
        if present is None:
            condition = Condition(
                type=type_, status=status, last_transition_time=now, reason=reason, message=message
            )
            conditions.append(condition)
            continue
        since = present.last_transition_time if present.status == status else now
        conditions[conditions.index(present)] = attrs.evolve(
            present, status=status, reason=reason, message=message, last_transition_time=since
        )
    return tuple(conditions)


def _problems(observed: Observed, errors: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Reason and message of each condition that is True."""
    problems: dict[str, tuple[str, str]] = {}
    if errors:
        text = ", ".join(sorted(errors))
        problems["NamespaceDeletionContentFailure"] = (
            "ContentDeletionFailed",
            f"Failed to delete all resource types, {len(errors)} remaining: {text}",
        )
    kinds = [
        f"{left.resource.plural}.{left.resource.group} has {len(left.objects)} resource instances"
        for left in observed.remaining
        if left.objects
    ]
    if kinds:
        problems["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            f"Some resources are remaining: {', '.join(sorted(kinds))}",
        )
    finalizers = _finalizers(observed.remaining)
    if finalizers:
        texts = [f"{name} in {count} resource instances" for name, count in finalizers.items()]
        problems["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {', '.join(sorted(texts))}",
        )
    return problems


def _finalizers(remaining: Sequence[Remaining]) -> dict[str, int]:
    """How many of the remaining objects have each finalizer."""
    counts: dict[str, int] = {}
    for left in remaining:
        for obj in left.objects:
            for name in obj.metadata.finalizers:
                counts[name] = counts.get(name, 0) + 1
    return counts
