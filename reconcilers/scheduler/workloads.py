"""Which pods belong together, for the default spreading: by their Services and their controller.

The default constraints count the pods that all of the pod's Services and its ReplicationController or ReplicaSet select
(plugins/helper/spread.go, DefaultSelector). The answer is the same for all pods of a workload and is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from engine import (
    NOTHING,
    ReplicaSet,
    ReplicationController,
    Requirement,
    Selector,
    Service,
    selector_of,
)
from reconcilers.scheduler.pod_info import PodInfo

MAX_REMEMBERED: Final = 4096
"""Answers remembered per namespace."""

_Labels = tuple[tuple[str, str], ...]
_Owner = tuple[str, str, str]


@attrs.define(eq=False)
class Workloads:
    """See the module's text."""

    _services: dict[str, dict[str, Mapping[str, str]]] = attrs.field(factory=dict, init=False)
    _owners: dict[_Owner, Selector] = attrs.field(factory=dict, init=False)
    _remembered: dict[str, dict[tuple[_Labels, str], Selector]] = attrs.field(
        factory=dict, init=False
    )

    def set_service(self, namespace: str, name: str, service: Service | None) -> bool:
        """A Service came, changed or (None) went; whether that changes what it selects."""
        services = self._services.setdefault(namespace, {})
        before = services.pop(name, {})
        after: Mapping[str, str] = service.spec.selector if service is not None else {}
        if after:
            services[name] = after
        if before == after:
            return False
        self._remembered.pop(namespace, None)
        return True

    def set_owner(
        self, kind: str, namespace: str, name: str, owner: ReplicaSet | ReplicationController | None
    ) -> None:
        """A controller of pods came, changed or (None) went."""
        if owner is None:
            self._owners.pop((kind, namespace, name), None)
        else:
            self._owners[kind, namespace, name] = selector_of(owner.spec.selector)

    def selector(self, pod: PodInfo) -> Selector:
        """The pods that belong together with `pod`; `NOTHING` when it belongs to nothing."""
        owner = pod.pod.metadata.controller
        remembered = self._remembered.setdefault(pod.namespace, {})
        key = (pod.label_items, owner.uid if owner is not None else "")
        known = remembered.get(key)
        if known is not None:
            return known
        requirements: dict[Requirement, None] = {}
        labels = pod.pod.metadata.labels
        for selected in self._services.get(pod.namespace, {}).values():
            selector = selector_of(selected)
            if selector.matches(labels):
                requirements.update(dict.fromkeys(selector.requirements or ()))
        if owner is not None and owner.kind in ("ReplicaSet", "ReplicationController"):
            owned = self._owners.get((owner.kind, pod.namespace, owner.name))
            if owned is None:  # not seen yet: ask again next time
                return _selector(requirements)
            requirements.update(dict.fromkeys(owned.requirements or ()))
        if len(remembered) >= MAX_REMEMBERED:
            remembered.clear()
        answer = remembered[key] = _selector(requirements)
        return answer


def _selector(requirements: Mapping[Requirement, None]) -> Selector:
    if not requirements:
        return NOTHING
    return Selector(tuple(sorted(requirements, key=lambda r: (r.key, r.operator.value, r.values))))
