"""Revisions of a Deployment: which ReplicaSet is which version, what it is called, and what its
annotations remember.

The *new* ReplicaSet is the one whose pod template equals the Deployment's; all others are *old*. A
ReplicaSet is called `<deployment>-<hash>`, and the hash, of its template, is also a label of its
pods, so that no two versions select each other's. Rolling back to an old template makes its
ReplicaSet the new one again, under a new revision number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from engine import (
    SUFFIX_ALPHABET,
    ApiType,
    Deployment,
    LabelSelector,
    ObjectMeta,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    controller_ref,
)
from reconcilers.deployment_rollout import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    desired,
    max_replicas,
    oldest_first,
)

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
ROLLBACK_TO: Final = "deprecated.deployment.rollback.to"
"""Annotation of a Deployment: roll back to that revision, 0 the last one."""

HISTORY_LIMIT: Final = 2000
"""Characters of the revision history (maxRevHistoryLengthInChars)."""

_OWN_ANNOTATIONS: Final = (
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    ROLLBACK_TO,
)
"""Never copied between a Deployment and its ReplicaSets."""

_FNV_OFFSET: Final = 2166136261
_FNV_PRIME: Final = 16777619


# -- templates -------------------------------------------------------------------------------------


def without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    """The template without its hash label."""
    labels = template.metadata.labels
    if HASH_LABEL not in labels:
        return template
    kept = {key: value for key, value in labels.items() if key != HASH_LABEL}
    return attrs.evolve(template, metadata=attrs.evolve(template.metadata, labels=kept))


def same_template(one: PodTemplateSpec, other: PodTemplateSpec) -> bool:
    """Whether the templates make the same pods, the hash label apart.

    A manifest may spell a default out; objects keep that, pods do not differ by it.
    """
    known = _compared.get((id(one), id(other)))
    if known is None:
        if len(_compared) >= _COMPARED_LIMIT:
            _compared.clear()
        bare, other_bare = without_hash(one), without_hash(other)
        same = bare == other_bare or _canonical(bare) == _canonical(other_bare)
        known = _compared[id(one), id(other)] = (one, other, same)
    return known[2]


_compared: Final[dict[tuple[int, int], tuple[PodTemplateSpec, PodTemplateSpec, bool]]] = {}
"""Templates that were compared, by identity: the same two are at every change of a pod. Held here, they keep their identities."""
_COMPARED_LIMIT: Final = 4096


def _canonical(value: object) -> str:
    """A text that two values share when they mean the same: fields by name, defaults left out."""
    if isinstance(value, ApiType):
        fields = attrs.fields(type(value))
        said: list[tuple[str, object]] = [
            (_bare(field.name), getattr(value, field.name))
            for field in fields
            if field.name != "extra" and getattr(value, field.name) != field.default
        ]
        modelled = dict.fromkeys(_bare(field.name) for field in fields)
        # What a type models and `extra` has as well is a default that was spelled out.
        said += [(key, kept) for key, kept in value.extra.items() if _bare(key) not in modelled]
        return (
            "{"
            + ",".join(f"{key}:{_canonical(kept)}" for key, kept in sorted(said, key=_key))
            + "}"
        )
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=_key)
        return "{" + ",".join(f"{key!r}:{_canonical(kept)}" for key, kept in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return repr(value) if isinstance(value, str) else str(value)


def _bare(name: str) -> str:
    """A field's name, in snake_case or camelCase, as one lower-case word."""
    return name.replace("_", "").lower()


def _key(item: tuple[str, object]) -> str:
    return item[0]


def template_hash(template: PodTemplateSpec, collisions: int | None) -> str:
    """The hash in names and labels: FNV-1a of the template and the number of earlier clashes, in
    decimal, its digits moved into the alphabet of generated names (controllers.md 0.8).
    """
    data = _canonical(without_hash(template)).encode()
    if collisions is not None:
        data += collisions.to_bytes(8, "little")
    digest = _FNV_OFFSET
    for byte in data:
        digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return "".join(SUFFIX_ALPHABET[ord(digit) % len(SUFFIX_ALPHABET)] for digit in str(digest))


def split(
    deployment: Deployment, replica_sets: Iterable[ReplicaSet]
) -> tuple[ReplicaSet | None, list[ReplicaSet]]:
    """The new ReplicaSet, of several the oldest, and the old ones, oldest first (4.2.3)."""
    ordered = oldest_first(replica_sets)
    template = deployment.spec.template
    for position, replica_set in enumerate(ordered):
        if same_template(replica_set.spec.template, template):
            return replica_set, ordered[:position] + ordered[position + 1 :]
    return None, ordered


def make_replica_set(deployment: Deployment, revision: int) -> ReplicaSet:
    """The ReplicaSet of the Deployment's template, without replicas as yet."""
    spec = deployment.spec
    digest = template_hash(spec.template, deployment.status.collision_count)
    metadata = spec.template.metadata
    labels = {**metadata.labels, HASH_LABEL: digest}
    selector = spec.selector if spec.selector is not None else LabelSelector()
    replica_set = ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.metadata.name}-{digest}",
            namespace=deployment.metadata.namespace,
            labels=labels,
            owner_references=(controller_ref(deployment),),
        ),
        spec=ReplicaSetSpec(
            replicas=0,
            min_ready_seconds=spec.min_ready_seconds,
            selector=attrs.evolve(
                selector, match_labels={**selector.match_labels, HASH_LABEL: digest}
            ),
            template=attrs.evolve(spec.template, metadata=attrs.evolve(metadata, labels=labels)),
        ),
    )
    annotations = {
        **_annotations_of_new(deployment, replica_set, revision),
        **sizes_noted(deployment),
    }
    return _annotated(replica_set, annotations)


# -- annotations -----------------------------------------------------------------------------------


def revision_of(replica_set: ReplicaSet) -> int:
    """Its revision; 0 when it has none or it is no number."""
    text = replica_set.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_revision(old: Sequence[ReplicaSet]) -> int:
    """The revision of a ReplicaSet that replaces `old`."""
    return max(map(revision_of, old), default=0) + 1


def last_revision(replica_sets: Sequence[ReplicaSet]) -> int:
    """The revision before the newest; 0 when there is none."""
    revisions = sorted(map(revision_of, replica_sets), reverse=True)
    return revisions[1] if len(revisions) > 1 else 0


def sizes_noted(deployment: Deployment) -> dict[str, str]:
    """The annotations that note for which replicas and surge a ReplicaSet was sized."""
    return {
        DESIRED_REPLICAS: str(desired(deployment)),
        MAX_REPLICAS: str(max_replicas(deployment)),
    }


def resized(deployment: Deployment, replica_set: ReplicaSet, size: int) -> ReplicaSet:
    """The ReplicaSet with that size, and with a note of what it was sized for."""
    spec = attrs.evolve(replica_set.spec, replicas=size)
    annotations = {**replica_set.metadata.annotations, **sizes_noted(deployment)}
    return attrs.evolve(_annotated(replica_set, annotations), spec=spec)


def renewed(deployment: Deployment, replica_set: ReplicaSet, revision: int) -> ReplicaSet:
    """The new ReplicaSet brought up to date: annotations of the Deployment, its revision,
    minReadySeconds.
    """
    min_ready = deployment.spec.min_ready_seconds
    annotations = _annotations_of_new(deployment, replica_set, revision)
    fresh = _annotated(replica_set, annotations)
    if replica_set.spec.min_ready_seconds == min_ready:
        return fresh
    return attrs.evolve(fresh, spec=attrs.evolve(replica_set.spec, min_ready_seconds=min_ready))


def _annotated(replica_set: ReplicaSet, annotations: Mapping[str, str]) -> ReplicaSet:
    if dict(replica_set.metadata.annotations) == annotations:
        return replica_set
    metadata = attrs.evolve(replica_set.metadata, annotations=annotations)
    return attrs.evolve(replica_set, metadata=metadata)


def _annotations_of_new(
    deployment: Deployment, replica_set: ReplicaSet, revision: int
) -> dict[str, str]:
    """What the new ReplicaSet's annotations should be. A revision it had before goes into its
    history: that is a rollback. A higher one than asked for stays: the old sets that counted up to
    it are gone.
    """
    had = replica_set.metadata.annotations
    annotations = {**had, **_copied(deployment.metadata.annotations)}
    before = had.get(REVISION)
    if revision_of(replica_set) < revision:
        annotations[REVISION] = str(revision)
        if before is not None:
            annotations[REVISION_HISTORY] = _remember(had.get(REVISION_HISTORY, ""), before)
    return annotations


def _remember(history: str, revision: str) -> str:
    """The history with one more revision; the oldest go when it grows too long."""
    revisions = [*history.split(","), revision] if history else [revision]
    while len(",".join(revisions)) > HISTORY_LIMIT:
        revisions = revisions[1:]
    return ",".join(revisions)


def _copied(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if key not in _OWN_ANNOTATIONS}


# -- rollback and history --------------------------------------------------------------------------


def rolled_back(deployment: Deployment, replica_set: ReplicaSet) -> Deployment:
    """The Deployment with the ReplicaSet's template and annotations, and without the request to
    roll back.
    """
    kept = {
        key: value
        for key, value in deployment.metadata.annotations.items()
        if key in _OWN_ANNOTATIONS and key != ROLLBACK_TO
    }
    annotations = {**kept, **_copied(replica_set.metadata.annotations)}
    return attrs.evolve(
        deployment,
        metadata=attrs.evolve(deployment.metadata, annotations=annotations),
        spec=attrs.evolve(deployment.spec, template=without_hash(replica_set.spec.template)),
    )


def without_rollback(deployment: Deployment) -> Deployment:
    """The Deployment without the request to roll back."""
    annotations = dict(deployment.metadata.annotations)
    annotations.pop(ROLLBACK_TO, None)
    return attrs.evolve(
        deployment, metadata=attrs.evolve(deployment.metadata, annotations=annotations)
    )


def surplus_history(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """The old ReplicaSets beyond the history limit, lowest revision first, as far as they are empty
    and say so.
    """
    limit = deployment.spec.revision_history_limit
    if limit is None:
        return []
    staying = [rs for rs in old if rs.metadata.deletion_timestamp is None]
    surplus = len(staying) - limit
    if surplus <= 0:
        return []
    return [rs for rs in sorted(staying, key=revision_of)[:surplus] if _is_empty(rs)]


def _is_empty(replica_set: ReplicaSet) -> bool:
    return (
        replica_set.spec.replicas == 0
        and replica_set.status.replicas == 0
        and replica_set.metadata.generation <= replica_set.status.observed_generation
    )
